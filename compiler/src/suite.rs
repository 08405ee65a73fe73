//! The tests inside a policy: run in worlds that they give themselves, never on the machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::AbsolutePath;
use crate::decide::decide;
use crate::diagnostic::{Code, Diagnostic};
use crate::pattern::{Value, Variable};
use crate::policy::{Expectation, ExpectedVerdict, Policy, RuleId, SymbolicQuestion, Test, Written};
use crate::question::{Decision, Platform, Question, Reason, Verdict};
use crate::source::{Origin, SourceId};
use crate::world::{Spelling, World};

/// What became of one line of a test on one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The test's name.
    pub test: String,
    /// The platform of its world.
    pub platform: Platform,
    /// Where the line stands.
    pub written: Written,
    /// What it expects.
    pub expected: ExpectedVerdict,
    /// The question, its variables put in; `None` where that cannot be done.
    pub question: Option<Question>,
    /// The answer; `None` where there is no question.
    pub decision: Option<Decision>,
    /// Whether the expectation holds.
    pub result: Held,
}

/// Whether an expectation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It does.
    Yes,
    /// It does, a `deny` without `by`, but only because nothing allows it.
    OnlyByAbsence,
    /// The verdict is the other one.
    OtherVerdict,
    /// The verdict is right, and no rule with one of these labels is among its reasons.
    NotBy(Vec<String>),
    /// The world or the question cannot be made, for this reason.
    NoWorld(String),
}

/// Runs every test of a policy, each line on each platform of its test.
#[must_use]
pub fn run(policy: &Policy) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for test in &policy.tests {
        for platform in &test.platforms {
            let world = world_of(policy, test, *platform);
            outcomes.extend(
                test.expect.iter().map(|expectation| ask(policy, test, *platform, &world, expectation)),
            );
        }
    }
    outcomes
}

/// The rules that decided no line of any test, in ascending order. Only the texts whose tests these are count: what
/// they include has tests of its own.
#[must_use]
pub fn coverage(policy: &Policy) -> Vec<RuleId> {
    let outcomes = run(policy);
    let mut own: BTreeSet<SourceId> = policy.tests.iter().map(|test| test.written.source).collect();
    own.insert(SourceId(0));
    let decided: BTreeSet<RuleId> =
        outcomes.iter().filter_map(|outcome| outcome.decision.as_ref()).flat_map(rules).copied().collect();
    let rules = (0..).map(RuleId).zip(&policy.rules).filter(|(_, rule)| own.contains(&rule.written.source));
    rules.map(|(id, _)| id).filter(|id| !decided.contains(id)).collect()
}

/// The findings about outcomes: an error for each line that does not hold, a warning for each `deny` that holds
/// only because nothing allows it. A line that fares the same on both platforms is told once.
#[must_use]
pub fn diagnostics(policy: &Policy, outcomes: &[Outcome]) -> Vec<Diagnostic> {
    let mut lines: BTreeMap<Written, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        lines.entry(outcome.written).or_default().push(outcome);
    }
    let mut found = Vec::new();
    for of_line in lines.into_values() {
        let told: Vec<Diagnostic> = of_line.iter().filter_map(|outcome| diagnose(policy, outcome)).collect();
        let same = told.len() == of_line.len() && told.windows(2).all(|pair| pair.first() == pair.last());
        for (mut diagnostic, outcome) in
            told.into_iter().zip(of_line.iter().filter(|o| o.result != Held::Yes))
        {
            if !same {
                diagnostic.message =
                    format!("on {}, {}", platform_name(outcome.platform), diagnostic.message);
            }
            found.push(diagnostic);
            if same {
                break;
            }
        }
    }
    found
}

/// Which platform, as messages say it.
fn platform_name(platform: Platform) -> &'static str {
    match platform {
        Platform::Linux => "linux",
        Platform::MacOs => "macos",
    }
}

fn rules(decision: &Decision) -> &[RuleId] {
    match &decision.reason {
        Reason::Rules(rules) => rules,
        _ => &[],
    }
}

