//! Plans of machines made by hand.

use fence_compiler::fidelity::{Enforced, Level, Mechanism};
use fence_compiler::host::{FileFacts, Host, Support};
use fence_compiler::lower::linux::{Lowered, lower, lower_for};
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::LinuxTarget;
use fence_compiler::plan::{Mediated, MemfdPlan, Mount, TerminalPlan};
use fence_compiler::policy::RuleId;

use super::machine::{DEBIAN, files, host, path};
use super::model::Model;
use super::written::policy;

fn check(text: &str, host: &Host, files: &FileFacts) -> Lowered {
    let lowered = lower(&policy(text), host, &mut files.clone());
    Model::new(&lowered.plan, files);
    lowered
}

/// The mounts, the Landlock rules and the fidelity, one a line.
fn shown(lowered: &Lowered) -> String {
    let mut out = String::new();
    for mount in &lowered.plan.mounts {
        out.push_str(&mount_line(mount));
        out.push('\n');
    }
    for rule in &lowered.plan.landlock.rules {
        let mut rights = String::new();
        for (has, letter) in [(rule.read, 'r'), (rule.write, 'w'), (rule.execute, 'x'), (rule.device, 'd')] {
            rights.push(if has { letter } else { '-' });
        }
        out.push_str(&format!("landlock {rights} {}\n", rule.path));
    }
    for told in &lowered.fidelity {
        out.push_str(&format!("{:?} {:?} by {:?}\n", told.what, told.level, told.by));
        told.why.iter().for_each(|why| out.push_str(&format!("  why: {why}\n")));
        told.notes.iter().for_each(|note| out.push_str(&format!("  note: {note}\n")));
    }
    for found in &lowered.diagnostics {
        out.push_str(&format!("{} {}\n", found.code, found.message));
        found.help.iter().for_each(|help| out.push_str(&format!("  help: {help}\n")));
    }
    out
}

pub(super) fn mount_line(mount: &Mount) -> String {
    let rules = |rules: &[RuleId]| rules.iter().map(|rule| format!(" #{}", rule.0)).collect::<String>();
    match mount {
        Mount::Directory { at, mode } => format!("directory {at} {mode:04o}"),
        Mount::Link { at, target } => format!("link {at} -> {}", target.escaped()),
        Mount::Tree { at, writing, executing, rules: by, .. } => {
            format!("tree {at} {writing:?} {executing:?}{}", rules(by))
        }
        Mount::Mask { at, kind, rules: by } => format!("mask {at} {kind:?}{}", rules(by)),
        Mount::Pin { at, rules: by } => format!("pin {at}{}", rules(by)),
        Mount::Proc { at, how } => format!("proc {at} {how:?}"),
        Mount::Dev { at, devices } => format!("dev {at} {devices:?}"),
        Mount::Names { at, file } => format!("names {at} {file:?}"),
        Mount::Private { at, mode, executing } => format!("private {at} {mode:04o} {executing:?}"),
        Mount::Layer { over, .. } => format!("layer over {over}"),
        Mount::Overlaid { at, over, writing, executing, rules: by, .. } => {
            format!("overlaid {at} by {over} {writing:?} {executing:?}{}", rules(by))
        }
        Mount::Copy { at, executing, rules: by, .. } => format!("copy {at} {executing:?}{}", rules(by)),
    }
}

