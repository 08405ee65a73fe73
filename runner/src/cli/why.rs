//! `fence why`

use std::ffi::{OsStr, OsString};
use std::path::{Component, PathBuf};

use anyhow::{Context, anyhow, bail};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::diagnostic::render;
use fence_compiler::host::Host;
use fence_compiler::pattern::{BuiltInScope, PathPattern};
use fence_compiler::policy::{Effect, Item, PathAction, Policy, RuleId, Subject, SymbolicQuestion};
use fence_compiler::question::{Decision, Platform, Question, Reason, Verdict};
use fence_compiler::source::SourceId;
use fence_compiler::world::World;
use fence_grammar::tree::Action;
use serde_json::json;

use super::arguments::{Format, Why};
use super::json;
use super::policy::load;
use super::remedy::{reasons, remedy, rule_line, statement};
use super::screen::{Screen, paint};
use crate::audit::{self, LastRefusal, visible};
use crate::preflight::{Invocation, Lookup, Ways, Word, look_up, unwrapped, world};

/// Answers one question, with its reasons and with what would change the answer.
pub(super) fn why(arguments: &Why, screen: Screen) -> anyhow::Result<u8> {
    let Some(word) = &arguments.action else { return last(arguments.format, screen) };
    let action = action(word)?;
    let loaded = load(&arguments.chosen.policy, &arguments.chosen.changes)?;
    if loaded.has_errors() {
        screen.tell(&render::text(&loaded.resolved.diagnostics, &loaded.resolved.sources, screen.err));
        return Ok(super::UNABLE);
    }
    let policy = &loaded.resolved.policy;
    let host = loaded.host(Vec::new());
    let item = item(action, &arguments.item, &host)?;
    let Answered { item, decision, lifted } = answered(policy, &host, action, item.as_deref())?;
    let whole = match (action, &item, decision.verdict) {
        (Action::Write, Some(item), Verdict::Allowed) => closed_beneath(policy, &host, item),
        _ => Vec::new(),
    };
    let answer = Answer { action, item: item.as_deref(), decision: &decision, lifted, whole: &whole };
    match arguments.format {
        Format::Text => tell(policy, &answer, screen)?,
        Format::Json => json::print(screen, &as_json(policy, &answer))?,
    }
    Ok(u8::from(decision.verdict == Verdict::Denied))
}

/// Explains the refusal that came last.
fn last(format: Format, screen: Screen) -> anyhow::Result<u8> {
    let person = crate::host::person()?;
    let Some(refusal) = audit::last(&person.home, person.uid).context("cannot tell the last refusal")? else {
        screen.say("no refusal has been kept yet; what the kernel refuses is not seen by fence: fence why ACTION ITEM");
        return Ok(super::UNABLE);
    };
    match format {
        Format::Json => json::print(screen, &json!({ "version": json::VERSION, "last": refusal }))?,
        Format::Text => {
            let LastRefusal { time, policy, action, item, rules, reason, remedy, .. } = &refusal;
            let denied = paint(screen.out, "denied", "31;1");
            let mut text = format!("{denied}: {} {}\n", visible(action), visible(item));
            text.push_str(&format!("  at {time}, under {}\n", visible(policy)));
            rules.iter().for_each(|rule| text.push_str(&format!("  {}\n", rule.told())));
            for line in reason.iter().chain(remedy) {
                text.push_str(&format!("  {}\n", visible(line)));
            }
            screen.print(&text)?;
        }
    }
    Ok(1)
}

/// The most rules that are told of what lies beneath a path.
const LONGEST: usize = 6;

/// What is told.
struct Answer<'a> {
    action: Action,
    item: Option<&'a str>,
    decision: &'a Decision,
    lifted: Lifted,
    /// The rules by which a directory that may be written may not be moved or removed as a whole.
    whole: &'a [RuleId],
}

impl Answer<'_> {
    /// What would change the answer, all of it.
    fn remedy(&self, policy: &Policy) -> Option<String> {
        let changed = remedy(policy, self.action.word(), self.item, self.decision)?;
        let is_never =
            |id: &RuleId| policy.rules.get(id.0 as usize).is_some_and(|rule| rule.effect == Effect::Never);
        match &self.decision.reason {
            Reason::Rules(ids) if self.lifted == Lifted::AllowedByNothing && !ids.iter().any(is_never) => {
                let allow = statement("allow", self.action.word(), self.item);
                Some(format!("{changed}, and add{allow}"))
            }
            _ => Some(changed),
        }
    }
}

