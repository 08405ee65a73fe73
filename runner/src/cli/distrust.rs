//! A policy that was found and not named runs only if it is trusted.

use std::collections::BTreeSet;

use fence_compiler::policy::{Effect, Policy, Rule};
use fence_compiler::resolve::{Request, resolve};

use super::policy::Loaded;
use super::screen::Screen;
use crate::load::{Found, Library, built_in};
use crate::printer;
use crate::trust::{Standing, Store};

/// The most lines of what a policy adds.
const LONGEST: usize = 20;

/// Whether a found policy must not run; tells why, and what it allows beyond `default`.
pub(super) fn refused(loaded: &Loaded, found: &Found, closure: &str, screen: Screen) -> anyhow::Result<bool> {
    let person = &loaded.place.person;
    let standing = Store::new(&person.home, person.uid).standing(&found.file, closure)?;
    let why = match standing {
        Standing::Trusted => return Ok(false),
        Standing::Changed(_) => "has changed since you trusted it (its text, what it includes, or fence)",
        Standing::Unknown => "was found here, and you have not trusted it",
    };
    let mut text = format!("the policy `{}` {why}", found.file);
    let added = beyond_default(loaded);
    if added.is_empty() {
        text.push_str("\n  it has no allow rule that `default` has not");
    } else {
        text.push_str("\n  beyond `default` it has:");
    }
    for line in added.iter().take(LONGEST) {
        text.push_str(&format!("\n    {line}"));
    }
    if added.len() > LONGEST {
        text.push_str(&format!("\n    … and {} more", added.len() - LONGEST));
    }
    text.push_str(
        "\n  read it with `fence show`, then: fence trust\n  or run under another: fence run -p default -- …",
    );
    screen.say(&text);
    Ok(true)
}

/// What a policy may open that the built-in `default` has not, one line each.
pub(super) fn beyond_default(loaded: &Loaded) -> Vec<String> {
    let Some(default) = built_in("default") else { return Vec::new() };
    let person = &loaded.place.person;
    let library = Library::new(person.home.clone(), person.uid, loaded.place.cwd.clone());
    let request = Request { mains: vec![default], set: Vec::new(), above: Vec::new() };
    let baseline = resolve(&request, &library).policy;
    let known: BTreeSet<String> = opening(&baseline).map(|rule| bare(&baseline, rule)).collect();
    let policy = &loaded.resolved.policy;
    let mut added: Vec<String> = opening(policy)
        .filter(|rule| !known.contains(&bare(policy, rule)))
        .map(|rule| with_place(policy, rule, &bare(policy, rule)))
        .collect();
    let closing: BTreeSet<String> = closing(policy).map(|rule| bare(policy, rule)).collect();
    let dropped =
        self::closing(&baseline).map(|rule| bare(&baseline, rule)).filter(|line| !closing.contains(line));
    let dropped = dropped.count();
    if dropped > 0 {
        added.push(format!("and it does without {dropped} of the rules by which `default` denies"));
    }
    added
}

fn opening(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| rule.effect == Effect::Allow)
}

fn closing(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| rule.effect != Effect::Allow)
}

/// A rule's meaning in one line: without label and reason.
pub(super) fn bare(policy: &Policy, rule: &Rule) -> String {
    let bare = Rule { label: None, because: None, ..rule.clone() };
    printer::rule(policy, &bare).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn with_place(policy: &Policy, rule: &Rule, line: &str) -> String {
    format!("{line}   ({})", printer::place(policy, rule.written))
}