fn ask(
    policy: &Policy,
    test: &Test,
    platform: Platform,
    world: &Result<World, String>,
    expectation: &Expectation,
) -> Outcome {
    let mut outcome = Outcome {
        test: test.name.clone(),
        platform,
        written: expectation.written,
        expected: expectation.verdict,
        question: None,
        decision: None,
        result: Held::Yes,
    };
    let question = world.as_ref().map_err(Clone::clone).and_then(|world| {
        let question = expectation.question.ground(world)?;
        Ok((decide(policy, world, &question), question))
    });
    match question {
        Err(why) => outcome.result = Held::NoWorld(why),
        Ok((decision, question)) => {
            outcome.result = judge(policy, expectation, &decision);
            outcome.question = Some(question);
            outcome.decision = Some(decision);
        }
    }
    outcome
}

fn judge(policy: &Policy, expectation: &Expectation, decision: &Decision) -> Held {
    let expected = match expectation.verdict {
        ExpectedVerdict::Allow => Verdict::Allowed,
        ExpectedVerdict::Deny => Verdict::Denied,
    };
    if decision.verdict != expected {
        return Held::OtherVerdict;
    }
    let labels: BTreeSet<&str> =
        rules(decision).iter().filter_map(|id| policy.rules.get(id.0 as usize)?.label.as_deref()).collect();
    let missing: Vec<String> =
        expectation.by.iter().filter(|label| !labels.contains(label.as_str())).cloned().collect();
    if !missing.is_empty() {
        return Held::NotBy(missing);
    }
    if expected == Verdict::Denied && expectation.by.is_empty() && decision.reason == Reason::NothingAllows {
        return Held::OnlyByAbsence;
    }
    Held::Yes
}

impl SymbolicQuestion {
    /// Puts the values of variables into a question.
    ///
    /// # Errors
    /// The variable without a value, or why the result is no path.
    pub fn ground(&self, world: &World) -> Result<Question, String> {
        match self {
            SymbolicQuestion::Plain(question) => Ok(question.clone()),
            SymbolicQuestion::Path { action, path } => {
                Ok(Question::Path { action: *action, path: path_of(path, &world.variables)? })
            }
        }
    }
}

fn path_of(value: &Value, variables: &BTreeMap<Variable, Vec<u8>>) -> Result<AbsolutePath, String> {
    let bytes = value.bytes(variables).map_err(|variable| {
        format!("`{variable}` has no value here; give it one with `given {variable} = …`")
    })?;
    AbsolutePath::new(&bytes).ok_or_else(|| format!("`{value}` is no absolute path without `..` here"))
}

/// The world of a test: what it gives, over what every test has.
fn world_of(policy: &Policy, test: &Test, platform: Platform) -> Result<World, String> {
    let mut world = World::test_default(platform);
    if let Some(home) = test.variables.get("home").and_then(Value::plain) {
        let work = format!("{}/work", home.trim_end_matches('/'));
        world.variables.insert(Variable::Home, home.as_bytes().to_vec());
        world.variables.insert(Variable::Cwd, work.clone().into_bytes());
        world.variables.insert(Variable::GitRoot, work.into_bytes());
    }
    for (index, source) in policy.sources.iter().enumerate() {
        let directory = match &source.origin {
            Origin::File(_) | Origin::Given(_) => "/home/user/work",
            Origin::User(_) => "/home/user/.config/fence",
            Origin::Machine(_) => "/etc/fence",
            Origin::BuiltIn(_) => continue,
        };
        let id = SourceId(u32::try_from(index).unwrap_or(u32::MAX));
        world.variables.insert(Variable::PolicyDir(id), directory.as_bytes().to_vec());
    }
    give_variables(&mut world, &test.variables)?;
    for (from, to) in &test.links {
        let from = path_of(from, &world.variables)?;
        let to = to.bytes(&world.variables).map_err(|variable| format!("`{variable}` has no value here"))?;
        world.links.insert(from, to);
    }
    world.links = rekeyed(&world)?;
    world.hosts = test.hosts.clone();
    Ok(world)
}