const WORK: &str = "allow read exec /usr, /bin, /sbin, /lib, /lib64
allow read /etc except /etc/shadow*
allow read write exec $workspace
allow read write $tmp
allow run *
allow tty
deny write $workspace/.git/hooks, $workspace/.git/config, $workspace/.gitmodules best-effort
deny read write **/.env best-effort cheaply
never read write ~/.ssh except ~/.ssh/known_hosts, ~/.ssh/*.pub
deny run sudo, mkfs.*, sh, \"git push\" best-effort
allow env PATH, HOME, LC_*
deny env LD_*
";

#[test]
fn work_on_a_usr_merged_system() {
    let lowered = check(WORK, &host("/home/ada/work"), &files(DEBIAN));
    insta::assert_snapshot!(shown(&lowered));
    assert_eq!(lowered.plan.environment.pass, ["HOME", "LC_ALL", "PATH"]);
    assert_eq!(lowered.plan.terminal, TerminalPlan::Kept);
    assert_eq!(lowered.plan.memfd, MemfdPlan::Unrestricted);
}

#[test]
fn the_whole_system_can_be_read() {
    let text = "allow read exec /\nallow read write $cwd\ndeny read ~/.ssh\nallow run *";
    insta::assert_snapshot!(shown(&check(text, &host("/home/ada/work"), &files(DEBIAN))));
}

#[test]
fn home_behind_a_link() {
    let tree = files(&format!("{DEBIAN}\n/home/ada/x\n/people -> home\n"));
    let mut host = host("/people/ada/work");
    host.person.home = path("/people/ada");
    let text = "allow read write $cwd\nallow read ~/.ssh/known_hosts\ndeny read ~/.ssh/id_ed25519";
    insta::assert_snapshot!(shown(&check(text, &host, &tree)));
}

#[test]
fn programs_in_a_store() {
    let tree = files(
        "/run/current-system -> /nix/store/abc-system
         /nix/store/abc-system/sw/bin/bash
         /bin/sh -> /nix/store/abc-system/sw/bin/bash
         /usr/bin/env -> /nix/store/abc-system/sw/bin/env
         /home/ada/
         /etc/static -> /nix/store/etc
         /nix/store/etc/bashrc",
    );
    let text =
        "allow read exec /run/current-system, /nix, /bin, /usr\nallow read /etc\nallow read write $cwd";
    insta::assert_snapshot!(shown(&check(text, &host("/home/ada"), &tree)));
}

#[test]
fn a_drive_of_windows() {
    let tree = files(&format!("{DEBIAN}\n/mnt/c/Users/ada/work/a.txt\n/mnt/wsl/resolv.conf\n"));
    let text = "allow read exec /usr, /bin\nallow read write $cwd\nallow read /mnt/wsl/resolv.conf";
    insta::assert_snapshot!(shown(&check(text, &host("/mnt/c/Users/ada/work"), &tree)));
}

#[test]
fn the_working_directory_lies_in_tmp() {
    let tree = files(&format!("{DEBIAN}\n/tmp/job/in.txt\n/tmp/other\n"));
    let text = "allow read write $tmp\nallow read $cwd\ndeny write $tmp/locked best-effort";
    insta::assert_snapshot!(shown(&check(text, &host("/tmp/job"), &tree)));
}

#[test]
fn the_working_directory_is_a_link_and_cannot_be_read() {
    let tree = files(&format!("{DEBIAN}\n/data/work/x\n/home/ada/link -> /data/work\n"));
    insta::assert_snapshot!(shown(&check("allow read /usr", &host("/home/ada/link"), &tree)));
}

#[test]
fn an_empty_home() {
    let text = "allow read ~/.gitconfig, ~/bin/*\nallow write ~/.cache/x\nnever read ~/.aws";
    insta::assert_snapshot!(shown(&check(text, &host("/home/ada"), &files("/home/ada/"))));
}

#[test]
fn a_linked_worktree_with_its_repository() {
    let tree = files(
        "/home/ada/tree/.git
         /home/ada/repo/.git/worktrees/tree/HEAD
         /home/ada/repo/.git/hooks/",
    );
    let mut host = host("/home/ada/tree");
    host.git_root = Some(path("/home/ada/tree"));
    host.git_common = Some(path("/home/ada/repo/.git"));
    let text = "allow read write $workspace, ~/repo/.git\ndeny write ~/repo/.git/hooks best-effort";
    insta::assert_snapshot!(shown(&check(text, &host, &tree)));
}

#[test]
fn a_link_in_the_workspace_opens_nothing_beyond_it() {
    let tree = files(&format!("{DEBIAN}\n/home/ada/work/out -> /etc\n"));
    insta::assert_snapshot!(shown(&check("allow read $cwd/out, $cwd/src", &host("/home/ada/work"), &tree)));
}

#[test]
fn what_is_weaker_is_an_error_unless_it_is_accepted() {
    let text = "allow read write $cwd
deny write $cwd/.git/config
deny read $cwd/*.pem cheaply
deny exec **/x cheaply
never write $cwd/src
allow read write $cwd except $cwd/.env
allow connect example.com:443
allow ssh *
allow run git
deny run \"git push\"
limit time 10s
limit memory 1GiB
limit cpu 5s best-effort
allow syscall perf_event_open
allow syscall mount";
    let lowered = check(text, &host("/home/ada/work"), &files(DEBIAN));
    insta::assert_snapshot!(shown(&lowered));
    let told = |rule| lowered.fidelity.iter().find(|told| told.what == Enforced::Rule(RuleId(rule))).unwrap();
    assert_eq!(told(0).level, Level::Exact);
    let refused: Vec<&String> = lowered.plan.seccomp.iter().flat_map(|rule| &rule.calls).collect();
    assert!(!refused.iter().any(|call| *call == "perf_event_open"));
    assert!(refused.iter().any(|call| *call == "userfaultfd"));
}

