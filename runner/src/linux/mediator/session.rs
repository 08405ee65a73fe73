//! The mediator of a session: it is brought, for each command, where the calls of that one are answered.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::files::Files;
use super::tellers::Tellers;
use super::watch::Watch;
use crate::launch::{self, Observed};
use crate::linux::sys::notice;
use crate::linux::sys::process::{self, Readable, Wanted};
use crate::linux::sys::request::Request;
use crate::linux::sys::socket;

impl Watch<'_> {
    /// Answers the calls of commands until the session is over. Those that somebody wants to see are looked at, or all of them if
    /// that is wanted for the session.
    pub(super) fn until_the_session_ends(&mut self, observed: Observed) {
        let mut listeners: Vec<OwnedFd> = Vec::new();
        self.tellers = Some(Tellers::default());
        self.judge.prepare();
        loop {
            let own = [self.ends.lifeline.as_raw_fd(), self.ends.children, self.ends.listener.as_raw_fd()];
            let Some(tellers) = &self.tellers else { return };
            let told = tellers.waited();
            let waited: Vec<(RawFd, Wanted)> = own
                .into_iter()
                .chain(listeners.iter().map(AsRawFd::as_raw_fd))
                .map(|descriptor| (descriptor, Wanted::Reading))
                .chain(told.iter().map(|(_, channel, wanted)| (*channel, *wanted)))
                .collect();
            let patience = self.files.as_ref().map_or(-1, Files::patience);
            let answers = process::wait_for_any(&waited, patience);
            if let Some(files) = &mut self.files
                && patience >= 0
            {
                files.look_after();
            }
            let [lifeline, stopped, arrived, rest @ ..] = answers.as_slice() else { return };
            if *lifeline != Readable::No {
                return;
            }
            if *stopped == Readable::Yes {
                while process::take_signal(self.ends.children).is_some() {}
                self.take_stops();
            }
            let (calls, takers) = rest.split_at_checked(listeners.len()).unwrap_or((rest, &[]));
            let mut gone = Vec::new();
            for ((listener, _), call) in waited.iter().skip(own.len()).zip(calls) {
                match call {
                    Readable::Yes => {
                        if let Ok(notice) = notice::receive(*listener) {
                            self.take(notice);
                        }
                    }
                    // Nobody is left whose calls are answered there.
                    Readable::Ended => gone.push(*listener),
                    Readable::No => {}
                }
            }
            // After the calls: whoever says that a command has ended has been told of all that it did.
            let Some(tellers) = &mut self.tellers else { return };
            for ((command, ..), _) in told.iter().zip(takers).filter(|(_, taker)| **taker != Readable::No) {
                if tellers.is_over(*command) {
                    tellers.close(*command, self.judge.arbiter.further(*command));
                }
                tellers.send(*command);
            }
            for command in &gone {
                tellers.close(*command, self.judge.arbiter.further(*command));
            }
            listeners.retain(|listener| !gone.contains(&listener.as_raw_fd()));
            gone.into_iter().for_each(|listener| self.forget(listener));
            if *arrived == Readable::Yes {
                listeners.extend(self.begin(observed));
            }
        }
    }

    /// Takes a command: where its calls are answered.
    fn begin(&mut self, observed: Observed) -> Option<OwnedFd> {
        let mut taken = socket::take_descriptors(self.ends.listener.as_raw_fd()).ok()?.into_iter();
        let (listener, memory, told) = (taken.next()?, taken.next()?, taken.next());
        let number = listener.as_raw_fd();
        let request = Request::map(memory.as_raw_fd()).ok()?;
        let (program, argv) = request.command();
        let directory = request.directory().to_owned();
        request.unmap();
        let command = launch::Command { program, argv, environment: Vec::new() };
        let is_watched = told.is_some() || observed != Observed::Nothing;
        if let Some(observer) = self.observer.as_mut().filter(|_| is_watched) {
            observer.begin(number, &command);
        }
        if let (Some(tellers), Some(told)) = (&mut self.tellers, told) {
            tellers.add(number, told);
        }
        if self.files.is_some() || is_watched {
            notice::take_turns(number);
        }
        self.commands.insert(number, (command, directory));
        Some(listener)
    }

    fn forget(&mut self, listener: RawFd) {
        if let Some(files) = &mut self.files {
            files.gone(listener);
        }
        if let Some(observer) = &mut self.observer {
            observer.gone(listener);
        }
        self.commands.remove(&listener);
        self.waiting.retain(|notice| notice.listener != listener);
        self.judge.arbiter.gone(listener);
    }
}
