//! Looking at a command that somebody wants to see the refusals of.
//!
//! Its filter comes with the request: it is that of the other commands, and more calls wait. Who answers them is who judges the
//! commands of the session, because what it carries out for one must not be overtaken by what it carries out for another; where
//! nothing is judged, it is a process that is started for this, the first time that it is wanted.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::PoisonError;

use super::Session;
use crate::launch::{Arbiter, Error, Observed};
use crate::linux::command::Filter;
use crate::linux::explain;
use crate::linux::mediator::Mediator;
use crate::linux::parent::{channel, filter, group_signals};

/// What somebody wants to see of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched<'a> {
    /// How much of it.
    pub(crate) observed: Observed,
    /// Where it is told.
    pub(crate) told: BorrowedFd<'a>,
}

/// What goes with the request for such a command.
pub(super) struct Handed {
    pub(super) filter: Vec<libc::sock_filter>,
    /// Where it is handed over to who looks.
    pub(super) judge: OwnedFd,
    pub(super) told: RawFd,
}

impl Session {
    /// What is looked at of every command.
    pub(crate) fn observed(&self) -> Observed {
        self.observed
    }

    /// Whether there is somebody to look at commands.
    pub(crate) fn is_watched(&self) -> bool {
        let helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.is_some() && helpers.0.last().is_some_and(|last| !last.has_ended())
    }

    /// Has somebody look at commands from now on, where nothing of them is judged.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(crate) fn watch(&self, arbiter: &mut dyn Arbiter, kept: &[RawFd]) -> Result<(), Error> {
        let plan = self.plan();
        let (outer_end, end) = channel()?;
        let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was killed is put away.
        if let Some(ended) = helpers.0.pop_if(|last| last.has_ended()) {
            let _ = ended.conclude();
        }
        let looks = Mediator::keep(arbiter, &plan, self.observed, outer_end, kept);
        helpers.0.push(looks.map_err(explain::mediator)?);
        *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        Ok(())
    }

    /// What goes with the request for a command that somebody wants to see.
    pub(super) fn watched(&self, watched: &Watched<'_>) -> Result<Handed, Error> {
        let nobody = || Error::Plan("nobody looks at the commands of this session".to_owned());
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let judge = judged.as_ref().and_then(|end| end.try_clone().ok()).ok_or_else(nobody)?;
        let held = self.held();
        let mut calls = held.plan.seccomp.clone();
        if self.inner.is_none() {
            calls.push(group_signals());
        }
        let observed = self.observed.max(watched.observed);
        match filter(&calls, &held.plan.mediated, observed, Some(judge.as_raw_fd()))? {
            Filter::Judged { program, .. } => {
                Ok(Handed { filter: program, judge, told: watched.told.as_raw_fd() })
            }
            Filter::Alone(_) => Err(nobody()),
        }
    }
}