#[test]
fn commands_that_cannot_be_judged_are_told() {
    let text = "allow read exec /usr
allow run *
deny run \"git push\", sudo, sh, mkfs.*, /usr/bin/git best-effort";
    let mut host = host("/home/ada/work");
    host.features.mediation = Support::No("kernel.yama.ptrace_scope=3".into());
    let told = |host: &Host| {
        let lowered = check(text, host, &files(DEBIAN));
        let told = lowered.fidelity.last().unwrap();
        (told.level, told.by.contains(&Mechanism::Mediator), lowered.plan.mediated.len(), told.why.len())
    };
    assert_eq!(told(&host), (Level::Weaker, false, 0, 4));
    host.features.mediation = Support::Yes;
    assert_eq!(told(&host), (Level::Exact, true, 1, 0));
}

#[test]
fn nothing_is_judged_where_everything_may_be_started_or_nothing() {
    for (text, judged) in [
        ("allow read /usr", 0),
        ("allow run *", 0),
        ("deny run git", 0),
        ("allow run *\ndeny run git best-effort", 1),
        // Who would rather not pay for it says so, of every rule.
        ("allow run *\ndeny run git best-effort cheaply", 0),
        ("allow run *\ndeny run git cheaply", 1),
        ("allow run *\ndeny run git best-effort cheaply\ndeny run gcc best-effort", 1),
        ("allow run gcc\ndeny run git best-effort cheaply", 1),
        ("allow run *\nallow connect a.example\ndeny ssh b.example\ndeny run git best-effort cheaply", 1),
        ("allow run git", 1),
        ("allow run *\nallow run git", 0),
        ("on macos {\n  deny run git\n}\nallow run *", 0),
    ] {
        let lowered = check(text, &host("/home/ada/work"), &files(DEBIAN));
        assert_eq!(lowered.plan.mediated.len(), judged, "{text}");
    }
}

#[test]
fn writing_is_judged_where_a_rule_asks_for_more_than_mounts_hold() {
    let told = |text: &str, mediation: Support| {
        let mut host = host("/home/ada/work");
        host.features.mediation = mediation;
        let lowered = check(text, &host, &files(DEBIAN));
        let told = lowered.fidelity.last().unwrap();
        (lowered.plan.mediated.contains(&Mediated::Writes), told.level, lowered.diagnostics.len())
    };
    let (exact, weaker) = (Level::Exact, Level::Weaker);
    for (rule, judged, level) in [
        ("deny write $cwd/src", true, exact),
        ("deny write $cwd/none", true, exact),
        ("deny write $cwd/src best-effort", true, exact),
        ("deny write **/.env", true, exact),
        ("never write **/.env", true, exact),
        ("deny write $cwd/*.key", true, exact),
        // Whoever would rather not pay for it says so.
        ("deny write $cwd/src best-effort cheaply", false, weaker),
        ("deny write **/.env cheaply", false, weaker),
        ("deny write **/.env best-effort cheaply", false, weaker),
        // It accepts only what is weaker because the item is a pattern.
        ("deny write $cwd/src cheaply", true, exact),
        // Where one rule asks for it, it holds for all.
        ("deny write $cwd/src\ndeny write **/.env best-effort cheaply", true, exact),
        // Mounts hold these.
        ("deny write /usr", false, exact),
        ("deny write ~/.ssh", false, exact),
        ("deny write **/.env except $cwd, $tmp", false, exact),
        ("deny read write $cwd/src best-effort", true, exact),
        ("deny read write $cwd/src best-effort cheaply", false, weaker),
    ] {
        let text = format!("allow read write $cwd\nallow read /usr\n{rule}");
        assert_eq!(told(&text, Support::Yes), (judged, level, 0), "{rule}");
        assert!(!told(&text, Support::No("a test".into())).0, "{rule}");
    }
    let left_out = "allow read $cwd\nallow write $cwd except $cwd/src";
    assert_eq!(told(left_out, Support::Yes), (true, exact, 0));
    assert_eq!(told(left_out, Support::No("a test".into())), (false, weaker, 1));
}