/// Gives variables, each after those that its value names.
fn give_variables(world: &mut World, given: &BTreeMap<String, Value>) -> Result<(), String> {
    let mut waiting: Vec<(Variable, &Value)> = Vec::new();
    for (name, value) in given {
        waiting.push((variable_named(name).ok_or_else(|| format!("no test can give `${name}`"))?, value));
    }
    let root_is_given = waiting.iter().any(|(variable, _)| *variable == Variable::GitRoot);
    while !waiting.is_empty() {
        let names: BTreeSet<Variable> = waiting.iter().map(|(variable, _)| variable.clone()).collect();
        let (ready, blocked): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(_, value)| value.variables().all(|needed| !names.contains(needed)));
        if ready.is_empty() {
            let named: Vec<String> = blocked.iter().map(|(variable, _)| format!("`{variable}`")).collect();
            return Err(format!("the values of {} need one another", named.join(", ")));
        }
        for (variable, value) in ready {
            let bytes =
                value.bytes(&world.variables).map_err(|needed| format!("`{needed}` has no value here"))?;
            world.variables.insert(variable, bytes);
        }
        waiting = blocked;
    }
    let path = |variable: &Variable| world.variables.get(variable).and_then(|value| AbsolutePath::new(value));
    if let (false, Some(cwd), Some(root)) = (root_is_given, path(&Variable::Cwd), path(&Variable::GitRoot))
        && !cwd.is_within(&root)
    {
        world.variables.insert(Variable::GitRoot, cwd.as_bytes().to_vec());
    }
    Ok(())
}

/// The variable that a test gives by this name.
fn variable_named(name: &str) -> Option<Variable> {
    let known = [
        Variable::Cwd,
        Variable::GitRoot,
        Variable::GitCommon,
        Variable::Workspace,
        Variable::Home,
        Variable::Tmp,
        Variable::User,
    ];
    known.into_iter().find(|variable| variable.name() == name).or_else(|| {
        let upper = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        (upper && !name.is_empty()).then(|| Variable::Environment(name.to_owned()))
    })
}

/// The links by where they really stand: a given place may itself lead over another link.
fn rekeyed(world: &World) -> Result<BTreeMap<AbsolutePath, Vec<u8>>, String> {
    let mut links = BTreeMap::new();
    for (from, to) in &world.links {
        let place = match (from.parent(), from.name()) {
            (Some(parent), Some(name)) => {
                let parent = world
                    .resolve(&parent, Spelling::Exact)
                    .map_err(|error| format!("the links above `{from}` lead nowhere: {error}"))?;
                parent.object.join(name)
            }
            _ => return Err("`/` cannot be a link".to_owned()),
        };
        links.insert(place, to.clone());
    }
    Ok(links)
}

fn diagnose(policy: &Policy, outcome: &Outcome) -> Option<Diagnostic> {
    let line = |code, message: String| Diagnostic::new(code, message).at(outcome.written.place());
    let expected = match outcome.expected {
        ExpectedVerdict::Allow => "allowed",
        ExpectedVerdict::Deny => "denied",
    };
    let test = &outcome.test;
    match &outcome.result {
        Held::Yes => None,
        Held::OnlyByAbsence => Some(
            line(
                Code::UnexplainedDeny,
                format!("in test `{test}` this is denied only because nothing allows it"),
            )
            .help("name the rule that denies it with `by LABEL`, or leave the line out"),
        ),
        Held::NoWorld(why) => {
            Some(line(Code::BadWorld, format!("in test `{test}` this cannot be asked: {why}")))
        }
        Held::OtherVerdict | Held::NotBy(_) => {
            let decision = outcome.decision.as_ref()?;
            let found = reason_text(policy, decision);
            let message = match &outcome.result {
                Held::NotBy(labels) => {
                    format!(
                        "test `{test}` expects this {expected} by `{}`, and it is {found}",
                        labels.join("`, `")
                    )
                }
                _ => format!("test `{test}` expects this {expected}, and it is {found}"),
            };
            let mut diagnostic = line(Code::TestFailed, message);
            for rule in rules(decision).iter().filter_map(|id| policy.rules.get(id.0 as usize)) {
                diagnostic = diagnostic.related(rule.written.place(), "this rule decides it");
            }
            Some(diagnostic.help("change the rule, or what the test expects"))
        }
    }
}

