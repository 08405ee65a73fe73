//! The mounts below a person's home, by what is opened and closed there.

use fence_compiler::lower::linux::lower_for;
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::{Finish, LinuxTarget};
use fence_compiler::plan::{MemfdPlan, Mount};

use super::machine::{DEBIAN, files, host};
use super::plans::mount_line;
use super::written::policy;

/// The mounts below `/home/ada`, but for the directories on the way there.
fn below_home(target: &LinuxTarget, cwd: &str, text: &str) -> Vec<String> {
    let tree = format!(
        "{DEBIAN}\n/home/ada/work/server =\n/home/ada/link -> work\n/home/ada/other -> /srv/kept\n/srv/kept/x\n"
    );
    let lowered = lower_for(target, &policy(text), &host(cwd), &mut files(&tree));
    let mounts = lowered.plan.mounts.iter().filter(|mount| !matches!(mount, Mount::Directory { .. }));
    mounts.map(mount_line).filter(|line| line.contains("/home/ada")).collect()
}

#[test]
fn what_is_closed_in_a_tree_is_covered_and_what_is_open_in_it_shown_again() {
    let work = "/home/ada/work";
    for (cwd, text, expected) in [
        (
            work,
            "allow read ~\ndeny read ~/.ssh",
            &["tree /home/ada Refused Refused #0", "mask /home/ada/.ssh Directory #1"][..],
        ),
        (
            work,
            "allow read ~\ndeny read ~/.ssh except ~/.ssh/known_hosts",
            &[
                "tree /home/ada Refused Refused #0",
                "mask /home/ada/.ssh Passage #1",
                "tree /home/ada/.ssh/known_hosts Refused Refused #0",
            ],
        ),
        (
            work,
            "allow read ~\ndeny read ~/.ssh except ~/.ssh/none",
            &["tree /home/ada Refused Refused #0", "mask /home/ada/.ssh Directory #1"],
        ),
        (
            work,
            "allow read ~\ndeny read ~/.ssh/id_ed25519",
            &["tree /home/ada Refused Refused #0", "mask /home/ada/.ssh/id_ed25519 File #1"],
        ),
        (
            work,
            "allow read ~\ndeny read ~/work",
            &["tree /home/ada Refused Refused #0", "mask /home/ada/work Directory #1"],
        ),
        (
            "/home/ada/work/src",
            "allow read ~\ndeny read ~/work",
            &["tree /home/ada Refused Refused #0", "mask /home/ada/work Passage #1"],
        ),
        (
            work,
            "allow read write $cwd\ndeny write $cwd/server",
            &["tree /home/ada/work Allowed Refused #0", "tree /home/ada/work/server Refused Refused #0 #1"],
        ),
        (
            work,
            "allow read write $cwd\ndeny read $cwd/server",
            &["tree /home/ada/work Allowed Refused #0", "mask /home/ada/work/server File #1"],
        ),
        (
            work,
            "allow read write $cwd\ndeny read $cwd/server\nallow socket $cwd/server",
            &["tree /home/ada/work Allowed Refused #0"],
        ),
        (
            work,
            "allow read $cwd\nallow write $cwd/server\ndeny read $cwd/server",
            &["tree /home/ada/work Refused Refused #0", "mask /home/ada/work/server File #2"],
        ),
        (
            work,
            "allow read write $cwd\nallow socket $cwd/server",
            &["tree /home/ada/work Allowed Refused #0"],
        ),
        (work, "allow socket $cwd/server", &["tree /home/ada/work/server Refused Refused #0"]),
        (
            work,
            "allow read $cwd\nallow write $cwd/src",
            &["tree /home/ada/work Refused Refused #0", "tree /home/ada/work/src Allowed Refused #0 #1"],
        ),
        (
            work,
            "allow read $cwd\nallow exec $cwd/src",
            &["tree /home/ada/work Refused Refused #0", "tree /home/ada/work/src Refused Allowed #0 #1"],
        ),
        (
            work,
            "allow read $cwd\nallow read exec $cwd/src/main.rs",
            &[
                "tree /home/ada/work Refused Refused #0",
                "tree /home/ada/work/src/main.rs Refused Allowed #0 #1",
            ],
        ),
        (
            work,
            "allow read ~/link",
            &["link /home/ada/link -> work", "tree /home/ada/work Refused Refused #0"],
        ),
        (work, "allow read ~/other", &["link /home/ada/other -> /srv/kept"]),
        (work, "allow read ~\nallow read ~/other", &["tree /home/ada Refused Refused #0"]),
        (work, "allow read $cwd/none, $cwd/src", &["tree /home/ada/work/src Refused Refused #0"]),
        (
            work,
            "allow read write ~\ndeny write $cwd/.git/hooks",
            &[
                "tree /home/ada Allowed Refused #0",
                "pin /home/ada/work #1",
                "pin /home/ada/work/.git #1",
                "tree /home/ada/work/.git/hooks Refused Refused #0 #1",
            ],
        ),
        (
            work,
            "allow read $cwd\nallow write socket $cwd/server\ndeny read $cwd/server",
            &[
                "tree /home/ada/work Refused Refused #0",
                "tree /home/ada/work/server Allowed Refused #0 #1 #2",
            ],
        ),
        // A pin names the rules of what lies beneath.
        (
            work,
            "allow read write ~\ndeny socket $cwd except $cwd/.git\ndeny write $cwd/.git/hooks",
            &[
                "tree /home/ada Allowed Refused #0",
                "pin /home/ada/work #2",
                "pin /home/ada/work/.git #2",
                "tree /home/ada/work/.git/hooks Refused Refused #0 #2",
            ],
        ),
        // Nothing closed lies beneath what opens more.
        (
            work,
            "allow read write ~\nallow exec $cwd/src",
            &["tree /home/ada Allowed Refused #0", "tree /home/ada/work/src Allowed Allowed #0 #1"],
        ),
        (
            work,
            "allow read write ~\ndeny write $cwd/.git/none",
            &["tree /home/ada Allowed Refused #0", "pin /home/ada/work #1", "pin /home/ada/work/.git #1"],
        ),
        (
            work,
            "allow read write ~\ndeny read $cwd/.git except $cwd/.git/hooks",
            &[
                "tree /home/ada Allowed Refused #0",
                "pin /home/ada/work #1",
                "mask /home/ada/work/.git Passage #1",
                "tree /home/ada/work/.git/hooks Allowed Refused #0",
            ],
        ),
    ] {
        assert_eq!(below_home(&LinuxTarget::Native, cwd, text), expected, "{text}");
    }
}

