//! Every rule of a profile counts: without it, or turned around, some answer changes.

use std::collections::BTreeSet;

use crate::machine::{files, host, lower, policy};
use crate::profile::{Profile, Reading, Request, Rule};
use crate::table::catalina;

const POLICY: &str = "allow read write exec $cwd
allow read /usr
deny read write $cwd/.env
deny write $cwd/.git/hooks
deny exec $cwd/bin
on macos { allow mach-lookup com.apple.a }
allow connect localhost:5432
allow listen 3000
allow tty";

/// Questions that between them touch every rule.
fn questions() -> Vec<(&'static str, Request)> {
    let path = |path: &str| Request::path(path.as_bytes());
    let own = |path: &str| Request {
        extension: Some("com.apple.sandbox.pty".into()),
        ..Request::path(path.as_bytes())
    };
    let same = |same_sandbox| Request { same_sandbox, ..Request::default() };
    use crate::profile::Host::Loopback;
    vec![
        ("default", Request::default()),
        ("process-fork", Request::default()),
        ("process-info-pidinfo", same(true)),
        ("process-info-pidinfo", same(false)),
        ("dynamic-code-generation", Request::default()),
        ("nvram-get", Request::default()),
        ("sysctl-read", Request::name("hw.ncpu")),
        ("ipc-posix-shm-read-data", Request::name("apple.shm.notification_center")),
        ("pseudo-tty", Request::default()),
        ("file-ioctl", path("/dev/ptmx")),
        ("file-ioctl", own("/dev/ttys001")),
        ("file-ioctl", path("/dev/ttys001")),
        ("mach-lookup", Request::name("com.apple.a")),
        ("file-read-data", path("/")),
        ("file-read-data", path("/usr/bin/env")),
        ("file-write-data", path("/Users/ada/work/f")),
        ("process-exec*", path("/Users/ada/work/f")),
        ("process-exec*", path("/Users/ada/work/bin/f")),
        ("file-read-data", path("/Users/ada/work/.env")),
        ("file-write-data", path("/Users/ada/work/.git/hooks/x")),
        ("file-write-unlink", path("/Users/ada/work/.git")),
        ("file-write-data", path("/Users/ada/work/policy.fence")),
        ("file-read-metadata", path("/Users/ada")),
        ("file-read-data", path("/dev")),
        ("file-read-data", path("/dev/null")),
        ("file-read-data", path("/dev/disk0")),
        ("network-outbound", Request::socket("remote", "tcp", Loopback, 5432)),
        ("network-bind", Request::socket("local", "tcp", Loopback, 3000)),
    ]
}

fn answers(profile: &Profile) -> Vec<bool> {
    let table = catalina();
    questions()
        .iter()
        .map(|(operation, request)| profile.allows(table, operation, request, Reading::likely()))
        .collect()
}

#[test]
fn no_rule_can_be_dropped_or_turned_around_unseen() {
    let lowered = lower(policy(POLICY), host(), files());
    let profile = lowered.profile();
    let before = answers(&profile);
    let mut unseen = BTreeSet::new();
    for (index, rule) in profile.rules().iter().enumerate() {
        let without = profile.rules().iter().enumerate().filter(|(other, _)| *other != index);
        let dropped = Profile::of(without.map(|(_, rule)| rule.clone()).collect());
        let turned = Profile::of(
            profile
                .rules()
                .iter()
                .enumerate()
                .map(|(other, rule)| Rule { allows: rule.allows != (other == index), ..rule.clone() })
                .collect(),
        );
        // `(deny default)` says what holds anyway; only turning it around is seen. Nothing is open below `/dev` here.
        let says_more = !rule.operations.contains(&"default".to_owned()) && !is_about_dev(rule);
        if (says_more && answers(&dropped) == before) || answers(&turned) == before {
            unseen.insert(index);
        }
    }
    let unseen: Vec<String> =
        unseen.iter().map(|index| format!("{:?}", profile.rules()[*index].operations)).collect();
    assert_eq!(unseen, Vec::<String>::new(), "{}", lowered.plan().profile);
}

fn is_about_dev(rule: &Rule) -> bool {
    !rule.allows && rule.operations == ["file-read*", "file-test-existence", "file-write*"]
}
