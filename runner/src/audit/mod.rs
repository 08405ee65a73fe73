//! What was allowed or refused while a command ran, as events.
//!
//! There is one type for every source. A source that comes later adds events, never fields.

mod last;
mod log;
mod passed;
mod text;
mod time;

pub use last::{Keeper, LastRefusal, last};
pub use log::{Log, LogError};
pub(crate) use passed::Passed;
pub use text::visible;
pub(crate) use text::visible_json;
pub use time::Timestamp;

use std::net::IpAddr;

use fence_compiler::fidelity::limit_name;
use fence_compiler::policy::{LimitKind, Policy, RuleId};
use fence_compiler::question::{Reason, Verdict};
use serde::{Deserialize, Serialize};

/// How often a run tells the same event.
pub(crate) const REPEATS: u64 = 8;

/// How many different events a run keeps apart, of each answer; what comes beyond is only counted.
pub(crate) const MOST: usize = 1024;

/// The version of the event's form.
pub const EVENT_VERSION: u32 = 1;

/// One thing that the command, or fence for it, was allowed to do or refused.
///
/// What the command controls (`item`, `program`) is told and never used to decide anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The version of this form: 1.
    pub event: u32,
    /// When.
    pub time: Timestamp,
    /// Who saw it.
    pub source: EventSource,
    /// The action's word: `read`, `run`, `connect`, ….
    pub action: String,
    /// The item: a path, a command, `host:port`, a name.
    pub item: String,
    /// The answer.
    pub verdict: Verdict,
    /// The rules that made it; empty where none did.
    pub rules: Vec<EventRule>,
    /// The reason where no rule made it (`nothing allows it`, `closed always: …`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The address that was, or would have been, connected to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<IpAddr>,
    /// The process, as its own namespace numbers it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    /// The program that it ran.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub program: Option<String>,
}

/// An event, and what to write so that the answer changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The event.
    pub event: Event,
    /// `to allow it, add: …`; `None` where nothing can change it, or nobody asked.
    pub remedy: Option<String>,
}

impl Told {
    /// One line for a person: the event, and what would change the answer.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{}; {remedy}", self.event.told()),
            None => self.event.told(),
        }
    }
}

/// Who saw an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventSource {
    /// Fence itself, before the command started.
    Preflight,
    /// Fence itself, while the command ran: a limit that ended it.
    Fence,
    /// The proxy.
    Proxy,
    /// The resolver of names.
    Resolver,
    /// The mediator of system calls.
    Mediator,
    /// The kernel, observed.
    Kernel,
}

/// A rule, as an event names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRule {
    /// The text that it stands in, as messages call it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// Its label.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
    /// Its reason.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub because: Option<String>,
}

impl EventRule {
    /// Describes a rule of a policy; `None` if the policy has no such rule.
    #[must_use]
    pub fn of(policy: &Policy, id: RuleId) -> Option<EventRule> {
        let rule = policy.rules.get(id.0 as usize)?;
        let source = policy.sources.get(rule.written.source.0 as usize)?;
        Some(EventRule {
            file: source.name.clone(),
            line: rule.written.line,
            label: rule.label.clone(),
            because: rule.because.clone(),
        })
    }

    /// `policy.fence:12 [label] "reason"`, its control characters escaped.
    #[must_use]
    pub fn told(&self) -> String {
        let mut told = format!("{}:{}", visible(&self.file), self.line);
        if let Some(label) = &self.label {
            told.push_str(&format!(" [{}]", visible(label)));
        }
        if let Some(because) = &self.because {
            told.push_str(&format!(" because \"{}\"", visible(because)));
        }
        told
    }
}

impl Event {
    /// Makes the event of a decision that was taken now.
    #[must_use]
    pub fn decided(
        source: EventSource,
        action: &str,
        item: String,
        verdict: Verdict,
        reason: &Reason,
        policy: &Policy,
    ) -> Event {
        let (rules, reason) = match reason {
            Reason::Rules(ids) => (ids.iter().filter_map(|id| EventRule::of(policy, *id)).collect(), None),
            Reason::NothingAllows => (Vec::new(), Some("nothing allows it".to_owned())),
            Reason::AlwaysClosed(what) => (Vec::new(), Some(format!("closed always: {what}"))),
            Reason::AlwaysOpen(what) => (Vec::new(), Some(format!("open always: {what}"))),
        };
        Event { rules, reason, ..Event::now(source, action, short(item), verdict) }
    }

    /// Makes the event of a limit that was reached: the statement and where it stands.
    #[must_use]
    pub(crate) fn limited(
        kind: LimitKind,
        item: String,
        (statement, place): (&str, &str),
        policy: &Policy,
    ) -> Event {
        let reason = Reason::AlwaysClosed(format!("{statement} ({place})"));
        Event::decided(EventSource::Fence, limit_name(kind), item, Verdict::Denied, &reason, policy)
    }

    /// Makes the event of something that the policy refuses and the person has allowed.
    #[must_use]
    pub fn granted(source: EventSource, action: &str, item: String) -> Event {
        let reason = Some("allowed by the person at the terminal".to_owned());
        Event { reason, ..Event::now(source, action, short(item), Verdict::Allowed) }
    }

    /// Tells that there were more refusals than are told one by one.
    #[must_use]
    pub fn further(source: EventSource, refusals: u64) -> Event {
        let reason = Some("too many different ones to tell each".to_owned());
        let item = format!("{refusals} times more");
        Event { reason, ..Event::now(source, "anything", item, Verdict::Denied) }
    }

    /// An event of now, of which nothing more is known.
    fn now(source: EventSource, action: &str, item: String, verdict: Verdict) -> Event {
        Event {
            event: EVENT_VERSION,
            time: Timestamp::now(),
            source,
            action: action.to_owned(),
            item,
            verdict,
            rules: Vec::new(),
            reason: None,
            address: None,
            pid: None,
            program: None,
        }
    }

    /// One short line for a person: what, the answer, and why; control characters escaped.
    #[must_use]
    pub fn told(&self) -> String {
        let answer = match self.verdict {
            Verdict::Allowed => "allowed",
            Verdict::Denied => "refused",
        };
        let why = match (self.rules.as_slice(), &self.reason) {
            ([], Some(reason)) => visible(reason),
            ([], None) => "no reason is known".to_owned(),
            (rules, _) => rules.iter().map(EventRule::told).collect::<Vec<_>>().join(", "),
        };
        format!("{answer} {} {}: {why}", visible(&self.action), visible(&self.item))
    }
}

/// The longest item that an event holds, characters.
const LONGEST: usize = 1_000;

/// An item of a length that somebody reads: what is asked for may be as long as the program likes.
fn short(item: String) -> String {
    match item.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", item.get(..end).unwrap_or("")),
        None => item,
    }
}

#[cfg(test)]
mod tests;
