//! What the other targets of Linux make of a policy.

use fence_compiler::fidelity::{Enforced, Level, Mechanism};
use fence_compiler::host::{FileFacts, Host, Support};
use fence_compiler::lower::linux::{Lowered, lower, lower_for};
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::{Finish, LinuxTarget};
use fence_compiler::plan::{NetworkPlan, bwrap};
use fence_compiler::policy::RuleId;

use super::machine::{DEBIAN, files, host};
use super::model::{Holder, Model};
use super::written::policy;

const WORK: &str = "/home/ada/work";

fn landlock(text: &str, host: &Host, files: &FileFacts) -> Lowered {
    let target = LinuxTarget::Landlock(RunId::none());
    let lowered = lower_for(&target, &policy(text), host, &mut files.clone());
    Model::held_by(Holder::Landlock, &lowered.plan, files);
    lowered
}

fn level(lowered: &Lowered, rule: u32) -> Level {
    let what = Enforced::Rule(RuleId(rule));
    lowered.fidelity.iter().find(|told| told.what == what).unwrap().level
}

fn rules(lowered: &Lowered) -> Vec<String> {
    let devices = |path: &str| path.starts_with("/dev/");
    lowered
        .plan
        .landlock
        .rules
        .iter()
        .filter(|rule| !devices(&rule.path.to_string()))
        .map(|rule| {
            let letter = |has, letter| if has { letter } else { '-' };
            format!(
                "{}{}{} {}",
                letter(rule.read, 'r'),
                letter(rule.write, 'w'),
                letter(rule.execute, 'x'),
                rule.path
            )
        })
        .collect()
}

#[test]
fn landlock_gives_rights_beside_what_is_closed() {
    let text = "allow read write $cwd\ndeny write $cwd/.git/hooks\ndeny read $cwd/.env\n";
    let lowered = landlock(text, &host(WORK), &files(DEBIAN));
    assert_eq!(
        rules(&lowered),
        [
            // Writing an unreadable file is not closed by its rule; reading it is.
            "-w- /home/ada/work/.env",
            "rw- /home/ada/work/.git",
            "rw- /home/ada/work/node_modules",
            "rw- /home/ada/work/src",
            "r-- /proc",
        ]
        .map(|line| if line == "rw- /home/ada/work/.git" {
            "r-- /home/ada/work/.git".to_owned()
        } else {
            line.to_owned()
        })
        .into_iter()
        .chain(["-w- /home/ada/work/.git/config".to_owned()])
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .into_iter()
        .fold(Vec::new(), |mut sorted, line| {
            sorted.push(line);
            sorted.sort_by(|one: &String, other| one[4..].cmp(&other[4..]));
            sorted
        })
    );
    assert_eq!(level(&lowered, 0), Level::Stricter);
    // Metadata is what it leaves open; nothing else.
    assert_eq!(
        (level(&lowered, 1), lowered.diagnostics.len()),
        (Level::Weaker, 1),
        "{:?}",
        lowered.diagnostics
    );
    assert_eq!(lowered.left_to_a_person.len(), 2, "{:?}", lowered.left_to_a_person);
}

#[test]
fn landlock_gives_nothing_under_names_that_a_pattern_closes_later() {
    let lowered = landlock("allow read $cwd\ndeny read $cwd/.e*\n", &host(WORK), &files(DEBIAN));
    let given = rules(&lowered);
    assert!(given.contains(&"r-- /home/ada/work/src".to_owned()), "{given:?}");
    assert!(!given.iter().any(|line| line.ends_with("/work") || line.ends_with("/.env")), "{given:?}");
}

#[test]
fn landlock_gives_no_right_under_names_that_a_pattern_closes_for_it() {
    for (rule, expected) in [
        (
            "deny read $cwd/*.key",
            &[
                "-wx /home/ada/work",
                "r-- /home/ada/work/.env",
                "r-- /home/ada/work/.git",
                "r-- /home/ada/work/node_modules",
                "r-- /home/ada/work/src",
            ][..],
        ),
        (
            "deny write $cwd/*.key",
            &[
                "r-x /home/ada/work",
                "-w- /home/ada/work/.env",
                "-w- /home/ada/work/.git",
                "-w- /home/ada/work/node_modules",
                "-w- /home/ada/work/src",
            ],
        ),
        (
            "deny exec $cwd/*.key",
            &[
                "-w- /home/ada/work",
                "r-x /home/ada/work/.env",
                "r-x /home/ada/work/.git",
                "r-x /home/ada/work/node_modules",
                "r-x /home/ada/work/src",
            ],
        ),
        ("deny socket $cwd/*.key", &["rwx /home/ada/work"]),
        (
            "deny write $cwd/src/*.key",
            &[
                "r-x /home/ada/work",
                "-w- /home/ada/work/.env",
                "-w- /home/ada/work/.git",
                "-w- /home/ada/work/node_modules",
                "-w- /home/ada/work/src/main.rs",
            ],
        ),
    ] {
        let text = format!("allow read write exec $cwd\n{rule}");
        let given = rules(&landlock(&text, &host(WORK), &files(DEBIAN)));
        let given: Vec<&str> = given.iter().map(String::as_str).filter(|line| line.contains(WORK)).collect();
        assert_eq!(given, expected, "{rule}");
    }
}

