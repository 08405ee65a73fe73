//! `fence check` and `fence test`

use std::collections::BTreeMap;
use std::ffi::OsString;

use fence_compiler::diagnostic::{Diagnostic, Severity, render};
use fence_compiler::fidelity::{Enforcement, Level};
use fence_compiler::host::Host;
use fence_compiler::pattern::Variable;
use fence_compiler::policy::Policy;
use fence_compiler::suite::{self, Held, Outcome};
use serde_json::{Value, json};

use super::arguments::{Check, Format, Test};
use super::own::lower;
use super::policy::{Loaded, has_errors, load, refuse_home_in_tmp, refuse_wide_workspace};
use super::screen::{Screen, Verbosity};
use super::{fidelity, json};
use crate::audit::visible;
use crate::host::ProbedFiles;
use crate::printer;

/// Says what is wrong with policies, and how faithfully this machine enforces them.
pub(super) fn check(arguments: &Check, screen: Screen) -> anyhow::Result<u8> {
    let sets: Vec<Vec<OsString>> = if arguments.policies.is_empty() {
        vec![Vec::new()]
    } else {
        arguments.policies.iter().map(|policy| vec![policy.clone()]).collect()
    };
    let mut finding = 0;
    let mut answers = Vec::new();
    let mut changes = arguments.changes.clone();
    for policies in sets {
        let loaded = load(&policies, &changes)?;
        changes.directory = None;
        let checked = Checked::of(loaded);
        finding |= u8::from(has_errors(&checked.diagnostics) || checked.refused.is_some());
        match arguments.format {
            Format::Text => screen.print(&checked.text(screen))?,
            Format::Json => answers.push(checked.json()),
        }
    }
    if arguments.format == Format::Json {
        json::print(screen, &json!({ "version": json::VERSION, "policies": answers }))?;
    }
    Ok(finding)
}

/// A policy with everything that can be said of it here.
struct Checked {
    loaded: Loaded,
    host: Host,
    diagnostics: Vec<Diagnostic>,
    outcomes: Vec<Outcome>,
    fidelity: Vec<Enforcement>,
    /// Why it would not run in this place, whatever it says.
    refused: Option<String>,
}

impl Checked {
    fn of(loaded: Loaded) -> Checked {
        let host = loaded.host(Vec::new());
        let policy = &loaded.resolved.policy;
        let mut diagnostics = loaded.resolved.diagnostics.clone();
        let mut outcomes = Vec::new();
        let mut fidelity = Vec::new();
        let mut refused = None;
        // What follows from a policy that is not what its author wrote would only mislead.
        if !loaded.has_errors() {
            let alone = loaded.resolved.alone();
            outcomes = suite::run(&alone);
            diagnostics.extend(suite::diagnostics(&alone, &outcomes));
            refused = refuse_wide_workspace(&loaded.place, policy).err().map(|error| error.to_string());
            if refused.is_none() {
                let lowered = lower(policy, &host, &mut ProbedFiles);
                refused = refuse_home_in_tmp(&loaded.place, policy, &lowered.diagnostics)
                    .err()
                    .map(|error| error.to_string());
                if refused.is_none() {
                    diagnostics.extend(lowered.diagnostics);
                }
                fidelity = lowered.fidelity;
            }
        }
        Checked { host, diagnostics, outcomes, fidelity, refused, loaded }
    }

    fn name(&self) -> String {
        let sources = &self.loaded.resolved.policy.sources;
        sources.first().map_or("?".into(), |source| visible(&source.name))
    }

    fn text(&self, screen: Screen) -> String {
        let policy = &self.loaded.resolved.policy;
        let mut text = render::text(&self.diagnostics, &self.loaded.resolved.sources, screen.out);
        if !text.is_empty() && !text.ends_with("\n\n") {
            text.push('\n');
        }
        let errors = self.diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
        text.push_str(&format!("{} ({}): ", self.name(), self.loaded.how.told()));
        text.push_str(&match errors {
            0 => "valid\n".to_owned(),
            1 => "1 error\n".to_owned(),
            _ => format!("{errors} errors\n"),
        });
        if self.loaded.has_errors() {
            return text;
        }
        text.push_str(&self.values());
        for changed in &policy.changed {
            text.push_str(&format!("  --set: ${} is {}\n", visible(&changed.name), visible(&changed.value)));
        }
        let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
        for rule in &policy.left_out {
            let place = printer::place(policy, rule.written);
            let (label, because) = (visible(&rule.label), visible(&rule.because));
            *left_out.entry(format!("`{label}` at {place}, because \"{because}\"")).or_default() += 1;
        }
        for (what, rules) in left_out {
            let rules = if rules == 1 { "1 rule".to_owned() } else { format!("{rules} rules") };
            text.push_str(&format!("  left out: {rules} with {what}\n"));
        }
        let only: Vec<_> = policy.rules.iter().filter_map(|rule| rule.platform).collect();
        for platform in [fence_compiler::question::Platform::Linux, fence_compiler::question::Platform::MacOs]
        {
            let rules = only.iter().filter(|of| **of == platform).count();
            if rules > 0 {
                let hold = if rules == 1 { "rule holds" } else { "rules hold" };
                text.push_str(&format!("  {rules} {hold} on {} only\n", printer::platform_name(platform)));
            }
        }
        text.push_str(&format!("  {}\n", tests_told(&self.outcomes)));
        match &self.refused {
            Some(why) => text.push_str(&format!("  would not run here: {}\n", visible(why))),
            None => text.push_str(&self.enforcement(screen)),
        }
        text
    }

