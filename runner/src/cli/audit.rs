//! `fence audit`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use fence_compiler::question::Verdict;
use serde_json::{Value, json};

use super::arguments::{Audit, Format};
use super::json;
use super::run::shown;
use super::screen::{Screen, paint};
use crate::audit::{EVENT_VERSION, Event, EventRule, REPEATS, Timestamp, visible};

/// The longest line that is read as an event, bytes.
const LONGEST: u64 = 1 << 20;

/// Sums up a log of events.
pub(super) fn audit(arguments: &Audit, screen: Screen) -> anyhow::Result<u8> {
    let file = &arguments.file;
    let sum = if file == Path::new("-") {
        Sum::of(io::stdin().lock(), screen)
    } else {
        let open = File::open(file).with_context(|| format!("cannot open `{}`", shown(file)))?;
        Sum::of(BufReader::new(open), screen)
    };
    let sum = sum.with_context(|| format!("cannot sum `{}` up", shown(file)))?;
    match arguments.format {
        Format::Text => screen.print(&sum.text(screen))?,
        Format::Json => json::print(screen, &sum.json())?,
    }
    Ok(u8::from(sum.of_verdict(Verdict::Denied).next().is_some()))
}

/// Everything in a log, each thing once.
#[derive(Default)]
struct Sum {
    events: u64,
    span: Option<(Timestamp, Timestamp)>,
    things: BTreeMap<(Verdict, String, String), Seen>,
    rules: BTreeMap<String, Counts>,
}

/// How often something was seen, and by what it was decided.
struct Seen {
    times: u64,
    why: BTreeSet<String>,
}

/// How often a rule allowed and refused.
#[derive(Default)]
struct Counts {
    allowed: u64,
    refused: u64,
}

impl Sum {
    /// Reads a log. What is no event is left out and told: a run that was killed, or whose disk was full, ends in the
    /// middle of a line, and the next one goes on there.
    fn of(mut log: impl BufRead, screen: Screen) -> anyhow::Result<Sum> {
        let mut sum = Sum::default();
        let mut left_out: Option<(u64, String)> = None;
        let mut others = 0_u64;
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            if log.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let whole = line.last() == Some(&b'\n') || (line.len() as u64) < LONGEST;
            let why = match read(&line) {
                Ok(event) if whole => {
                    sum.add(&event);
                    continue;
                }
                Err(why) if whole => why,
                _ => {
                    skip_line(&mut log)?;
                    "it is longer than 1 MiB".to_owned()
                }
            };
            match left_out {
                None => left_out = Some((number, why)),
                Some(_) => others += 1,
            }
        }
        match left_out {
            Some((number, why)) if sum.events == 0 => {
                bail!("line {number} is no event of `fence run --log`: {why}")
            }
            Some((number, why)) => screen.say(&format!(
                "line {number} is no event and is left out ({why}){}",
                if others > 0 { format!(", and so are {others} more lines") } else { String::new() }
            )),
            None => {}
        }
        Ok(sum)
    }

    fn add(&mut self, event: &Event) {
        self.events += 1;
        let (first, last) = self.span.unwrap_or((event.time, event.time));
        self.span = Some((first.min(event.time), last.max(event.time)));
        let why = match (event.rules.as_slice(), &event.reason) {
            ([], Some(reason)) => reason.clone(),
            ([], None) => "no reason is known".to_owned(),
            (rules, _) => rules.iter().map(place).collect::<Vec<_>>().join(", "),
        };
        let key = (event.verdict, event.action.clone(), event.item.clone());
        let seen = self.things.entry(key).or_insert(Seen { times: 0, why: BTreeSet::new() });
        seen.times += 1;
        seen.why.insert(why);
        for rule in &event.rules {
            let counts = self.rules.entry(rule.told()).or_default();
            match event.verdict {
                Verdict::Allowed => counts.allowed += 1,
                Verdict::Denied => counts.refused += 1,
            }
        }
    }

    /// What was answered so, the most frequent first: action, item, and how it was seen.
    fn of_verdict(&self, verdict: Verdict) -> impl Iterator<Item = (&str, &str, &Seen)> {
        let mut found: Vec<_> = self
            .things
            .iter()
            .filter(|((answer, _, _), _)| *answer == verdict)
            .map(|((_, action, item), seen)| (action.as_str(), item.as_str(), seen))
            .collect();
        found.sort_by_key(|(action, item, seen)| (std::cmp::Reverse(seen.times), *action, *item));
        found.into_iter()
    }

    fn text(&self, screen: Screen) -> String {
        let Some((first, last)) = self.span else { return "nothing was logged\n".to_owned() };
        let mut text = match self.events {
            1 => format!("one event at {first}\n"),
            events => format!("{events} events from {first} to {last}\n"),
        };
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                text.push_str(&format!("\n{}\n", paint(screen.out, title, "1")));
                lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
            }
        };
        for (title, actions) in SECTIONS {
            let allowed = self.of_verdict(Verdict::Allowed).filter(|(action, _, _)| actions.contains(action));
            section(title, allowed.map(|(_, item, seen)| line(item, seen)).collect());
        }
        let others = self.of_verdict(Verdict::Allowed).filter(|(action, _, _)| is_other(action));
        section(
            "allowed beside these",
            others.map(|(action, item, seen)| line(&format!("{action} {item}"), seen)).collect(),
        );
        let refused = self.of_verdict(Verdict::Denied);
        section(
            "refused",
            refused.map(|(action, item, seen)| line(&format!("{action} {item}"), seen)).collect(),
        );
        let rules = self
            .rules
            .iter()
            .map(|(rule, counts)| format!("{rule}: allowed {}, refused {}", counts.allowed, counts.refused));
        section("by rule", rules.collect());
        text
    }

    fn json(&self) -> Value {
        let list = |verdict| -> Vec<Value> {
            self.of_verdict(verdict)
                .map(|(action, item, seen)| {
                    json!({ "action": action, "item": item, "times": seen.times, "by": seen.why })
                })
                .collect()
        };
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|(rule, counts)| {
                json!({ "rule": rule, "allowed": counts.allowed, "refused": counts.refused })
            })
            .collect();
        json!({
            "version": json::VERSION,
            "events": self.events,
            "first": self.span.map(|(first, _)| first),
            "last": self.span.map(|(_, last)| last),
            "repeats_logged": REPEATS,
            "allowed": list(Verdict::Allowed),
            "refused": list(Verdict::Denied),
            "rules": rules,
        })
    }
}