/// The rules that close writing of something written out beneath a path: moving or removing the path asks them too.
fn closed_beneath(policy: &Policy, host: &Host, item: &str) -> Vec<RuleId> {
    let Some(path) = AbsolutePath::new(item.as_bytes()) else { return Vec::new() };
    let values = world(host, policy, &[], Ways::Programs).variables;
    let beneath = |item: &Item<PathPattern>| {
        item.pattern
            .ground(&values)
            .is_ok_and(|ground| ground.prefix != path && ground.prefix.is_within(&path))
    };
    (0..)
        .map(RuleId)
        .zip(&policy.rules)
        .filter(|(_, rule)| rule.effect != Effect::Allow && rule.platform != Some(Platform::MacOs))
        .filter(|(_, rule)| match &rule.subject {
            Subject::Path { actions, items, .. } => {
                actions.contains(&PathAction::Write) && items.iter().any(beneath)
            }
            _ => false,
        })
        .map(|(id, _)| id)
        .collect()
}

/// What else must be allowed for an action to lead anywhere.
fn needed_beside(action: Action) -> Option<&'static str> {
    match action {
        Action::Ssh => Some("an `ssh` inside reaches a host only where a `connect` rule allows its port"),
        _ => None,
    }
}

fn action(word: &str) -> anyhow::Result<Action> {
    Action::from_word(word).ok_or_else(|| {
        let near = Action::ALL
            .iter()
            .map(|action| (strsim::damerau_levenshtein(word, action.word()), action.word()))
            .filter(|(distance, _)| *distance <= 2)
            .min();
        let known = Action::ALL.iter().map(|action| action.word()).collect::<Vec<_>>().join(", ");
        let word = visible(word);
        match near {
            Some((_, near)) => anyhow!("there is no action `{word}`; did you mean `{near}`"),
            None => anyhow!("there is no action `{word}`; there are {known}"),
        }
    })
}

/// The item as a policy writes it: a path made absolute, a command's words put together.
fn item(action: Action, words: &[OsString], host: &Host) -> anyhow::Result<Option<String>> {
    let text = |word: &OsString| {
        word.to_str().map(str::to_owned).ok_or_else(|| {
            anyhow!("`{}` is not text, and no policy can name it", visible(&word.to_string_lossy()))
        })
    };
    match (action, words) {
        (Action::Tty, []) => Ok(None),
        (Action::Tty, _) => bail!("`tty` is about nothing further: fence why tty"),
        (_, []) => bail!("say what it is about: fence why {} ITEM", action.word()),
        (Action::Read | Action::Write | Action::Exec | Action::Socket | Action::Device, [path]) => {
            Ok(Some(path_item(&text(path)?, host)))
        }
        (_, [word]) => text(word).map(Some),
        (Action::Run | Action::Ssh | Action::Http, words) => {
            let words = words.iter().map(text).collect::<anyhow::Result<Vec<_>>>()?;
            Ok(Some(words.iter().map(|word| grouped(word)).collect::<Vec<_>>().join(" ")))
        }
        _ => bail!("one item at a time: fence why {} ITEM", action.word()),
    }
}

