//! Which programs a rule on commands covers, and where each start is judged.

use fence_compiler::host::Support;
use fence_compiler::lower::linux::lower;
use fence_compiler::plan::{Mediated, Mount};

use super::machine::{DEBIAN, files, host};
use super::written::policy;

const PROGRAMS: &str = "
    /usr/bin/toybox
    /usr/bin/ls -> toybox
    /usr/bin/folder/
    /usr/local/bin/git
    /opt/own/bin/git
    /opt/own/bin/tool
    /opt/other -> own/bin
    /opt/file
    /srv/tool
";

/// The programs that are covered where commands are not judged, with a search path of one's own.
fn covered(search: &str, rule: &str) -> Vec<String> {
    let mut host = host("/home/ada/work");
    host.features.mediation = Support::No("no listener".into());
    host.environment.insert("PATH".into(), search.into());
    let text = format!("allow run *\nallow read exec /\n{rule}");
    let lowered = lower(&policy(&text), &host, &mut files(&format!("{DEBIAN}{PROGRAMS}")));
    let masks = lowered.plan.mounts.iter().filter_map(|mount| match mount {
        Mount::Mask { at, .. } if !at.to_string().starts_with("/run") => Some(at.to_string()),
        _ => None,
    });
    masks.collect()
}

#[test]
fn programs_are_covered_where_they_are_looked_for() {
    for (search, rule, expected) in [
        ("/usr/bin", "deny run tool", &[][..]),
        ("/usr/bin:/opt/own/bin", "deny run tool", &["/opt/own/bin/tool"]),
        ("/opt/other:relative:", "deny run tool", &["/opt/own/bin/tool"]),
        ("/opt/file:/opt/none", "deny run tool", &[]),
        ("", "deny run git", &["/usr/bin/git", "/usr/local/bin/git"]),
        ("/opt/own/bin", "deny run git", &["/opt/own/bin/git", "/usr/bin/git", "/usr/local/bin/git"]),
        ("", "deny run /opt/own/bin/tool", &["/opt/own/bin/tool"]),
        ("", "deny run /opt/other/tool", &["/opt/own/bin/tool"]),
        ("", "deny run /opt/own/bin/*", &[]),
        ("", "deny run /opt/own/bin/none", &[]),
        ("", "deny run $cwd/src/main.rs", &["/home/ada/work/src/main.rs"]),
        ("", "deny run folder, none", &[]),
        // One file under several names is none of them alone.
        ("", "deny run ls, toybox, busybox, sh", &[]),
        ("", "deny run dash", &["/usr/bin/dash"]),
        ("", "deny run mkfs.*", &["/usr/sbin/mkfs.ext4", "/usr/sbin/mkfs.xfs"]),
        ("", "deny run mkfs.* except mkfs.xfs", &["/usr/sbin/mkfs.ext4"]),
        ("", "deny run mkfs.* except /usr/sbin/mkfs.xfs", &[]),
        ("", "deny run mkfs.* except *", &[]),
        ("", "deny run sudo except git", &["/usr/bin/sudo"]),
        // What has words behind it covers no file.
        ("", "deny run \"sudo x\"", &[]),
        ("", "allow run sudo", &[]),
    ] {
        assert_eq!(covered(search, rule), expected, "{search} {rule}");
    }
    assert_eq!(covered("", "on macos {\n  deny run sudo\n}"), [""; 0]);
}

#[test]
fn starts_are_judged_where_a_rule_insists_on_it() {
    let told = |text: &str| {
        let lowered = lower(&policy(text), &host("/home/ada/work"), &mut files(DEBIAN));
        let codes: Vec<String> = lowered.diagnostics.iter().map(|found| found.code.to_string()).collect();
        (lowered.plan.mediated.contains(&Mediated::Starts), codes.join(" "))
    };
    let all = "allow run *\nallow connect a.example:22\n";
    for (rules, judged, codes) in [
        ("", false, ""),
        ("deny run git best-effort", true, ""),
        ("deny run git best-effort cheaply", false, ""),
        ("deny run git best-effort cheaply\nnever run gcc", true, ""),
        ("allow ssh *", false, ""),
        ("allow ssh * except b.example", true, ""),
        ("deny ssh b.example best-effort", true, ""),
        ("deny run git best-effort cheaply\ndeny ssh b.example best-effort", true, ""),
        ("on macos {\n  deny ssh b.example\n}", false, ""),
        // Who lets programs be traced has no judgement of starts, unless a rule insists.
        ("allow syscall ptrace\ndeny run git best-effort", false, ""),
        ("allow syscall ptrace\ndeny run git", true, "E0709"),
        ("allow syscall ptrace\nnever run git", true, "E0709"),
        ("allow syscall ptrace\nallow ssh *\ndeny run git best-effort", false, ""),
        ("allow syscall ptrace\ndeny ssh b.example best-effort\ndeny run git best-effort", false, ""),
        ("allow syscall ptrace\ndeny ssh b.example\ndeny run git best-effort", true, "E0709"),
        ("allow syscall ptrace\nallow ssh b.example\ndeny run git best-effort", true, "E0709"),
        ("allow syscall process_vm_*\ndeny run git", true, "E0709"),
        ("allow syscall process_vm_readv\ndeny run git", true, ""),
        ("deny syscall ptrace\ndeny run git best-effort", true, ""),
        ("on macos {\n  allow syscall ptrace\n}\ndeny run git", true, ""),
    ] {
        assert_eq!(told(&format!("{all}{rules}")), (judged, codes.to_owned()), "{rules}");
    }
    let listed = "allow run git\nallow syscall ptrace\ndeny run gcc best-effort cheaply";
    assert_eq!(told(listed), (true, "E0709".to_owned()));
}
