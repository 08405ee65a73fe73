//! Starting, limiting and ending a command.

use fence::launch::{Error, Outcome};
use fence_compiler::plan::{LimitMechanism, LimitPlan};
use fence_compiler::policy::LimitKind;

use crate::Case;
use crate::scene::{Scene, await_end};

pub const CASES: &[Case] = &[
    ("a_command_runs_with_the_profile_in_a_private_file", private),
    ("where_the_profile_is_not_applied_nothing_runs_and_the_reason_is_told", not_applied),
    ("a_code_of_the_command_is_not_taken_for_one_of_sandbox_exec", own_codes),
    ("a_name_that_is_taken_is_not_shared", taken),
    ("limits_hold_and_what_is_left_in_the_group_ends", limits),
    ("where_nothing_is_served_nothing_is_started_beside_the_command", alone),
];

fn private() {
    let scene = Scene::new("allow read /usr");
    let (code, events) = scene.events("test -d \"$TMPDIR\" && echo x > \"$TMPDIR/x\" && exit 7");
    assert_eq!((code, events), (7, Vec::new()));
    let arguments = scene.read("profile.arguments");
    let words: Vec<&str> = arguments.lines().collect();
    assert_eq!((words[0], &words[2..4]), ("-f", &["--", "/bin/bash"][..]));
    assert_eq!(scene.read("profile.mode"), "600\n700\n");
    assert_eq!(scene.read("profile.copy"), scene.plan.profile);
    // Three of its own, the one that lists them, and that of the shell's own text.
    assert_eq!(scene.read("profile.descriptors").trim(), "4");
    let environment = scene.read("profile.environment");
    assert!(environment.contains("A=1\n") && environment.contains("TMPDIR="), "{environment}");
    assert!(!environment.contains("CARGO"), "{environment}");
    // Nothing of the run is left.
    assert!(!scene.at_name("tmp").exists() && !scene.at_name("tmp-profile").exists());
}

fn not_applied() {
    for (file, told) in
        [("profile.nested", "a sandbox is around fence already"), ("profile.refused", "unbound variable: x")]
    {
        let scene = Scene::new("allow read /usr");
        scene.write(file, "");
        let error = scene.run("touch ran").0.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert!(!scene.at_name("ran").exists());
    }
}

fn own_codes() {
    let scene = Scene::new("allow read /usr");
    assert_eq!(scene.events("exit 71").0, 71);
    assert_eq!(scene.events("exit 65").0, 65);
}

fn taken() {
    let scene = Scene::new("allow read /usr");
    std::fs::create_dir(scene.at_name("tmp")).unwrap();
    assert!(matches!(scene.run("touch ran").0, Err(Error::Step { .. })));
    assert!(!scene.at_name("ran").exists());
}

fn limits() {
    let mut scene = Scene::new("allow read /usr");
    scene.plan.limits = vec![
        LimitPlan { kind: LimitKind::Files, amount: 40, by: LimitMechanism::Rlimit },
        LimitPlan { kind: LimitKind::Time, amount: 60_000, by: LimitMechanism::Timer },
    ];
    let text = "test \"$(ulimit -n)\" = 40 || exit 4; sleep 300 & echo $! > left; exit 3";
    assert_eq!(scene.events(text).0, 3);
    await_end(scene.read("left").trim());
    scene.plan.limits = vec![LimitPlan { kind: LimitKind::Time, amount: 50, by: LimitMechanism::Timer }];
    assert_eq!(scene.run("sleep 300").0.unwrap().outcome, Outcome::TimedOut);
}

fn alone() {
    let scene = Scene::new("allow read /usr\nallow connect localhost:5432");
    assert_eq!(scene.events("test -z \"$HTTP_PROXY$ALL_PROXY\"").0, 0);
    assert!(!scene.read("profile.arguments").contains("-D"));
    assert!(!scene.at_name("serving.arguments").exists() && !scene.at_name("log.arguments").exists());
}