#[test]
fn what_mounts_alone_cannot_hold_is_covered_whole() {
    let target = LinuxTarget::Bwrap(Finish::ByFence);
    for (text, expected) in [
        ("allow write $cwd", &[][..]),
        (
            "allow read $cwd\nallow write $cwd/src",
            &["tree /home/ada/work Refused Refused #0", "tree /home/ada/work/src Allowed Refused #0 #1"],
        ),
        ("allow write $cwd\nallow read $cwd/src", &["tree /home/ada/work/src Allowed Refused #0 #1"]),
        ("allow write $cwd/none", &[]),
        (
            "allow read write ~\ndeny read $cwd/src",
            &[
                "tree /home/ada Allowed Refused #0",
                "pin /home/ada/work #1",
                "mask /home/ada/work/src Directory #1",
            ],
        ),
    ] {
        assert_eq!(below_home(&target, "/home/ada/work", text), expected, "{text}");
    }
}

#[test]
fn a_memory_file_can_be_executed_where_what_was_written_can() {
    for target in [LinuxTarget::Native, LinuxTarget::Landlock(RunId::none())] {
        for (text, harmless) in [
            ("allow read write exec $cwd", true),
            ("allow read write exec $cwd\nallow read /etc", true),
            ("allow read write $cwd\nallow read exec /usr", false),
        ] {
            let lowered = lower_for(&target, &policy(text), &host("/home/ada/work"), &mut files(DEBIAN));
            let mut refused = lowered.plan.seccomp.iter().flat_map(|rule| &rule.calls);
            let restricted = lowered.plan.memfd == MemfdPlan::NeverExecutable
                || refused.any(|call| call == "memfd_create");
            assert_eq!(restricted, !harmless, "{text}");
        }
    }
}

#[test]
fn a_device_that_is_always_there_is_not_opened_once_more() {
    let lowered = lower_for(
        &LinuxTarget::Native,
        &policy("allow device /dev/*"),
        &host("/home/ada"),
        &mut files(DEBIAN),
    );
    let lines: Vec<String> = lowered.plan.mounts.iter().map(mount_line).collect();
    assert!(lines.contains(&"dev /dev [/dev/kvm]".to_owned()), "{lines:?}");
}
