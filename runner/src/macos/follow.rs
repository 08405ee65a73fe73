//! A run while it lasts: the command, the process that serves it and the system's log, each as it comes.

use std::io;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use fence_compiler::policy::{LimitKind, Policy};
use fence_compiler::profile::SeatbeltPlan;

use super::line::Denial;
use super::log::Watch;
use super::process::{Running, outcome};
use super::refusals::Refusals;
use super::served::Served;
use super::serving::Said;
use crate::audit::{EventSource, Told, visible};
use crate::launch::{Error, Outcome};
use crate::proxy::Summary;

/// How long the last lines of the log are waited for after the command has ended: another process writes them.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How long the process that serves may take to pass on what was sent, and to say what came of it.
const LAST_CONNECTIONS: Duration = Duration::from_secs(5);

/// Something that happened.
#[derive(Debug)]
pub(super) enum Happened {
    /// The command has ended.
    Ended(io::Result<ExitStatus>),
    /// The log tells of a refusal.
    Refused(Denial),
    /// `log` has ended.
    LogEnded,
    /// The process that serves says something.
    Served(Said),
    /// It has ended.
    ServedNoMore,
}

/// What somebody hears of a run while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something was decided, or refused.
    Told(Told),
    /// So many more refusals, which were not told one by one.
    Further(EventSource, u64),
    /// Something that a person should know.
    Note(String),
}

/// What is followed.
pub(super) struct Followed<'a> {
    pub(super) plan: &'a SeatbeltPlan,
    pub(super) policy: &'a Policy,
    pub(super) running: Running,
    pub(super) served: Option<Served>,
    pub(super) watch: Option<Watch>,
    pub(super) happened: Receiver<Happened>,
}

/// How a command ended, and what came of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How the command ended.
    pub outcome: Outcome,
    /// What came of its connections.
    pub summary: Summary,
}

/// What was heard so far.
struct Ear<'a> {
    policy: &'a Policy,
    refusals: Refusals,
    heard: &'a mut dyn FnMut(Heard),
    /// What came of the connections, once the process that serves has said it.
    summary: Option<Summary>,
    served: bool,
    watched: bool,
}

impl Followed<'_> {
    /// Tells what happens until the command has ended, and what is left behind it.
    ///
    /// # Errors
    /// The command was ended because nobody serves its connections any more.
    pub(super) fn until_the_end(mut self, heard: &mut dyn FnMut(Heard)) -> Result<Ended, Error> {
        let mut ear = Ear {
            policy: self.policy,
            refusals: Refusals::default(),
            heard,
            summary: None,
            served: self.served.is_some(),
            watched: self.watch.is_some(),
        };
        let limit = time(self.plan).map(|limit| Instant::now() + limit);
        let mut ended_by = None;
        let status = loop {
            let next = match limit.filter(|_| ended_by.is_none()) {
                Some(limit) => self.happened.recv_timeout(limit.saturating_duration_since(Instant::now())),
                None => self.happened.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(Happened::Ended(status)) => break status,
                Ok(happened) => ear.hear(happened),
                Err(RecvTimeoutError::Timeout) => {
                    ended_by = Some(EndedBy::Limit);
                    self.running.end();
                }
                // INVARIANT: that the command has ended is sent before the last sender is gone.
                Err(RecvTimeoutError::Disconnected) => break Err(io::ErrorKind::BrokenPipe.into()),
            }
            if self.served.is_some() && !ear.served && ended_by.is_none() {
                ended_by = Some(EndedBy::Unserved);
                self.running.end();
            }
        };
        // Whatever the command left behind in its group ends with it.
        self.running.end();
        self.rest(&mut ear);
        let unserved = self.served.as_mut().filter(|_| ended_by == Some(EndedBy::Unserved));
        if let Some(served) = unserved {
            let why = served.last_words();
            let why = if why.is_empty() { String::new() } else { format!(": {}", visible(&why)) };
            return Err(Error::Serve(format!(
                "the process that serves connections ended before the command{why}; the command was ended"
            )));
        }
        let outcome = match (ended_by, status) {
            (Some(_), _) => Outcome::TimedOut,
            (None, Ok(status)) => outcome(status),
            (None, Err(error)) => {
                return Err(super::failed("wait for", &self.plan.tools.sandbox_exec, &error));
            }
        };
        Ok(Ended { outcome, summary: ear.summary.unwrap_or_default() })
    }

    /// What was on its way when the command ended.
    fn rest(&mut self, ear: &mut Ear<'_>) {
        if let Some(served) = &self.served {
            served.conclude();
        }
        let now = Instant::now();
        let (mut lines, connections) = (now + LAST_LINES, now + LAST_CONNECTIONS);
        while let Some(until) = ear.waits_until(lines, connections) {
            match self.happened.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Happened::LogEnded) => ear.watched = false,
                Ok(happened) => ear.hear(happened),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => match self.watch.take() {
                    // What it has written is read to the end, which comes with its own.
                    Some(watch) if until == lines => {
                        drop(watch);
                        lines += LAST_LINES;
                    }
                    _ if until == lines => ear.watched = false,
                    _ => ear.served = false,
                },
            }
        }
        if ear.refusals.beyond > 0 {
            (ear.heard)(Heard::Further(EventSource::Kernel, ear.refusals.beyond));
        }
        let beyond = ear.summary.as_ref().map_or(0, |summary| summary.beyond);
        if beyond > 0 {
            (ear.heard)(Heard::Further(EventSource::Proxy, beyond));
        }
    }
}

impl Ear<'_> {
    fn hear(&mut self, happened: Happened) {
        match happened {
            Happened::Refused(denial) => {
                if let Some(told) = self.refusals.add(&denial, self.policy) {
                    (self.heard)(Heard::Told(told));
                }
            }
            Happened::LogEnded => {
                self.watched = false;
                (self.heard)(Heard::Note(
                    "`log stream` ended before the command: what the system refused from here on is not told"
                        .to_owned(),
                ));
            }
            Happened::Served(Said::Told { event, remedy }) => {
                (self.heard)(Heard::Told(Told { event: *event, remedy }));
            }
            Happened::Served(Said::Ended(summary)) => self.summary = Some(summary),
            Happened::ServedNoMore => self.served = false,
            Happened::Served(Said::Ready) | Happened::Ended(_) => {}
        }
    }

    /// Until when something is still waited for.
    fn waits_until(&self, lines: Instant, connections: Instant) -> Option<Instant> {
        let lines = self.watched.then_some(lines);
        let connections = self.served.then_some(connections);
        lines.into_iter().chain(connections).min()
    }
}

fn time(plan: &SeatbeltPlan) -> Option<Duration> {
    let limits = plan.limits.iter().filter(|limit| limit.kind == LimitKind::Time);
    limits.map(|limit| Duration::from_millis(limit.amount)).min()
}

/// What ended a command that did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndedBy {
    Limit,
    Unserved,
}