#[test]
fn reading_is_judged_where_a_rule_asks_for_more_than_mounts_hold() {
    let told = |text: &str, mediation: Support| {
        let mut host = host("/home/ada/work");
        host.features.mediation = mediation;
        let lowered = check(text, &host, &files(DEBIAN));
        let told = lowered.fidelity.last().unwrap();
        let kinds = [Mediated::Reads, Mediated::Writes, Mediated::Starts];
        (kinds.map(|kind| lowered.plan.mediated.contains(&kind)), told.level, lowered.diagnostics.len())
    };
    let (exact, stricter, weaker) = (Level::Exact, Level::Stricter, Level::Weaker);
    // What is closed must not get another name, and a program is read when it starts.
    let (all, none) = ([true; 3], [false; 3]);
    for (rule, judged, level) in [
        // What is covered cannot be written either.
        ("deny read $cwd/src", all, stricter),
        ("deny read $cwd/src best-effort", all, stricter),
        ("deny read write $cwd/src", all, exact),
        ("deny read $cwd/none", all, exact),
        ("deny read **/.env", all, exact),
        ("never read **/.env", all, exact),
        ("deny read write $cwd/*.key", all, exact),
        ("deny read $tmp/key", all, exact),
        // Whoever would rather not pay for it says so.
        ("deny read $cwd/src best-effort cheaply", none, weaker),
        ("deny read **/.env cheaply", none, weaker),
        ("deny read **/.env best-effort cheaply", none, weaker),
        ("deny read $cwd/src cheaply", all, stricter),
        // Where one rule asks for it, it holds for all.
        ("deny read $cwd/src\ndeny read **/.env best-effort cheaply", all, exact),
        // Mounts hold these.
        ("deny read ~/.ssh", none, exact),
        ("deny read /usr/share", none, exact),
        // What must not be executed must not be read, and is no rule about reading for that.
        ("deny exec **/tool best-effort", none, weaker),
        // Whoever traces a program sees what it holds.
        ("allow syscall ptrace\ndeny read **/.env best-effort", [true, true, false], weaker),
    ] {
        let text = format!("allow read write $cwd, $tmp\nallow read exec /usr\nallow run *\n{rule}");
        assert_eq!(told(&text, Support::Yes), (judged, level, 0), "{rule}");
        assert_eq!(told(&text, Support::No("a test".into())).0, none, "{rule}");
    }
    let left_out = "allow write $cwd\nallow read $cwd except $cwd/src";
    assert_eq!(told(left_out, Support::Yes), (all, stricter, 0));
    assert_eq!(told(left_out, Support::No("a test".into())), (none, weaker, 1));
    assert_eq!(told("allow read write $cwd\nallow syscall ptrace\nnever read **/.env", Support::Yes).2, 1);
}