/// What is told of what was allowed, by action.
const SECTIONS: [(&str, &[&str]); 3] = [
    ("reached", &["connect", "http", "ssh", "socket"]),
    ("programs started", &["run", "exec"]),
    ("written outside the workspace", &["write", "device"]),
];

fn is_other(action: &str) -> bool {
    !SECTIONS.iter().any(|(_, actions)| actions.contains(&action))
}

fn line(item: &str, seen: &Seen) -> String {
    let times = match seen.times {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        times => format!("{} times", at_least(times)),
    };
    format!(
        "{}  {times}, by {}",
        visible(item),
        visible(&Vec::from_iter(seen.why.iter().map(String::as_str)).join("; "))
    )
}

/// A count that stops where a run stops writing the same event down.
fn at_least(times: u64) -> String {
    if times >= REPEATS { format!("{times} or more") } else { times.to_string() }
}

fn place(rule: &EventRule) -> String {
    match &rule.label {
        Some(label) => format!("{}:{} [{label}]", rule.file, rule.line),
        None => format!("{}:{}", rule.file, rule.line),
    }
}

/// Reads a line; says what is wrong with it.
fn read(line: &[u8]) -> Result<Event, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        event: u32,
    }
    let version: Version = serde_json::from_slice(line).map_err(|error| reason(&error))?;
    if version.event != EVENT_VERSION {
        return Err(format!("it has version {}, this fence knows {EVENT_VERSION}", version.event));
    }
    serde_json::from_slice(line).map_err(|error| reason(&error))
}

/// Goes on behind the end of the line.
fn skip_line(log: &mut impl BufRead) -> io::Result<()> {
    loop {
        let there = log.fill_buf()?;
        let (length, ended) = match there.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (there.len(), there.is_empty()),
        };
        log.consume(length);
        if ended {
            return Ok(());
        }
    }
}

/// What is wrong with a line, without the place that the reader counts in it.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}
