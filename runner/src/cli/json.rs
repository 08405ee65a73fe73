//! Answers for programs: each carries the version of its form.

use fence_compiler::policy::{Policy, RuleId};
use serde_json::{Value, json};

use super::screen::Screen;
use crate::audit::{EventRule, visible_json};
use crate::printer;

/// The version of every answer's form.
pub(super) const VERSION: u32 = 1;

/// Prints an answer.
pub(super) fn print(screen: Screen, answer: &Value) -> anyhow::Result<()> {
    let mut text = String::new();
    for line in serde_json::to_string_pretty(answer)?.lines() {
        text.push_str(&visible_json(line));
        text.push('\n');
    }
    Ok(screen.print(&text)?)
}

/// A rule: its place, label, reason and text.
pub(super) fn rule(policy: &Policy, id: RuleId) -> Value {
    let told = EventRule::of(policy, id);
    let statement = policy.rules.get(id.0 as usize).map(|rule| printer::rule(policy, rule));
    match told {
        Some(told) => json!({
            "file": told.file,
            "line": told.line,
            "label": told.label,
            "because": told.because,
            "statement": statement,
        }),
        None => Value::Null,
    }
}
