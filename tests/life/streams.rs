//! Large arguments go through as they are.

use crate::harness::{Ending, Person, Scene, Suite};

const POLICY: &str = "include base\nallow read write $cwd\n";

/// Adds the tests.
pub fn add(suite: &mut Suite) {
    for person in Person::everybody() {
        for (name, test) in [
            ("a megabyte of arguments", a_megabyte_of_arguments as fn(&Scene) -> Result<(), String>),
            ("a shell text of 130 KB", a_long_text),
            ("a thousand variables", a_large_environment),
        ] {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add(&format!("streams::{name}"), &person, move || {
                test(&Scene::new(&ground, &someone, &[], &[]))
            });
        }
    }
}

fn a_megabyte_of_arguments(scene: &Scene) -> Result<(), String> {
    let text = "printf '%s\\n' $# \"$@\" | cksum";
    let words: Vec<String> = (0..1000).map(|n| format!("{n:0>1000}")).collect();
    let command = ["/bin/sh", "-c", text, "sh"].map(str::to_owned).into_iter().chain(words);
    same(scene, &command.collect::<Vec<_>>())
}

fn a_long_text(scene: &Scene) -> Result<(), String> {
    let text = format!(": {}; echo done", "x".repeat(130_000));
    let policy = scene.policy(POLICY).display().to_string();
    let fence = scene.fence().display().to_string();
    let done = scene.start().words([fence.as_str(), "run", "-p", &policy, "-c", &text]).run();
    match (done.ending, done.out().trim()) {
        (Ending::Code(0), "done") => Ok(()),
        _ => Err(format!("{:?}: {} {}", done.ending, done.out(), done.err())),
    }
}

fn a_large_environment(scene: &Scene) -> Result<(), String> {
    let policy = scene.policy(&format!("{POLICY}allow env MANY_*\n")).display().to_string();
    let fence = scene.fence().display().to_string();
    let text = "env | grep -c ^MANY_";
    let mut start = scene.start().words([fence.as_str(), "run", "-p", &policy, "--", "/bin/sh", "-c", text]);
    start.environment.extend((0..1000).map(|n| (format!("MANY_{n}").into(), "x".repeat(500).into())));
    let done = start.run();
    match (done.ending, done.out().trim()) {
        (Ending::Code(0), "1000") => Ok(()),
        _ => Err(format!("{:?}: {} {}", done.ending, done.out(), done.err())),
    }
}

/// The command says inside what it says outside.
fn same(scene: &Scene, command: &[String]) -> Result<(), String> {
    let policy = scene.policy(POLICY).display().to_string();
    let fence =
        [scene.fence().display().to_string(), "run".to_owned(), "-p".to_owned(), policy, "--".to_owned()];
    let inside = scene.start().words(fence.into_iter().chain(command.iter().cloned())).run();
    let outside = scene.start().words(command.iter().cloned()).run();
    if inside.ending == outside.ending && inside.stdout == outside.stdout && outside.ending == Ending::Code(0)
    {
        return Ok(());
    }
    Err(format!(
        "inside {:?} {} {}, outside {:?} {}",
        inside.ending,
        inside.out(),
        inside.err(),
        outside.ending,
        outside.out()
    ))
}
