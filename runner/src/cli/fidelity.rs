//! How faithfully a policy is enforced, in words.

use fence_compiler::fidelity::{Enforced, Enforcement, Level, Mechanism};
use fence_compiler::policy::Policy;

use crate::audit::visible;
use crate::printer;

/// Whether a rule is for another platform only is known by its absence here: everything else has one line.
pub(super) fn line(policy: &Policy, enforcement: &Enforcement) -> String {
    let (place, statement) = what(policy, enforcement.what);
    let mut line = format!("{:<8} {place}  {statement}", level(enforcement.level));
    if !enforcement.by.is_empty() {
        let by: Vec<&str> = enforcement.by.iter().map(|mechanism| self::mechanism(*mechanism)).collect();
        line.push_str(&format!("\n         by {}", by.join(", then ")));
    }
    for why in &enforcement.why {
        line.push_str(&format!("\n         {}: {}", explains(enforcement.level), visible(why)));
    }
    for note in &enforcement.notes {
        line.push_str(&format!("\n         note: {}", visible(note)));
    }
    line
}

/// The place and the one-line text of what an enforcement is about.
pub(super) fn what(policy: &Policy, what: Enforced) -> (String, String) {
    let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let of = |written, text: String| (printer::place(policy, written), short(&one_line(text)));
    let missing = || ("?".to_owned(), "?".to_owned());
    match what {
        Enforced::Rule(id) => policy
            .rules
            .get(id.0 as usize)
            .map_or_else(missing, |rule| of(rule.written, printer::rule(policy, rule))),
        Enforced::Limit(at) => policy
            .limits
            .get(at as usize)
            .map_or_else(missing, |limit| of(limit.written, printer::limit(limit))),
        Enforced::Secret(at) => policy
            .secrets
            .get(at as usize)
            .map_or_else(missing, |secret| of(secret.written, "secret".to_owned())),
        Enforced::Upstream(at) => policy
            .upstreams
            .get(at as usize)
            .map_or_else(missing, |upstream| of(upstream.written, "upstream".to_owned())),
        Enforced::Tls => ("policy".to_owned(), "tls".to_owned()),
    }
}

/// A statement, cut where it is longer than a line.
fn short(text: &str) -> String {
    const LONGEST: usize = 96;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// How many rules are held less strictly than written, in one line, and what tells more; `None` where none is.
pub(super) fn summary(fidelity: &[Enforcement], more: &str, accepted: Accepted) -> Option<String> {
    let weaker = fidelity.iter().filter(|enforcement| enforcement.level == Level::Weaker).count();
    let rules = match weaker {
        0 => return None,
        1 => "1 rule is".to_owned(),
        _ => format!("{weaker} rules are"),
    };
    Some(match accepted {
        Accepted::ByThePolicy => {
            format!("{rules} held less strictly than written, as the policy accepts (see `{more}`)")
        }
        Accepted::ByChoice => {
            format!("{rules} held less strictly than written, as you choose (see `{more}`)")
        }
    })
}

/// Who accepts that rules are held less strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// The policy does.
    ByThePolicy,
    /// The person who chose the backend.
    ByChoice,
}

/// The word of a level.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::Exact => "exact",
        Level::Stricter => "stricter",
        Level::Weaker => "weaker",
    }
}

fn explains(level: Level) -> &'static str {
    match level {
        Level::Exact => "how",
        Level::Stricter => "also refused",
        Level::Weaker => "not refused",
    }
}

fn mechanism(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Nothing => "nothing",
        Mechanism::Absence => "absence (nothing that it is about can be reached)",
        Mechanism::Namespace => "a namespace",
        Mechanism::Mount => "a mount",
        Mechanism::Landlock => "Landlock",
        Mechanism::Seatbelt => "Seatbelt",
        Mechanism::Seccomp => "seccomp",
        Mechanism::Rlimit => "a resource limit",
        Mechanism::Cgroup => "a cgroup (all processes of the run together)",
        Mechanism::Timer => "a timer",
        Mechanism::Proxy => "the proxy",
        Mechanism::Environment => "the environment",
        Mechanism::Preflight => "a check before the start",
        Mechanism::Mediator => "the mediator (each such call inside is judged)",
    }
}