#[test]
fn connections_to_sockets_are_judged_where_a_rule_asks_for_more_than_mounts_hold() {
    let told = |text: &str, mediation: Support| {
        let mut host = host("/home/ada/work");
        host.features.mediation = mediation;
        let lowered = check(text, &host, &files(DEBIAN));
        let told = lowered.fidelity.last().unwrap();
        let judged = [Mediated::Sockets, Mediated::Writes].map(|kind| lowered.plan.mediated.contains(&kind));
        (judged, told.level, lowered.diagnostics.len())
    };
    let (exact, weaker) = (Level::Exact, Level::Weaker);
    let (both, sockets, none) = ([true, true], [true, false], [false, false]);
    for (rule, judged, level) in [
        ("deny socket $cwd", sockets, exact),
        ("deny socket $cwd/src", sockets, exact),
        ("deny socket $cwd/none", sockets, exact),
        ("deny socket /", sockets, exact),
        ("deny socket **/*.sock", sockets, exact),
        ("never socket **/*.sock", sockets, exact),
        ("deny socket /usr/lib", sockets, exact),
        // Whoever would rather not pay for it says so.
        ("deny socket $cwd best-effort cheaply", none, weaker),
        ("deny socket **/*.sock cheaply", none, weaker),
        ("deny socket $cwd cheaply", sockets, exact),
        // Where one rule asks for it, it holds for all.
        ("deny socket $cwd\ndeny socket **/*.sock best-effort cheaply", sockets, exact),
        // No tree of the host is there.
        ("deny socket /run", none, exact),
        ("deny socket ~/.ssh", none, exact),
        // Names that are opened are given to nothing else.
        ("allow socket /run/user.sock\ndeny socket $cwd", sockets, exact),
        ("allow socket $cwd/open\ndeny socket $cwd except $cwd/open", both, exact),
        ("deny socket $cwd except $cwd/open", both, exact),
    ] {
        let text = format!("allow read write $cwd\nallow read /usr\n{rule}");
        assert_eq!(told(&text, Support::Yes), (judged, level, 0), "{rule}");
        assert_eq!(told(&text, Support::No("a test".into())).0, none, "{rule}");
    }
    let unjudged = told("allow read $cwd\ndeny socket $cwd", Support::No("a test".into()));
    assert_eq!(unjudged, (none, weaker, 1));
}

#[test]
fn what_an_ssh_is_asked_is_judged_where_rules_are_about_it_and_something_connects() {
    let told = |text: &str, mediation: Support| {
        let mut host = host("/home/ada/work");
        host.features.mediation = mediation;
        let lowered = check(text, &host, &files(DEBIAN));
        let codes: Vec<String> = lowered.diagnostics.iter().map(|found| found.code.to_string()).collect();
        let told = lowered.fidelity.last().unwrap();
        (lowered.plan.mediated.len(), told.level, told.by.contains(&Mechanism::Mediator), codes)
    };
    let connect = |rule: &str| format!("allow connect example.org:22\n{rule}");
    let no = || Support::No("a test".into());
    assert_eq!(told(&connect("allow ssh *"), Support::Yes), (0, Level::Exact, false, vec![]));
    for rule in ["allow ssh example.org", "deny ssh example.org", "never ssh \"example.org rm\""] {
        assert_eq!(told(&connect(rule), Support::Yes), (1, Level::Exact, true, vec![]), "{rule}");
        assert_eq!(told(rule, Support::Yes), (0, Level::Exact, false, vec![]), "{rule}");
    }
    assert_eq!(told(&connect("allow ssh example.org"), no()).3, ["E0701"]);
    assert_eq!(told(&connect("deny ssh example.org"), no()).1, Level::Weaker);
    let traced = connect("allow syscall ptrace\nallow run *\ndeny ssh example.org");
    assert_eq!(told(&traced, Support::Yes).3, ["E0709"]);
}

#[test]
fn what_changes_commands_that_are_judged_is_closed() {
    let closes = |text: &str| {
        let lowered = check(text, &host("/home/ada/work"), &files(DEBIAN));
        let codes: Vec<String> = lowered.diagnostics.iter().map(|found| found.code.to_string()).collect();
        let mut refused = lowered.plan.seccomp.iter().flat_map(|rule| &rule.calls);
        (refused.any(|call| call == "ptrace"), codes)
    };
    assert_eq!(closes("allow run *"), (false, vec![]));
    assert_eq!(closes("allow run *\ndeny run git"), (true, vec![]));
    assert_eq!(closes("allow run *\ndeny run git\nallow syscall kcmp"), (true, vec![]));
    assert_eq!(closes("allow run *\ndeny run git\nallow syscall ptrace"), (true, vec!["E0709".into()]));
    assert_eq!(closes("allow run *\nallow syscall process_vm_writev"), (false, vec![]));
    // Whoever insists on no rule may have tracing instead of the judgement.
    let accepting = "allow run *\ndeny run git best-effort\nallow syscall ptrace";
    assert_eq!(closes(accepting), (false, vec![]));
    assert_eq!(check(accepting, &host("/home/ada/work"), &files(DEBIAN)).plan.mediated.len(), 0);
    assert_eq!(closes(&format!("{accepting}\ndeny run gcc")), (true, vec!["E0709".into()]));
}

