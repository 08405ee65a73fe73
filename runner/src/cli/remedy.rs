//! Why an answer is what it is, and the line that would change it.

use std::collections::BTreeSet;

use fence_compiler::policy::{Effect, IncludeRecord, Policy, Rule, RuleId};
use fence_compiler::question::{Decision, Reason, Verdict};
use fence_compiler::source::{Origin, SourceId};

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
fn lift(policy: &Policy, rule: &Rule, item: &str) -> String {
    let place = printer::place(policy, rule.written);
    let (Some(_), Some(label)) = (built_in(policy, rule.written.source), &rule.label) else {
        return format!("add to the rule at {place}: except{item}");
    };
    let ways: BTreeSet<String> = ways(policy, rule.written.source, label)
        .into_iter()
        .map(|Way { writer, include }| {
            let writer = writer.map_or("a policy".to_owned(), visible);
            format!("write in {writer}: include {include} without {label} because \"…\"")
        })
        .collect();
    Vec::from_iter(ways).join(", and ")
}

/// An `include` of a built-in policy that a rule comes in by, and the text that has it; none where the built-in policy
/// itself was asked for.
struct Way<'a> {
    writer: Option<&'a str>,
    include: &'a str,
}

/// Every way that a rule of a built-in policy comes in by, as far as it is written by somebody who can change it.
fn ways<'a>(policy: &'a Policy, rule: SourceId, label: &str) -> Vec<Way<'a>> {
    let mut ways = Vec::new();
    for text in reached(policy, &policy.mains, label) {
        if let Some(include) = built_in(policy, text) {
            if policy.mains.contains(&text) && reached(policy, &[text], label).contains(&rule) {
                ways.push(Way { writer: None, include });
            }
            continue;
        }
        let Some(record) = policy.sources.get(text.0 as usize) else { continue };
        for edge in record.includes.iter().filter(|edge| !leaves_out(edge, label)) {
            if let Some(include) = built_in(policy, edge.source)
                && reached(policy, &[edge.source], label).contains(&rule)
            {
                ways.push(Way { writer: Some(&record.name), include });
            }
        }
    }
    ways
}

/// The texts that these include without leaving a label out, themselves too.
fn reached(policy: &Policy, from: &[SourceId], label: &str) -> BTreeSet<SourceId> {
    let mut reached: BTreeSet<SourceId> = from.iter().copied().collect();
    let mut todo: Vec<SourceId> = from.to_vec();
    while let Some(text) = todo.pop() {
        let includes =
            policy.sources.get(text.0 as usize).map(|record| &record.includes).into_iter().flatten();
        for edge in includes.filter(|edge| !leaves_out(edge, label)) {
            if reached.insert(edge.source) {
                todo.push(edge.source);
            }
        }
    }
    reached
}

fn leaves_out(edge: &IncludeRecord, label: &str) -> bool {
    edge.without.iter().any(|left_out| left_out == label)
}

/// The name of a text that comes with fence.
fn built_in(policy: &Policy, text: SourceId) -> Option<&str> {
    match &policy.sources.get(text.0 as usize)?.origin {
        Origin::BuiltIn(name) => Some(name),
        _ => None,
    }
}

/// An item as a policy writes it.
pub(super) fn quoted(item: &str) -> String {
    if item.contains([' ', ',', '"', '{', '}']) || item.is_empty() {
        format!("\"{}\"", visible(item).replace('"', "\\\""))
    } else {
        visible(item)
    }
}
