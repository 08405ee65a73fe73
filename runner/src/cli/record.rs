//! What becomes of the events of a run: lines of its log, lines on the terminal, and the refusal that came last.

use std::path::Path;

use fence_compiler::host::Person;
use fence_compiler::question::Verdict;

use super::arguments::Run;
use super::run::Prepared;
use super::screen::Screen;
use crate::audit::{Event, EventSource, Keeper, LastRefusal, Log, LogError, Told};

/// Where events go. A process that judges by itself has its own.
#[derive(Debug)]
pub(super) struct Record<'a> {
    log: Option<Log>,
    unwritten: Option<LogError>,
    live: Live,
    /// The line that was told last.
    newest: String,
    screen: Screen,
    /// Whose refusals are kept; nobody's where nothing is run.
    person: Option<&'a Person>,
    policy: String,
    keeper: Option<Keeper>,
}

/// Whether a refusal is told as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Live {
    /// Each, in a line.
    Told,
    /// Only the most frequent, at the end.
    Summed,
}

impl<'a> Record<'a> {
    /// Opens the log, if there is one.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub(super) fn new(
        prepared: &'a Prepared,
        arguments: &Run,
        screen: Screen,
    ) -> Result<Record<'a>, LogError> {
        let live = if arguments.monitor { Live::Told } else { Live::Summed };
        let record = Record::into(prepared, arguments.written_log(), live, screen)?;
        Ok(Record { person: record.person.filter(|_| !arguments.dry_run), ..record })
    }

    /// The same for what is no run of its own.
    ///
    /// # Errors
    /// The log cannot be opened.
    pub(super) fn into(
        prepared: &'a Prepared,
        log: Option<&Path>,
        live: Live,
        screen: Screen,
    ) -> Result<Record<'a>, LogError> {
        let log = log.map(Log::open).transpose()?;
        let policy = prepared.policy.sources.first().map(|source| source.name.clone()).unwrap_or_default();
        let person = Some(&prepared.host.person);
        Ok(Record { log, unwritten: None, live, newest: String::new(), screen, person, policy, keeper: None })
    }

    /// Gets ready for a process that opens nothing later. What cannot be kept is not: nothing hangs on it.
    pub(super) fn get_ready(&mut self) {
        if let (None, Some(person)) = (&self.keeper, self.person) {
            self.keeper = Keeper::open(&person.home, person.uid).ok();
        }
    }

    /// The descriptors that it writes to.
    pub(super) fn descriptors(&self) -> Vec<std::os::fd::RawFd> {
        let kept = self.keeper.as_ref().map(Keeper::descriptor);
        self.log.as_ref().map(Log::descriptor).into_iter().chain(kept).collect()
    }

    /// How refusals are told.
    pub(super) fn live(&self) -> Live {
        self.live
    }

    /// Where messages go.
    pub(super) fn screen(&self) -> Screen {
        self.screen
    }

    /// Takes an event.
    pub(super) fn add(&mut self, told: &Told) {
        if self.live == Live::Told && told.event.verdict == Verdict::Denied {
            let line = told.line();
            // A shell asks again for each directory of `PATH`.
            if line != self.newest {
                self.screen.say(&line);
                self.newest = line;
            }
        }
        self.add_told(told);
    }

    /// Takes an event that the person was told of already.
    pub(super) fn add_told(&mut self, told: &Told) {
        if self.unwritten.is_none()
            && let Some(log) = &mut self.log
        {
            self.unwritten = log.add(&told.event).err();
        }
        if let (Some(keeper), Some(refusal)) = (&mut self.keeper, LastRefusal::of(told, &self.policy)) {
            let _ = keeper.keep(&refusal);
        }
    }

    /// Takes note of refusals that were too many to be told one by one.
    pub(super) fn add_further(&mut self, source: EventSource, refusals: u64) {
        if refusals > 0 {
            self.add(&Told { event: Event::further(source, refusals), remedy: None });
        }
    }

    /// Tells whether all was written down.
    ///
    /// # Errors
    /// An event could not be written into the log.
    pub(super) fn conclude(&mut self) -> Result<(), LogError> {
        self.unwritten.take().map_or(Ok(()), Err)
    }
}