#[test]
fn a_missing_mechanism_is_an_error() {
    let tree = files(DEBIAN);
    let codes = |change: &dyn Fn(&mut Host)| {
        let mut host = host("/home/ada/work");
        change(&mut host);
        let lowered = check("allow read $cwd\nlimit processes 5", &host, &tree);
        lowered
            .diagnostics
            .iter()
            .map(|found| (found.code.to_string(), found.message.clone()))
            .collect::<Vec<_>>()
    };
    let no = || Support::No("refused: EPERM".into());
    assert_eq!(codes(&|_| {}), []);
    for (change, code, name) in [
        (
            &(|host: &mut Host| host.features.user_namespaces = no()) as &dyn Fn(&mut Host),
            "E0703",
            "user namespaces",
        ),
        (&|host| host.features.seccomp = no(), "E0703", "seccomp"),
        (&|host| host.features.mount_api = no(), "E0703", "mount calls"),
        (&|host| host.features.landlock_abi = 0, "E0703", "Landlock"),
        (&|host| host.features.fresh_proc = no(), "E0705", "/proc"),
        (
            &|host| {
                host.person.uid = 0;
                host.features.pid_max = no();
            },
            "E0701",
            "processes",
        ),
    ] {
        let found = codes(change);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, code);
        assert!(found[0].1.contains(name), "{found:?}");
    }
}

#[test]
fn an_older_kernel_refuses_what_it_cannot_hold_otherwise() {
    let mut host = host("/home/ada/work");
    host.features.landlock_abi = 4;
    host.features.memfd_noexec = Support::No("no such file".into());
    let lowered = check("allow read $cwd", &host, &files(DEBIAN));
    let refused: Vec<&str> =
        lowered.plan.seccomp.iter().flat_map(|rule| rule.calls.iter().map(String::as_str)).collect();
    assert!(refused.contains(&"kill") && refused.contains(&"memfd_create"), "{refused:?}");
    assert_eq!(lowered.plan.memfd, MemfdPlan::Unrestricted);
}

#[test]
fn the_first_landlock_is_stricter_about_moving() {
    let mut host = host("/home/ada/work");
    host.features.landlock_abi = 1;
    let lowered = check("allow read write $cwd\nallow read /usr", &host, &files(DEBIAN));
    let levels: Vec<Level> = lowered.fidelity.iter().map(|told| told.level).collect();
    assert_eq!(levels, [Level::Stricter, Level::Exact]);
    assert_eq!(lowered.diagnostics, []);
}

/// A variable without a value opens nothing, which is a note, and closes nothing, which is an error.
#[test]
fn a_variable_without_a_value() {
    let lowered = check("allow read $NOWHERE\ndeny read $NOWHERE", &host("/home/ada"), &files(DEBIAN));
    let codes: Vec<String> = lowered.diagnostics.iter().map(|found| found.code.to_string()).collect();
    assert_eq!(codes, ["E0706"]);
    assert_eq!(lowered.fidelity[0].notes.len(), 1);
}

/// Of two rules that cover the same, the one without the clause has to hold.
#[test]
fn an_accepted_rule_excuses_no_other() {
    let text = "allow read write $cwd\ndeny read $cwd/src best-effort\ndeny read $cwd/src";
    let mut host = host("/home/ada/work");
    host.features.mediation = Support::No("a test".into());
    let lowered = check(text, &host, &files(DEBIAN));
    let lines: Vec<u32> = lowered.diagnostics.iter().map(|found| found.place.unwrap().span.start).collect();
    assert_eq!(lines.len(), 1);
    assert!(lines[0] > 50, "the last rule: {lines:?}");
}

#[test]
fn devices_are_opened_by_name() {
    let tree = files(&format!("{DEBIAN}\n/dev/dri/card0 %\n/dev/dri/renderD128 %\n/dev/sda %\n"));
    let text = "allow device /dev/kvm, /dev/dri, /dev/none, /etc/passwd\ndeny device /dev/dri/card0\nallow read /dev/sda";
    insta::assert_snapshot!(shown(&check(text, &host("/home/ada/work"), &tree)));
}

#[test]
fn what_closes_reading_or_writing_closes_devices() {
    let tree =
        files(&format!("{DEBIAN}\n/dev/disk/by-id/one -> ../../sda\n/dev/sda %\n/dev/sdb %\n/dev/sdc %\n"));
    let text = "allow device /dev/sd*, /dev/kvm\ndeny device /dev/disk/by-id/one\nnever read write /dev/sdb
deny read /dev/kvm\ndeny read write /dev/null best-effort\ndeny write /dev best-effort except /dev/sdc";
    insta::assert_snapshot!(shown(&check(text, &host("/home/ada/work"), &tree)));
}

