//! What enforcement the author of a policy accepts, and what is an error without that.
//!
//! What a target leaves open for every policy is accepted by whoever chooses that target, and by nobody else.

use super::report::Report;
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::{Enforcement, Level};
use crate::policy::{Acceptance, Effect, Limit, Policy, Rule, Subject, Written};
use crate::source::Origin;

/// A rule that would be enforced more weakly than its author accepts.
pub(super) enum Unaccepted {
    /// It is refused.
    Refused(Diagnostic),
    /// It is refused unless a person chooses the target.
    LeftToAPerson(Diagnostic),
}

/// Refuses a rule that would be enforced more weakly than its author accepts.
pub(super) fn of_rule(
    policy: &Policy,
    rule: &Rule,
    report: &Report,
    told: &Enforcement,
) -> Option<Unaccepted> {
    let found = finding_of(policy, rule, report, told)?;
    Some(if report.is_weaker_beyond_target() {
        Unaccepted::Refused(found)
    } else {
        Unaccepted::LeftToAPerson(found)
    })
}

fn finding_of(policy: &Policy, rule: &Rule, report: &Report, told: &Enforcement) -> Option<Diagnostic> {
    if told.level != Level::Weaker {
        return None;
    }
    let best_effort = matches!(rule.acceptance, Acceptance::BestEffort | Acceptance::BestEffortCheaply);
    let cheaply = matches!(rule.acceptance, Acceptance::Cheaply | Acceptance::BestEffortCheaply);
    if rule.effect == Effect::Deny && (best_effort || cheaply && !report.is_weaker_beyond_patterns()) {
        return None;
    }
    let found = finding(rule.written, &told.why);
    let is_path = matches!(rule.subject, Subject::Path { .. });
    Some(match rule.effect {
        Effect::Allow if matches!(rule.subject, Subject::Run { .. }) => found
            .help("write `allow run *` for any command, and what must not run as `deny run … best-effort`"),
        Effect::Allow => found.help("narrow the rule, or say what it must not open with a `deny … best-effort`"),
        Effect::Never if !is_path => {
            found.help("a `never` cannot be `best-effort`: write it as `deny … best-effort`")
        }
        Effect::Never => found
            .help("a `never` cannot be `best-effort`: let nothing be written there, or write it as `deny … best-effort`"),
        Effect::Deny if !is_path => {
            accepting(found, policy, rule.written, ("best-effort", ACCEPTED))
        }
        Effect::Deny if cheaply || report.is_weaker_beyond_patterns() => {
            accepting(found, policy, rule.written, ("best-effort", NARROWED))
        }
        Effect::Deny => accepting(found, policy, rule.written, ("cheaply", NARROWED)),
    })
}

/// The same for a limit.
pub(super) fn of_limit(policy: &Policy, limit: &Limit, told: &Enforcement) -> Option<Diagnostic> {
    if told.level != Level::Weaker
        || matches!(limit.acceptance, Acceptance::BestEffort | Acceptance::BestEffortCheaply)
    {
        return None;
    }
    Some(accepting(finding(limit.written, &told.why), policy, limit.written, ("best-effort", ACCEPTED)))
}

fn finding(written: Written, why: &[String]) -> Diagnostic {
    let reason = why.first().map_or("nothing enforces it", String::as_str);
    let found =
        Diagnostic::new(Code::WeakerThanWritten, format!("this would not be enforced as written: {reason}"))
            .at(written.place());
    why.iter().skip(1).fold(found, |found, more| found.help(format!("also: {more}")))
}

/// What a clause does.
const ACCEPTED: &str = "to accept what this version can do";

/// The same, and what else helps where a rule is about paths.
const NARROWED: &str = "to accept what this version can do, or narrow what is allowed there";

/// Offers the clause that accepts it; as a change of the text where the text is in the language itself.
fn accepting(
    found: Diagnostic,
    policy: &Policy,
    written: Written,
    (clause, why): (&str, &str),
) -> Diagnostic {
    let found = found.help(format!("add `{clause}` {why}"));
    let source = policy.sources.get(written.source.0 as usize);
    let in_language = source.is_some_and(|source| match &source.origin {
        Origin::Given(_) | Origin::BuiltIn(_) => true,
        Origin::File(path) | Origin::User(path) | Origin::Machine(path) => {
            path.as_bytes().ends_with(b".fence")
        }
    });
    if !in_language {
        return found;
    }
    let mut end = written.place();
    end.span.start = end.span.end;
    found.repair(end, format!(" {clause}"))
}
