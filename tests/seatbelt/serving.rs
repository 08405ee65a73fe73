//! The profile of the process that serves connections: what it needs, and nothing else, in every reading.

use std::collections::{BTreeMap, BTreeSet};

use crate::agreement::Answers;
use crate::profile::{Host, Profile, Reading, Request, Rule};
use crate::table::catalina;

const FENCE: &str = "/opt/homebrew/Cellar/fence/bin/fence";

fn profile() -> Profile {
    let text = include_str!("../../runner/src/macos/serving.sb");
    assert!(text.is_ascii());
    let parameters = BTreeMap::from([("FENCE", FENCE), ("PROXY", "localhost:4711")]);
    Profile::new(text, &parameters, catalina()).unwrap()
}

/// What is asked, and whether it is allowed.
fn questions() -> Vec<(&'static str, Request, bool)> {
    let path = |path: &str| Request::path(path.as_bytes());
    let out = |protocol, host, port| Request::socket("remote", protocol, host, port);
    let own = |same_sandbox| Request { same_sandbox, ..Request::default() };
    vec![
        ("default", Request::default(), false),
        ("process-exec*", path(FENCE), true),
        ("file-read-data", path(FENCE), true),
        ("file-map-executable", path(FENCE), true),
        ("file-map-executable", path("/usr/lib/libSystem.B.dylib"), true),
        ("file-read-data", path("/"), true),
        ("file-read-data", path("/dev/urandom"), true),
        ("file-read-data", path("/private/etc/hosts"), true),
        ("file-read-data", path("/private/var/run/resolv.conf"), true),
        ("file-read-metadata", path("/private/etc"), true),
        ("process-info-pidinfo", own(true), true),
        ("sysctl-read", Request::name("hw.ncpu"), true),
        ("mach-lookup", Request::name("com.apple.system.opendirectoryd.libinfo"), true),
        ("network-outbound", path("/private/var/run/mDNSResponder"), true),
        ("network-outbound", out("tcp", Host::Other, 443), true),
        ("network-outbound", out("tcp", Host::Loopback, 5432), true),
        ("network-inbound", Request::socket("local", "tcp", Host::Loopback, 4711), true),
        // A compromised one gets nowhere.
        ("process-exec*", path("/bin/sh"), false),
        ("process-exec*", path("/opt/homebrew/Cellar/fence/bin/other"), false),
        ("process-fork", Request::default(), false),
        ("file-read-data", path("/Users/ada/.ssh/id_ed25519"), false),
        ("file-read-data", path("/Users/ada/work/src/main.rs"), false),
        ("file-read-data", path("/private/etc/master.passwd"), false),
        ("file-read-data", path("/private/etc"), false),
        ("file-read-metadata", path("/Users/ada"), false),
        ("file-test-existence", path("/Users/ada/.ssh"), false),
        ("file-write-data", path(FENCE), false),
        ("file-write-data", path("/private/tmp/fence-0123456789abcdef/x"), false),
        ("file-write-create", path("/private/tmp/x"), false),
        ("file-write-data", path("/dev/ttys000"), false),
        ("file-link", path(FENCE), false),
        ("file-clone", path(FENCE), false),
        ("file-ioctl", path("/dev/ttys000"), false),
        ("process-info-pidinfo", own(false), false),
        ("signal", own(false), false),
        ("nvram-get", Request::default(), false),
        ("sysctl-read", Request::name("kern.procargs2"), false),
        ("mach-lookup", Request::name("com.apple.SecurityServer"), false),
        ("mach-lookup", Request::name("com.apple.pasteboard.1"), false),
        ("network-outbound", path("/private/var/run/docker.sock"), false),
        ("network-outbound", out("udp", Host::Other, 53), false),
        ("network-bind", Request::socket("local", "tcp", Host::Loopback, 4712), false),
        ("network-inbound", Request::socket("local", "tcp", Host::Loopback, 22), false),
        ("network-inbound", Request::socket("local", "tcp", Host::Other, 4711), false),
    ]
}

#[test]
fn what_serves_can_serve_and_do_nothing_else() {
    let answers = Answers::new(profile());
    for (operation, request, allowed) in questions() {
        let said = answers.ask(operation, &request);
        let fits = if allowed { said.all } else { !said.some && !said.some_folded };
        assert!(fits, "{operation} {request:?}: {said:?}");
    }
}

#[test]
fn every_rule_of_it_counts() {
    let whole = profile();
    let answers = |profile: &Profile| -> Vec<bool> {
        let ask = |(operation, request, _): &(&str, Request, bool)| {
            profile.allows(catalina(), operation, request, Reading::likely())
        };
        questions().iter().map(ask).collect()
    };
    let before = answers(&whole);
    let mut unseen = BTreeSet::new();
    for index in 0..whole.rules().len() {
        let kept = |(at, rule): (usize, &Rule)| (at != index).then(|| rule.clone());
        let dropped = Profile::of(whole.rules().iter().enumerate().filter_map(kept).collect());
        // `(deny default)` says what holds anyway.
        if index > 0 && answers(&dropped) == before {
            unseen.insert(format!("{:?}", whole.rules()[index].operations));
        }
    }
    assert_eq!(unseen, BTreeSet::new());
}