#[test]
fn what_closes_nothing_is_an_error() {
    for (text, codes) in [
        ("deny connect $HERE", vec!["E0706"]),
        ("deny connect $HERE, $BAD, $GOOD", vec!["E0706", "E0706"]),
        ("deny http \"GET $HERE/x\"", vec!["E0706"]),
        ("deny ssh $HERE", vec!["E0706"]),
        ("deny run $HERE/bin/x best-effort", vec!["E0706"]),
        ("deny run $git_root/x, $cwd/x best-effort", vec![]),
        ("deny connect *.example.org except $HERE", vec![]),
        ("deny read $HERE", vec!["E0706"]),
        ("on macos {\n  deny connect $HERE\n  deny read $HERE\n}", vec![]),
        ("on linux {\n  deny connect $HERE\n  deny read $HERE\n}", vec!["E0706", "E0706"]),
    ] {
        let mut host = host("/home/ada/work");
        host.git_root = None;
        host.environment.insert("GOOD".into(), "example.org".into());
        host.environment.insert("BAD".into(), "127.1".into());
        let lowered = check(&format!("allow run *\n{text}"), &host, &files(DEBIAN));
        let found: Vec<&str> = lowered.diagnostics.iter().map(|found| found.code.name()).collect();
        assert_eq!(found, codes, "{text}");
    }
}

#[test]
fn a_socket_is_opened_by_its_path() {
    let text = "allow read /run\nallow socket /run/user.sock\ndeny socket /run/docker.sock";
    let tree = files(&format!("{DEBIAN}\n/run/user.sock =\n"));
    insta::assert_snapshot!(shown(&check(text, &host("/home/ada/work"), &tree)));
    let text = "allow socket /run/user.sock";
    insta::assert_snapshot!("a_socket_alone", shown(&check(text, &host("/home/ada/work"), &tree)));
}

#[test]
fn sockets_that_programs_have_bound_are_covered_unless_a_rule_opens_them() {
    let tree = files(DEBIAN)
        .with_socket(path("/home/ada/.docker/run/docker.sock"))
        .with_socket(path("/home/ada/work/.dev/server"))
        .with_socket(path("/home/ada/work/opened"))
        .with_socket(path("/srv/elsewhere"));
    let text = "allow read ~\nallow read write $cwd\nallow socket $cwd/opened";
    let lowered = check(text, &host("/home/ada/work"), &tree);
    let covered = lowered.plan.mounts.iter().filter_map(|mount| match mount {
        Mount::Mask { at, .. } => Some(at.to_string()),
        _ => None,
    });
    let covered: Vec<String> = covered.collect();
    assert_eq!(covered, ["/home/ada/.docker/run/docker.sock", "/home/ada/work/.dev/server"]);
}

#[test]
fn the_texts_of_the_policy_are_read_only() {
    let tree = files(&format!("{DEBIAN}\n/home/ada/work/policy.fence\n/home/ada/policies/own.fence\n"));
    let mut host = host("/home/ada/work/src");
    host.protected = vec![path("/home/ada/policies/own.fence"), path("/home/ada/state")];
    insta::assert_snapshot!(shown(&check("allow read write ~", &host, &tree)));
}

#[test]
fn a_text_of_the_policy_is_not_reached_through_a_link_that_can_be_replaced() {
    let tree = files(&format!(
        "{DEBIAN}\n/home/ada/dot/own.fence\n/home/ada/config/own.fence -> ../dot/own.fence\n"
    ));
    let mut host = host("/home/ada/work");
    host.protected = vec![path("/home/ada/config/own.fence")];
    let told = |text: &str| {
        let lowered = lower(&policy(text), &host, &mut tree.clone());
        lowered.diagnostics.into_iter().map(|found| found.message).collect::<Vec<_>>()
    };
    assert_eq!(
        told("allow read write ~"),
        [
            "`/home/ada/config/own.fence` leads through the link `/home/ada/config/own.fence`, which the policy lets be replaced from inside"
        ]
    );
    assert_eq!(told("allow read write $cwd"), [""; 0]);
}