/// A path of a command line as one of a policy: `~` and variables stay, the rest counts from the current directory.
fn path_item(path: &str, host: &Host) -> String {
    if path.starts_with('$') || path == "~" || path.starts_with("~/") {
        return path.to_owned();
    }
    let cwd = PathBuf::from(host.cwd.to_string());
    let mut absolute = PathBuf::new();
    for component in cwd.join(path).components() {
        match component {
            Component::ParentDir => {
                absolute.pop();
            }
            Component::CurDir => {}
            other => absolute.push(other),
        }
    }
    // A literal wildcard is written as a class in a policy, and a dollar twice.
    absolute
        .to_string_lossy()
        .chars()
        .map(|c| match c {
            '*' | '?' | '[' | '{' => format!("[{c}]"),
            '$' => "$$".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

/// A word of a command, grouped where it holds blanks.
fn grouped(word: &str) -> String {
    let plain = !word.is_empty() && !word.contains([' ', '\t', '\'']);
    if plain { word.to_owned() } else { format!("'{word}'") }
}

/// An answer, and the item as it was understood.
struct Answered {
    item: Option<String>,
    decision: Decision,
    lifted: Lifted,
}

/// What a refusal would come to if the rules that made it let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifted {
    /// It would be allowed, or nobody asked.
    Enough,
    /// Nothing would allow it still.
    AllowedByNothing,
}

impl Lifted {
    /// Decides once more without the rules that refused.
    fn of(policy: &Policy, world: &World, question: &Question, decision: &Decision) -> Lifted {
        let (Verdict::Denied, Reason::Rules(ids)) = (decision.verdict, &decision.reason) else {
            return Lifted::Enough;
        };
        let mut without = policy.clone();
        let mut id = 0..;
        without.rules.retain(|_| id.next().is_none_or(|id| !ids.contains(&RuleId(id))));
        match decide(&without, world, question).reason {
            Reason::NothingAllows => Lifted::AllowedByNothing,
            _ => Lifted::Enough,
        }
    }
}

/// Decides; of a command, also what its wrappers start: the first that is refused is the answer.
fn answered(policy: &Policy, host: &Host, action: Action, item: Option<&str>) -> anyhow::Result<Answered> {
    let scope = BuiltInScope { source: SourceId(0) };
    let question = SymbolicQuestion::parse(action, item, &scope).map_err(|error| {
        let help = error.help.first().map(|help| format!("; {help}")).unwrap_or_default();
        anyhow!("{}{help}", error.message)
    })?;
    let question =
        question.ground(&world(host, policy, &[], Ways::Programs)).map_err(|error| anyhow!(error))?;
    let Question::Run(start) = &question else {
        let path = match &question {
            Question::Path { path, .. } => Some(path.clone()),
            _ => None,
        };
        let world = world(host, policy, &path.iter().collect::<Vec<_>>(), Ways::Everything);
        let item = path.map(|path| path.to_string()).or_else(|| item.map(str::to_owned));
        let decision = decide(policy, &world, &question);
        let lifted = Lifted::of(policy, &world, &question, &decision);
        return Ok(Answered { item, decision, lifted });
    };
    let words = start.argv.iter().cloned().map(Word::Known).collect();
    let mut first = None;
    for invocation in unwrapped(Invocation { words }) {
        let argv: Vec<String> = invocation.words.iter().map(|word| word.text().to_owned()).collect();
        let decision = decide_start(policy, host, &argv);
        let shown = argv.iter().map(|word| grouped(word)).collect::<Vec<_>>().join(" ");
        if decision.verdict == Verdict::Denied {
            return Ok(Answered { item: Some(shown), decision, lifted: Lifted::Enough });
        }
        first.get_or_insert(Answered { item: Some(shown), decision, lifted: Lifted::Enough });
    }
    first.ok_or_else(|| anyhow!("a command cannot be empty"))
}

fn decide_start(policy: &Policy, host: &Host, argv: &[String]) -> Decision {
    let asked = argv.first().cloned().unwrap_or_default();
    let path = host.environment.get("PATH").map(OsStr::new);
    let program = look_up(Lookup { program: OsStr::new(&asked), path, cwd: &host.cwd }, |_| true).ok();
    let paths: Vec<&AbsolutePath> = program.iter().map(|program| &program.path).collect();
    let world = world(host, policy, &paths, Ways::Programs);
    let start = fence_compiler::question::Start {
        asked,
        resolved: program.as_ref().map(|program| program.resolved.clone()),
        argv: argv.to_vec(),
    };
    decide(policy, &world, &Question::Run(start))
}

fn tell(policy: &Policy, answer: &Answer<'_>, screen: Screen) -> anyhow::Result<()> {
    let Answer { action, item, decision, whole, .. } = answer;
    let asked = item.map(|item| format!(" {}", visible(item))).unwrap_or_default();
    let verdict = match decision.verdict {
        Verdict::Allowed => paint(screen.out, "allowed", "32;1"),
        Verdict::Denied => paint(screen.out, "denied", "31;1"),
    };
    let mut text = format!("{verdict}: {}{asked}\n", action.word());
    for reason in reasons(policy, decision) {
        text.push_str(&format!("  {reason}\n"));
    }
    if !whole.is_empty() {
        text.push_str("  moving or removing it as a whole is denied, by what holds beneath it:\n");
        for line in whole.iter().take(LONGEST).filter_map(|id| rule_line(policy, *id)) {
            text.push_str(&format!("    {line}\n"));
        }
        if whole.len() > LONGEST {
            text.push_str(&format!("    … and {} more\n", whole.len() - LONGEST));
        }
    }
    if let Some(remedy) = answer.remedy(policy) {
        text.push_str(&format!("  {remedy}\n"));
    }
    if let Some(told) = needed_beside(*action) {
        text.push_str(&format!("  {told}\n"));
    }
    Ok(screen.print(&text)?)
}

fn as_json(policy: &Policy, answer: &Answer<'_>) -> serde_json::Value {
    let Answer { action, item, decision, whole, .. } = answer;
    let rules = |ids: &[RuleId]| ids.iter().map(|id| json::rule(policy, *id)).collect();
    let (by, reason) = match &decision.reason {
        Reason::Rules(ids) => (rules(ids), None),
        Reason::NothingAllows => (Vec::new(), Some("nothing allows it".to_owned())),
        Reason::AlwaysClosed(what) => (Vec::new(), Some(format!("closed always: {what}"))),
        Reason::AlwaysOpen(what) => (Vec::new(), Some(format!("open always: {what}"))),
    };
    json!({
        "version": json::VERSION,
        "action": action.word(),
        "item": item,
        "verdict": decision.verdict,
        "rules": by,
        "reason": reason,
        "assumptions": decision.assumptions,
        "not_as_a_whole": rules(whole),
        "remedy": answer.remedy(policy),
        "beside": needed_beside(*action),
    })
}