    /// The values that variables have here.
    fn values(&self) -> String {
        let values: BTreeMap<Variable, Vec<u8>> =
            fence_compiler::lower::values::of(&self.host, &self.loaded.resolved.policy);
        values
            .iter()
            .filter(|(variable, _)| !matches!(variable, Variable::PolicyDir(_) | Variable::Environment(_)))
            .map(|(variable, value)| format!("  {variable} is {}\n", fence_compiler::bytes::escape(value)))
            .collect()
    }

    fn enforcement(&self, screen: Screen) -> String {
        let count = |level| self.fidelity.iter().filter(|enforcement| enforcement.level == level).count();
        let mut text = format!(
            "  enforced here: {} exactly, {} more strictly, {} less strictly than written\n",
            count(Level::Exact),
            count(Level::Stricter),
            count(Level::Weaker)
        );
        for enforcement in &self.fidelity {
            let worth_telling = match screen.verbosity {
                Verbosity::Quiet => false,
                Verbosity::Normal => enforcement.level == Level::Weaker,
                Verbosity::Verbose => true,
            };
            if worth_telling {
                let line = fidelity::line(&self.loaded.resolved.policy, enforcement);
                text.push_str(&format!("    {}\n", line.replace('\n', "\n    ")));
            }
        }
        text
    }

    fn json(&self) -> Value {
        let policy = &self.loaded.resolved.policy;
        let rendered = render::json(&self.diagnostics, &self.loaded.resolved.sources);
        let fidelity: Vec<Value> = self
            .fidelity
            .iter()
            .map(|enforcement| {
                let (place, statement) = fidelity::what(policy, enforcement.what);
                json!({
                    "place": place,
                    "statement": statement,
                    "level": enforcement.level,
                    "by": enforcement.by,
                    "why": enforcement.why,
                    "notes": enforcement.notes,
                })
            })
            .collect();
        json!({
            "policy": policy.sources.first().map(|source| source.name.clone()),
            "diagnostics": rendered.get("diagnostics"),
            "tests": self.outcomes.iter().map(|outcome| outcome_json(policy, outcome)).collect::<Vec<_>>(),
            "fidelity": fidelity,
            "left_out": policy.left_out,
            "refused": self.refused,
        })
    }
}

/// Runs the tests of a policy.
pub(super) fn test(arguments: &Test, screen: Screen) -> anyhow::Result<u8> {
    let policies: Vec<OsString> = arguments.policy.iter().cloned().collect();
    let loaded = load(&policies, &arguments.changes)?;
    let policy = &loaded.resolved.alone();
    let sources = &loaded.resolved.sources;
    if loaded.has_errors() {
        screen.tell(&render::text(&loaded.resolved.diagnostics, sources, screen.err));
        return Ok(super::UNABLE);
    }
    let outcomes = suite::run(policy);
    let diagnostics = suite::diagnostics(policy, &outcomes);
    let uncovered = if arguments.coverage { suite::coverage(policy) } else { Vec::new() };
    match arguments.format {
        Format::Text => {
            let mut text = render::text(&diagnostics, sources, screen.out);
            text.push_str(&format!("{}\n", tests_told(&outcomes)));
            if arguments.coverage {
                text.push_str(&format!(
                    "{} of {} rules decided a line\n",
                    policy.rules.len() - uncovered.len(),
                    policy.rules.len()
                ));
            }
            for rule in uncovered.iter().filter_map(|id| policy.rules.get(id.0 as usize)) {
                let statement = printer::rule(policy, rule).split_whitespace().collect::<Vec<_>>().join(" ");
                text.push_str(&format!(
                    "  no test decided by {}: {statement}\n",
                    printer::place(policy, rule.written)
                ));
            }
            screen.print(&text)?;
        }
        Format::Json => {
            let uncovered: Vec<Value> = uncovered.iter().map(|id| json::rule(policy, *id)).collect();
            let tests: Vec<Value> = outcomes.iter().map(|outcome| outcome_json(policy, outcome)).collect();
            let mut answer = json!({
                "version": json::VERSION,
                "tests": tests,
                "diagnostics": render::json(&diagnostics, sources).get("diagnostics"),
            });
            if let (true, Some(answer)) = (arguments.coverage, answer.as_object_mut()) {
                answer.insert("undecided".to_owned(), Value::Array(uncovered));
            }
            json::print(screen, &answer)?;
        }
    }
    Ok(u8::from(has_errors(&diagnostics)))
}

/// How many lines of tests hold.
fn tests_told(outcomes: &[Outcome]) -> String {
    let holds = |outcome: &&Outcome| matches!(outcome.result, Held::Yes | Held::OnlyByAbsence);
    let held = outcomes.iter().filter(holds).count();
    match outcomes.len() {
        0 => "no tests".to_owned(),
        1 if held == 1 => "the one line of its tests holds".to_owned(),
        all if all == held => format!("all {all} lines of its tests hold"),
        all => format!("{} of {all} lines of its tests do not hold", all - held),
    }
}

fn outcome_json(policy: &Policy, outcome: &Outcome) -> Value {
    let (held, detail) = match &outcome.result {
        Held::Yes => (true, None),
        Held::OnlyByAbsence => (true, Some("only because nothing allows it".to_owned())),
        Held::OtherVerdict => (false, Some("the answer is the other one".to_owned())),
        Held::NotBy(labels) => (false, Some(format!("not by {}", labels.join(", ")))),
        Held::NoWorld(why) => (false, Some(why.clone())),
    };
    json!({
        "test": outcome.test,
        "platform": outcome.platform,
        "place": printer::place(policy, outcome.written),
        "expected": outcome.expected,
        "holds": held,
        "detail": detail,
    })
}