/// A decision in a few words: `denied by `secrets``.
fn reason_text(policy: &Policy, decision: &Decision) -> String {
    let verdict = match decision.verdict {
        Verdict::Allowed => "allowed",
        Verdict::Denied => "denied",
    };
    let name = |id: &RuleId| match policy.rules.get(id.0 as usize) {
        Some(rule) => match &rule.label {
            Some(label) => format!("`{label}`"),
            None => format!("the rule in line {}", rule.written.line),
        },
        None => "a rule".to_owned(),
    };
    match &decision.reason {
        Reason::Rules(rules) => {
            format!("{verdict} by {}", rules.iter().map(name).collect::<Vec<_>>().join(", "))
        }
        Reason::NothingAllows => "denied, because nothing allows it".to_owned(),
        Reason::AlwaysClosed(why) | Reason::AlwaysOpen(why) => format!("always {verdict}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{Request, resolve};
    use crate::source::{LoadError, Loader, Reference, Source};

    struct NoFiles;

    impl Loader for NoFiles {
        fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            Err(LoadError::NoDirectory)
        }
    }

    fn policy(text: &str) -> Policy {
        let origin = Origin::Given("a test".into());
        let source = Source { origin, name: "policy.fence".into(), text: text.to_owned() };
        resolve(&Request { mains: vec![source], ..Request::default() }, &NoFiles).policy
    }

    /// The lines of the findings, with their codes and messages.
    fn found(text: &str) -> Vec<(u32, &'static str, String)> {
        let policy = policy(text);
        let line = |diagnostic: &Diagnostic| {
            let start = diagnostic.place.unwrap().span.start as usize;
            u32::try_from(text[..start].matches('\n').count() + 1).unwrap()
        };
        diagnostics(&policy, &run(&policy))
            .iter()
            .map(|d| (line(d), d.code.name(), d.message.clone()))
            .collect()
    }

    const RULES: &str = "allow read write $workspace
never read ~/.ssh as secrets
on macos {
  allow write /m
}
";

    #[test]
    fn a_test_that_holds_is_silent() {
        let text = format!(
            "{RULES}test \"all\" {{
  given $home = /home/ada
  given link $cwd/notes -> /home/ada/.ssh/id
  deny read /home/ada/.ssh/id by secrets
  deny read $cwd/notes by secrets
  allow write /home/ada/work/x
}}
test \"values that need one another\" {{
  given $cwd = $home/a/b
  given $git_root = $home/a
  allow write $home/a/c
}}
test \"a working directory elsewhere\" {{
  given $cwd = /srv/x
  allow read /srv/x/y
}}
test \"one platform\" {{
  given platform = macos
  allow write /m/x
}}
"
        );
        assert_eq!(found(&text), []);
        assert_eq!(run(&policy(&text)).len(), 2 * 3 + 2 + 2 + 1);
    }

    #[test]
    fn what_does_not_hold_is_told_at_its_line() {
        let text = format!(
            "{RULES}test \"wrong\" {{
  allow read ~/.ssh/id
  deny read $cwd/x by secrets
  deny write /etc/passwd
  allow write /m/x
  allow read $DATA/x
}}
"
        );
        let told = found(&text);
        let lines: Vec<(u32, &str)> = told.iter().map(|(line, code, _)| (*line, *code)).collect();
        assert_eq!(lines, [(7, "E0611"), (8, "E0611"), (9, "E0612"), (10, "E0611"), (11, "E0613")]);
        assert_eq!(told[0].2, "test `wrong` expects this allowed, and it is denied by `secrets`");
        assert!(told[3].2.starts_with("on linux, "), "{}", told[3].2);
    }

    #[test]
    fn a_wrong_label_is_told_with_the_right_one() {
        let text = format!("deny read ~/.ssh as other\n{RULES}test \"by\" {{ deny read ~/x by secrets }}\n");
        assert_eq!(found(&text)[0].1, "E0611");
        let both = format!(
            "deny read ~/.ssh as other\n{RULES}test \"by\" {{ deny read ~/.ssh by secrets, other }}\n"
        );
        assert_eq!(found(&both), []);
    }

    #[test]
    fn values_in_a_circle_are_told() {
        let text = format!(
            "{RULES}test \"circle\" {{
  given $cwd = $git_root/a
  given $git_root = $cwd/b
  allow read $cwd
}}
"
        );
        assert_eq!(found(&text).iter().map(|found| found.1).collect::<Vec<_>>(), ["E0613"]);
    }

    #[test]
    fn coverage_names_the_rules_that_decided_nothing() {
        let text = format!("{RULES}allow read /unused\ntest \"some\" {{ deny read ~/.ssh by secrets }}\n");
        let policy = policy(&text);
        let lines: Vec<u32> =
            coverage(&policy).iter().map(|id| policy.rules[id.0 as usize].written.line).collect();
        assert_eq!(lines, [1, 4, 6]);
    }
}
