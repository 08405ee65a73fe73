//! Why an answer is what it is, and the line that would change it.

use std::collections::BTreeSet;

use fence_compiler::policy::{Effect, IncludeRecord, Policy, Rule, RuleId};
use fence_compiler::question::{Decision, Reason, Verdict};
use fence_compiler::source::{Origin, SourceId};

use crate::audit::{Event, EventSource, Told, visible};
use crate::preflight::Refusal;
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

/// A refusal before a start, for a person, and what would allow it.
pub(crate) fn told(policy: &Policy, refusal: &Refusal) -> (String, Option<String>) {
    let Refusal { action, item, decision } = refusal;
    let remedy = remedy(policy, action, Some(item), decision);
    let mut text = format!("the policy refuses `{action} {}`", visible(item));
    for line in reasons(policy, decision).iter().chain(&remedy) {
        text.push_str(&format!("\n  {line}"));
    }
    (text, remedy)
}

/// The same, with its event.
pub(super) fn refused(policy: &Policy, refusal: &Refusal) -> (String, Told) {
    let Refusal { action, item, decision } = refusal;
    let (text, remedy) = told(policy, refusal);
    let source = EventSource::Preflight;
    let event = Event::decided(source, action, item.clone(), decision.verdict, &decision.reason, policy);
    (text, Told { event, remedy })
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
    match (&decision.reason, decision.verdict) {
        (Reason::NothingAllows, _) => Some(format!("to allow it, add{}", statement("allow", action, item))),
        (Reason::Rules(_), Verdict::Allowed) => {
            Some(format!("to refuse it, add{}", statement("deny", action, item)))
        }
        (Reason::Rules(ids), Verdict::Denied) => {
            let rules: Vec<_> = ids.iter().filter_map(|id| policy.rules.get(id.0 as usize)).collect();
            if let Some(never) = rules.iter().find(|rule| rule.effect == Effect::Never) {
                return Some(format!(
                    "a `never` holds: only whoever writes {} can change it",
                    printer::place(policy, never.written)
                ));
            }
            let mut changes: Vec<String> = Vec::new();
            for change in rules.iter().map(|rule| lift(policy, rule, item)) {
                if !changes.contains(&change) {
                    changes.push(change);
                }
            }
            Some(format!("to allow it, {}", changes.join(", and ")))
        }
        (Reason::AlwaysClosed(_) | Reason::AlwaysOpen(_), _) => None,
    }
}

/// `: allow read ITEM`, or what to write where the item cannot stand in a policy as it is.
pub(super) fn statement(effect: &str, action: &str, item: Option<&str>) -> String {
    match item.map(quoted) {
        None => format!(": {effect} {action}"),
        Some(Some(item)) => format!(": {effect} {action} {item}"),
        Some(None) => format!(" an `{effect} {action}` that matches it ({AS_A_PATTERN})"),
    }
}

/// Why an item is not put into a line that somebody may copy: it would stand for more than itself.
const AS_A_PATTERN: &str = "as it is, it would be read as a pattern";

/// How one `deny` lets go of an item.
fn lift(policy: &Policy, rule: &Rule, item: Option<&str>) -> String {
    let place = printer::place(policy, rule.written);
    let (Some(_), Some(label)) = (built_in(policy, rule.written.source), &rule.label) else {
        return match item.map(quoted) {
            None => format!("take it out of the rule at {place}"),
            Some(Some(item)) => format!("add to the rule at {place}: except {item}"),
            Some(None) => format!("add to the rule at {place} an `except` that matches it ({AS_A_PATTERN})"),
        };
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

/// The longest item that is repeated as a line to write, characters.
const LONGEST: usize = 200;

/// An item as a policy writes it; `None` where a policy would read some of it as something else.
fn quoted(item: &str) -> Option<String> {
    let read_otherwise =
        |c: char| "*?[]{}$\\…".contains(c) || visible(c.encode_utf8(&mut [0; 4])).len() > c.len_utf8();
    let word_read_otherwise = |word: &str| word == "..." || word.starts_with('~');
    if item.chars().count() > LONGEST
        || item.contains(read_otherwise)
        || item.split(' ').any(word_read_otherwise)
    {
        return None;
    }
    let plain = |c: char| c.is_alphanumeric() || "._/:@+-=%".contains(c);
    if !item.is_empty() && item.chars().all(plain) {
        return Some(item.to_owned());
    }
    Some(format!("\"{}\"", item.replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn what_would_stand_for_more_than_itself_is_not_handed_out() {
        for item in [
            "* -l ...",
            "ls -l ...",
            "GET h.example:80/x/*",
            "a?",
            "[a",
            "{a",
            "'$HOME'",
            r"a\",
            "~/x",
            "rm ~",
        ] {
            assert_eq!(quoted(item), None, "{item}");
        }
        assert_eq!(quoted(&"x".repeat(300)), None);
        assert_eq!(quoted("a\u{202e}b"), None);
    }

    #[test]
    fn everything_else_is_written_as_a_policy_writes_it() {
        for (item, written) in [
            ("/a/b.c", "/a/b.c"),
            ("host.example:443", "host.example:443"),
            ("ls -l", "\"ls -l\""),
            ("echo 'a b'", "\"echo 'a b'\""),
            ("say \"x\"", "\"say \\\"x\\\"\""),
            ("/a,b", "\"/a,b\""),
            ("/a#b", "\"/a#b\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(item).as_deref(), Some(written));
        }
    }
}
