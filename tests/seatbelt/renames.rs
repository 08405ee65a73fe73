//! No sequence of renames, links and new directories leads to what is closed.

use std::collections::BTreeSet;

use fence_compiler::decide::decide;
use fence_compiler::fidelity::Level;
use fence_compiler::host::{Entry, FileFacts};
use fence_compiler::policy::PathAction;
use fence_compiler::question::{Question, Verdict};

use crate::machine::{host, lower, path, policy, world};
use crate::profile::{Precedence, Profile, Reading, Rule};
use crate::system::{Kind, System, Tree};

/// Policies that close something inside what can be written, and what they close.
const POLICIES: [&str; 9] = [
    "allow read write $cwd\ndeny read write $cwd/a/s",
    "allow read write $cwd\ndeny read $cwd/a/s",
    "allow read write $cwd\ndeny write $cwd/a/s",
    "allow read write $cwd\nnever read write $cwd/a",
    "allow read write $cwd\ndeny read write **/s",
    "allow read write $cwd\ndeny read write $cwd/*/s",
    "allow read write $cwd\ndeny read write **/a/s",
    "allow read write $cwd\ndeny read write $cwd/a except $cwd/a/t",
    "allow write $cwd\nallow read $cwd except $cwd/a/s",
];

/// A small tree; `s` is what policies close.
fn tree() -> Tree {
    Tree::default()
        .with("/Users/ada/work/a/s", Kind::File)
        .with("/Users/ada/work/a/t", Kind::File)
        .with("/Users/ada/work/b", Kind::Directory)
        .with("/Users/ada/work/f", Kind::File)
        .with("/Users/ada/other/g", Kind::File)
}

/// Every tree that one call more makes, and the call.
fn steps(system: &System<'_>, tree: &Tree) -> Vec<(Tree, String)> {
    let names: Vec<String> = tree.paths().map(|(path, ..)| path.to_owned()).collect();
    let mut targets: BTreeSet<String> = BTreeSet::new();
    for (directory, _, kind) in tree.paths() {
        if *kind == Kind::Directory && directory.starts_with("/Users/ada/work") {
            targets.extend(["a", "n", "s"].map(|name| format!("{directory}/{name}")));
        }
    }
    targets.extend(["/Users/ada/work", "/Users/ada/n", "/Users/ada/other/g"].map(str::to_owned));
    let mut found = Vec::new();
    for to in &targets {
        found.extend(system.mkdir(tree, to).map(|tree| (tree, format!("mkdir {to}"))));
        for from in &names {
            found.extend(system.rename(tree, from, to).map(|tree| (tree, format!("mv {from} {to}"))));
            found.extend(system.link(tree, from, to).map(|tree| (tree, format!("ln {from} {to}"))));
        }
    }
    found
}

/// The readings that make most possible, and the likely one.
fn readings() -> Vec<Reading> {
    let open = Reading { precedence: Precedence::LastMatch, subpath_itself: false, ..Reading::likely() };
    vec![Reading::likely(), open]
}

#[test]
fn three_calls_reach_nothing_that_is_closed() {
    for text in POLICIES {
        let policy = policy(text);
        let facts = tree().paths().fold(FileFacts::default(), |facts, (at, _, kind)| {
            let entry = if *kind == Kind::Directory { Entry::Directory } else { Entry::File };
            facts.with(path(at), entry)
        });
        let world = world(&policy, &host(), &facts);
        let lowered = lower(policy.clone(), host(), facts);
        assert!(lowered.diagnostics.is_empty(), "{text}: {:?}", lowered.diagnostics);
        let weaker = lowered.artifact.fidelity.iter().find(|told| told.level == Level::Weaker);
        assert_eq!(weaker, None, "{text}");
        let profile = lowered.profile();
        let asked = |action, at: &str| {
            decide(&policy, &world, &Question::Path { action, path: path(at) }).verdict == Verdict::Denied
        };
        let start = tree();
        let files = || start.paths().filter(|(_, _, kind)| **kind == Kind::File);
        let unread: BTreeSet<u32> =
            files().filter(|(at, ..)| asked(PathAction::Read, at)).map(|(_, object, _)| object).collect();
        let unwritten: BTreeSet<u32> =
            files().filter(|(at, ..)| asked(PathAction::Write, at)).map(|(_, object, _)| object).collect();
        assert!(!unread.is_empty());
        for reading in readings() {
            let system = System::new(&profile, reading);
            let mut seen = BTreeSet::from([start.clone()]);
            let mut now = vec![(start.clone(), Vec::<String>::new())];
            for _ in 0..3 {
                let mut next = Vec::new();
                for (tree, calls) in &now {
                    for (made, call) in steps(&system, tree) {
                        if !seen.insert(made.clone()) {
                            continue;
                        }
                        let calls: Vec<String> = calls.iter().cloned().chain([call]).collect();
                        for (at, object, _) in made.paths() {
                            let read = unread.contains(&object) && system.open_to_read(&made, at);
                            let written = unwritten.contains(&object) && system.open_to_write(&made, at);
                            assert!(!read && !written, "{text}\n{calls:#?}\n{at} {reading:?}");
                        }
                        next.push((made, calls));
                    }
                }
                now = next;
            }
            assert!(seen.len() > 1, "{text}: nothing can be done at all");
        }
    }
}

/// The search finds a way where there is one.
#[test]
fn without_pins_a_directory_above_is_moved() {
    let lowered =
        lower(policy("allow read write $cwd\ndeny read write $cwd/a/s"), host(), FileFacts::default());
    let whole = lowered.profile();
    let is_pin = |rule: &&Rule| rule.message.as_ref().is_some_and(|tag| tag.ends_with(":way"));
    assert!(whole.rules().iter().any(|rule| is_pin(&rule)));
    let profile = Profile::of(whole.rules().iter().filter(|rule| !is_pin(rule)).cloned().collect());
    let system = System::new(&profile, Reading::likely());
    let moved = system.rename(&tree(), "/Users/ada/work/a", "/Users/ada/work/n").unwrap();
    assert!(system.open_to_read(&moved, "/Users/ada/work/n/s"));
}