#[test]
fn landlock_keeps_a_link_that_something_closed_leads_through() {
    let files = files("/home/ada/work/link -> /srv/kept\n/srv/kept/x\n/home/ada/work/src/main.rs\n/proc/");
    let open = landlock("allow read write $cwd", &host(WORK), &files);
    assert!(rules(&open).contains(&"rw- /home/ada/work".to_owned()), "{:?}", rules(&open));
    let closed = landlock("allow read write $cwd\ndeny write $cwd/link/x\n", &host(WORK), &files);
    assert_eq!(
        rules(&closed),
        ["r-- /home/ada/work", "-w- /home/ada/work/src", "r-- /proc"],
        "{:?}",
        closed.plan.landlock
    );
}

#[test]
fn landlock_lets_nothing_be_made_where_fence_has_its_own() {
    let mut host = host(WORK);
    host.protected = vec![super::machine::path("/home/ada/work/policy.fence")];
    let lowered = landlock("allow read write $cwd", &host, &files(DEBIAN));
    assert_eq!(lowered.diagnostics.iter().filter(|found| found.code.name() == "E0707").count(), 0);
    assert!(!rules(&lowered).iter().any(|line| line.ends_with("w- /home/ada/work")), "{:?}", rules(&lowered));
}

#[test]
fn landlock_alone_refuses_what_only_namespaces_keep_apart() {
    let refused = |abi| {
        let mut host = host(WORK);
        host.features.landlock_abi = abi;
        let lowered = landlock("allow read /usr", &host, &files(DEBIAN));
        lowered.plan.seccomp.iter().flat_map(|rule| rule.calls.clone()).collect::<Vec<_>>()
    };
    let has = |abi, call: &str| refused(abi).iter().any(|known| known == call);
    for call in ["shmget", "mq_open", "prlimit64", "inotify_add_watch"] {
        assert!(has(7, call), "{call}");
    }
    assert!(!has(7, "tgkill") && has(5, "tgkill"));
    assert!(!has(3, "truncate") && has(2, "truncate"));
}

#[test]
fn a_machine_without_landlock_or_seccomp_has_no_backend_of_that_kind() {
    let mut without = host(WORK);
    without.features.landlock_abi = 0;
    assert!(
        landlock("allow read /usr", &without, &files(DEBIAN))
            .diagnostics
            .iter()
            .any(|found| found.code.name() == "E0703")
    );
    let mut without = host(WORK);
    without.features.seccomp = Support::No("none".into());
    for target in [
        LinuxTarget::Landlock(RunId::none()),
        LinuxTarget::Bwrap(Finish::ByNobody),
        LinuxTarget::Bwrap(Finish::ByFence),
    ] {
        let lowered = lower_for(&target, &policy("allow read /usr"), &without, &mut files(DEBIAN));
        assert!(lowered.diagnostics.iter().any(|found| found.code.name() == "E0703"), "{target:?}");
    }
    let mut without = host(WORK);
    without.features.user_namespaces = Support::No("refused".into());
    for target in [LinuxTarget::Landlock(RunId::none()), LinuxTarget::Bwrap(Finish::ByFence)] {
        let lowered = lower_for(&target, &policy("allow read /usr"), &without, &mut files(DEBIAN));
        assert!(lowered.diagnostics.iter().all(|found| found.code.name() != "E0703"), "{target:?}");
    }
}

#[test]
fn what_may_be_written_and_not_read_is_not_there_under_bubblewrap() {
    let target = LinuxTarget::Bwrap(Finish::ByFence);
    let lowered = lower_for(&target, &policy("allow write $cwd"), &host(WORK), &mut files(DEBIAN));
    assert_eq!(level(&lowered, 0), Level::Stricter);
    let mut model = Model::held_by(Holder::Mounts, &lowered.plan, &files(DEBIAN));
    let file = super::machine::path("/home/ada/work/src/main.rs");
    assert!(!model.allows(fence_compiler::policy::PathAction::Read, &file));
}

#[test]
fn the_list_for_bubblewrap() {
    let text = "allow read exec /usr, /bin, /lib64\nallow read /etc except /etc/shadow\nallow read write $cwd, $tmp\n\
                deny read $cwd/.env best-effort\ndeny write $cwd/.git/hooks best-effort\nset env WORD = \"it's\"\n";
    let target = LinuxTarget::Bwrap(Finish::ByNobody);
    let lowered = lower_for(&target, &policy(text), &host(WORK), &mut files(DEBIAN));
    assert_eq!(lowered.diagnostics, []);
    let list = bwrap::list(&lowered.plan);
    insta::assert_snapshot!(String::from_utf8(bwrap::lines(&list)).unwrap());
    insta::assert_debug_snapshot!(list.descriptors);
    // By itself it mounts nothing `noexec`, and says so.
    assert_eq!(level(&lowered, 1), Level::Weaker);
    assert!(!lowered.left_to_a_person.is_empty());
}

