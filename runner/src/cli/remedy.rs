//! Why an answer is what it is, and the line that would change it.

use fence_compiler::policy::{Effect, Policy, RuleId};
use fence_compiler::question::{Decision, Reason, Verdict};
use fence_compiler::source::Origin;

use crate::audit::visible;
use crate::printer;

/// The reasons of a decision, one line each: the rule, its place, its label and its reason.
pub(crate) fn reasons(policy: &Policy, decision: &Decision) -> Vec<String> {
    let mut lines = match &decision.reason {
        Reason::Rules(ids) => ids.iter().filter_map(|id| rule_line(policy, *id)).collect(),
        Reason::NothingAllows => vec!["nothing allows it".to_owned()],
        Reason::AlwaysClosed(what) => {
            vec![format!("closed always, whatever a policy says: {}", visible(what))]
        }
        Reason::AlwaysOpen(what) => vec![format!("open always, whatever a policy says: {}", visible(what))],
    };
    lines.extend(
        decision.assumptions.iter().map(|assumed| format!("taken for granted: {}", visible(assumed))),
    );
    lines
}

/// A rule as one line: its place, and the statement.
pub(super) fn rule_line(policy: &Policy, id: RuleId) -> Option<String> {
    let rule = policy.rules.get(id.0 as usize)?;
    let statement = printer::rule(policy, rule).split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("{}: {statement}", printer::place(policy, rule.written)))
}

/// What to write so that the answer changes; `None` where nothing can change it.
pub(crate) fn remedy(
    policy: &Policy,
    action: &str,
    item: Option<&str>,
    decision: &Decision,
) -> Option<String> {
    let item = item.map(|item| format!(" {}", quoted(item))).unwrap_or_default();
    match (&decision.reason, decision.verdict) {
        (Reason::NothingAllows, _) => Some(format!("to allow it, add: allow {action}{item}")),
        (Reason::Rules(_), Verdict::Allowed) => Some(format!("to refuse it, add: deny {action}{item}")),
        (Reason::Rules(ids), Verdict::Denied) => {
            let rules: Vec<_> = ids.iter().filter_map(|id| policy.rules.get(id.0 as usize)).collect();
            if let Some(never) = rules.iter().find(|rule| rule.effect == Effect::Never) {
                return Some(format!(
                    "a `never` holds: only whoever writes {} can change it",
                    printer::place(policy, never.written)
                ));
            }
            let mut changes: Vec<String> = Vec::new();
            for change in rules.iter().map(|rule| lift(policy, rule, &item)) {
                if !changes.contains(&change) {
                    changes.push(change);
                }
            }
            Some(format!("to allow it, {}", changes.join(", and ")))
        }
        (Reason::AlwaysClosed(_) | Reason::AlwaysOpen(_), _) => None,
    }
}

/// How one `deny` lets go of an item.
fn lift(policy: &Policy, rule: &fence_compiler::policy::Rule, item: &str) -> String {
    let place = printer::place(policy, rule.written);
    let source = policy.sources.get(rule.written.source.0 as usize);
    match (source.map(|source| &source.origin), &rule.label) {
        (Some(Origin::BuiltIn(name)), Some(label)) => {
            format!("write in a policy: include {name} without {label} because \"…\"")
        }
        _ => format!("add to the rule at {place}: except{item}"),
    }
}

/// An item as a policy writes it.
fn quoted(item: &str) -> String {
    if item.contains([' ', ',', '"', '{', '}']) || item.is_empty() {
        format!("\"{}\"", visible(item).replace('"', "\\\""))
    } else {
        visible(item)
    }
}