#[test]
fn start_up_looks_at_no_tree() {
    struct Counting(FileFacts, usize, usize);
    impl fence_compiler::host::Files for Counting {
        fn entry(&mut self, path: &fence_compiler::bytes::AbsolutePath) -> fence_compiler::host::Entry {
            self.1 += 1;
            self.0.entry(path)
        }
        fn names(&mut self, path: &fence_compiler::bytes::AbsolutePath) -> Vec<Vec<u8>> {
            self.2 += 1;
            self.0.names(path)
        }
        fn sockets(
            &mut self,
            beneath: &std::collections::BTreeSet<fence_compiler::bytes::AbsolutePath>,
        ) -> Vec<fence_compiler::bytes::AbsolutePath> {
            self.0.sockets(beneath)
        }
    }
    let looked = |extra: usize| {
        let mut lines = DEBIAN.to_owned();
        for number in 0..extra {
            lines.push_str(&format!("/home/ada/work/src/{number}.rs\n"));
        }
        let mut files = Counting(files(&lines), 0, 0);
        let _ = lower(&policy(WORK), &host("/home/ada/work"), &mut files);
        (files.1, files.2)
    };
    assert_eq!(looked(0), looked(500));
}

#[test]
fn a_listing_of_a_directory_stands_for_looks_at_its_names() {
    struct Listed(FileFacts, usize);
    impl fence_compiler::host::Files for Listed {
        fn entry(&mut self, path: &fence_compiler::bytes::AbsolutePath) -> fence_compiler::host::Entry {
            self.1 += 1;
            self.0.entry(path)
        }
        fn names(&mut self, path: &fence_compiler::bytes::AbsolutePath) -> Vec<Vec<u8>> {
            self.0.names(path)
        }
        fn listing(&mut self, path: &fence_compiler::bytes::AbsolutePath) -> Option<Vec<Vec<u8>>> {
            path.to_string().ends_with("/bin").then(|| self.0.names(path))
        }
        fn sockets(
            &mut self,
            beneath: &std::collections::BTreeSet<fence_compiler::bytes::AbsolutePath>,
        ) -> Vec<fence_compiler::bytes::AbsolutePath> {
            self.0.sockets(beneath)
        }
    }
    let lines = format!("{DEBIAN}/usr/bin/su\n/usr/bin/mount -> su\n/usr/sbin/sudo\n/usr/local/bin/sudo\n");
    let policy = policy(
        "allow run *\nallow read exec /usr\ndeny run su, sudo, mount, doas, run0, mkfs, \"su x\" best-effort\n",
    );
    let host = host("/home/ada/work");
    let mut looked_at = files(&lines);
    let mut listed = Listed(files(&lines), 0);
    let plan = lower(&policy, &host, &mut listed);
    assert_eq!(plan, lower(&policy, &host, &mut looked_at));
    let closed = plan.plan.mounts.iter().filter(|mount| matches!(mount, Mount::Mask { .. })).count();
    assert_eq!(closed, 4, "{:?}", plan.plan.mounts);
    let mut counted = fence_compiler::host::Recorder::new(&mut looked_at);
    let _ = lower(&policy, &host, &mut counted);
    assert!(listed.1 < counted.into_facts().entries.len());
}

/// `/proc` is there for every command, so that a rule that closes it is never exact.
#[test]
fn what_closes_proc_is_told_as_weaker() {
    for (rule, weaker) in [
        ("deny read /proc", true),
        ("deny read /proc/meminfo", true),
        ("never read /proc", true),
        ("deny exec /proc", true),
        ("deny read /", true),
        ("deny read / except /usr", true),
        ("deny read / except /proc", false),
        ("deny write /proc", false),
        ("allow read /usr except /proc", false),
    ] {
        for target in [LinuxTarget::Native, LinuxTarget::Landlock(RunId::none())] {
            let text = format!("allow read /usr\n{rule}");
            let lowered = lower_for(&target, &policy(&text), &host("/home/ada/work"), &mut files(DEBIAN));
            let told = lowered.fidelity.iter().find(|told| told.what == Enforced::Rule(RuleId(1))).unwrap();
            let always = told.why.iter().any(|why| why.starts_with("`/proc` can always be read"));
            assert_eq!(always, weaker, "{rule}: {:?}", told.why);
        }
    }
}