#[test]
fn signals_are_left_to_landlock_from_the_version_that_keeps_them_inside() {
    for (abi, refused) in [(5, true), (6, false), (7, false)] {
        let mut host = host(WORK);
        host.features.landlock_abi = abi;
        let lowered = landlock("allow read /usr", &host, &files(DEBIAN));
        let kill = lowered.plan.seccomp.iter().any(|rule| rule.calls.iter().any(|call| call == "kill"));
        assert_eq!(kill, refused, "{abi}");
    }
}

#[test]
fn where_fence_does_not_run_nothing_is_connected_to_and_that_is_told() {
    let text = "allow connect a.example:443\nallow http \"GET b.example/\"\nallow listen 80\ndeny connect c.example:1\n\
                on macos {\n  allow connect d.example:1\n}";
    let target = LinuxTarget::Bwrap(Finish::ByNobody);
    let lowered = lower_for(&target, &policy(text), &host(WORK), &mut files(DEBIAN));
    let levels: Vec<Level> = (0..4).map(|rule| level(&lowered, rule)).collect();
    assert_eq!(levels, [Level::Stricter, Level::Stricter, Level::Stricter, Level::Exact]);
    let target = LinuxTarget::Landlock(RunId::none());
    let lowered = lower_for(&target, &policy(text), &host(WORK), &mut files(DEBIAN));
    let levels: Vec<Level> = (0..4).map(|rule| level(&lowered, rule)).collect();
    assert_eq!(levels, [Level::Stricter, Level::Stricter, Level::Stricter, Level::Exact]);
}

#[test]
fn with_landlock_alone_the_proxy_is_reached_where_calls_are_answered() {
    let text = "allow connect a.example:443, localhost:5432\nlimit connect-time 5s\nallow env HTTP_PROXY\n";
    let judged = landlock(text, &host(WORK), &files(DEBIAN));
    let NetworkPlan::Judged(network) = &judged.plan.network else { panic!("it is isolated") };
    assert!(network.names.is_empty() && network.addresses.is_empty() && network.host_ports.is_empty());
    assert_eq!((network.proxy.to_string(), network.connect_time), ("127.0.0.1:0".to_owned(), Some(5000)));
    let by = |lowered: &Lowered| lowered.fidelity[0].by.clone();
    assert_eq!(by(&judged), [Mechanism::Proxy, Mechanism::Mediator]);
    assert_eq!(level(&judged, 0), Level::Stricter);
    // What only the run knows is in no plan.
    assert!(judged.plan.environment.set.keys().all(|name| name == "TMPDIR"));
    let calls = |lowered: &Lowered, call: &str| {
        lowered.plan.seccomp.iter().any(|rule| rule.calls.iter().any(|known| known == call))
    };
    assert!(calls(&judged, "listen") && calls(&judged, "setsockopt") && !calls(&judged, "connect"));
    let mut old = host(WORK);
    old.features.mediation = Support::No("it is old".to_owned());
    for (text, host) in [(text, &old), ("allow connect a.example:443\ndeny connect *\n", &host(WORK))] {
        let isolated = landlock(text, host, &files(DEBIAN));
        assert_eq!(isolated.plan.network, NetworkPlan::Isolated);
        assert!(!calls(&isolated, "setsockopt"));
    }
    assert_eq!(by(&landlock(text, &old, &files(DEBIAN))), [Mechanism::Absence, Mechanism::Seccomp]);
    let mut older = host(WORK);
    older.features.landlock_abi = 3;
    assert!(calls(&landlock(text, &older, &files(DEBIAN)), "bind") && !calls(&judged, "bind"));
}

#[test]
fn the_list_by_itself_lets_private_directories_be_executed_from_and_says_so() {
    let target = LinuxTarget::Bwrap(Finish::ByNobody);
    for (text, expected) in
        [("allow read write $tmp", Level::Weaker), ("allow read write exec $tmp", Level::Exact)]
    {
        let lowered = lower_for(&target, &policy(text), &host(WORK), &mut files(DEBIAN));
        assert_eq!(level(&lowered, 0), expected, "{text}");
    }
}

#[test]
fn a_command_restricts_itself_with_landlock_unless_its_calls_are_carried_out_from_outside() {
    for (text, refused) in [
        ("allow run *\ndeny run \"git push\"", false),
        ("allow read write $cwd\ndeny write $cwd/later", true),
        ("allow read $cwd\ndeny socket $cwd", true),
        ("allow read $cwd", false),
    ] {
        let lowered = lower(&policy(text), &host(WORK), &mut files(DEBIAN));
        let calls = |rule: &fence_compiler::plan::CallRule| {
            rule.calls.iter().any(|call| call == "landlock_restrict_self")
        };
        assert_eq!(lowered.plan.seccomp.iter().any(calls), refused, "{text}");
    }
}
