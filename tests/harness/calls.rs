//! System calls made inside and outside, and their answers compared.

use std::collections::BTreeMap;

use super::case::{Call, Group};
use super::{Ending, Ground, Person, Scene};

/// Makes every call of a group inside and outside.
pub fn judge(ground: &Ground, group: &Group, person: &Person) -> Result<(), String> {
    let scene = Scene::new(ground, person, &group.fixture, &[]);
    let policy = scene.policy(&group.policy).display().to_string();
    let fence =
        [scene.fence().display().to_string(), "run".to_owned(), "-p".to_owned(), policy, "--".to_owned()];
    let inside = answers(&scene, &group.calls, fence)?;
    // A scene of its own: what succeeds changes files.
    let scene = Scene::new(ground, person, &group.fixture, &[]);
    let outside = answers(&scene, &group.calls, [])?;
    let wrong: Vec<String> =
        group.calls.iter().filter_map(|call| differs(call, &inside, &outside, person)).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn differs(
    call: &Call,
    inside: &BTreeMap<String, String>,
    outside: &BTreeMap<String, String>,
    person: &Person,
) -> Option<String> {
    let of_user = if person.is_root() { None } else { call.outside_user.as_ref() };
    let there = of_user.unwrap_or(&call.outside);
    let answer = |answers: &BTreeMap<String, String>| answers.get(&call.call).cloned().unwrap_or_default();
    let (inside, outside) = (answer(inside), answer(outside));
    if !call.inside.contains(&inside) {
        return Some(format!("`{}` answers {inside} inside, not {}", call.call, call.inside.join(" or ")));
    }
    if !there.contains(&outside) {
        return Some(format!(
            "control: `{}` answers {outside} outside, not {}",
            call.call,
            there.join(" or ")
        ));
    }
    None
}

fn answers(
    scene: &Scene,
    calls: &[Call],
    before: impl IntoIterator<Item = String>,
) -> Result<BTreeMap<String, String>, String> {
    let probe = scene.fill("{bin}/probe");
    let words = before.into_iter().chain([probe, "calls".to_owned()]);
    let finished = scene.start().words(words.chain(calls.iter().map(|call| call.call.clone()))).run();
    if finished.ending != Ending::Code(0) {
        return Err(format!(
            "the probe ended with {:?}\n{}{}",
            finished.ending,
            finished.out(),
            finished.err()
        ));
    }
    Ok(finished
        .out()
        .lines()
        .filter_map(|line| line.rsplit_once(": "))
        .map(|(call, answer)| (call.to_owned(), answer.to_owned()))
        .collect())
}
