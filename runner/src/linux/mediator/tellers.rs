//! Telling whoever asked for a command of a session what it is refused: each of their own command only, and without ever waiting
//! for one of them.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::audit::{Passed, Told};
use crate::linux::sys::process::Wanted;
use crate::linux::sys::{self, file};

/// How many bytes may wait for one who does not take them. What comes beyond is counted.
const MOST: usize = 2 << 20;

/// Those who are told, by where the calls of their command are answered.
#[derive(Default)]
pub(super) struct Tellers(BTreeMap<RawFd, Teller>);

struct Teller {
    channel: OwnedFd,
    waiting: VecDeque<Vec<u8>>,
    /// How many bytes wait.
    bytes: usize,
    /// How much was left out.
    beyond: u64,
    state: State,
}

impl Teller {
    fn wait(&mut self, passed: &Passed) {
        let message = passed.encode();
        self.bytes += message.len();
        self.waiting.push_back(message);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What waits is the last of it.
    Closing,
}

impl Tellers {
    /// Tells through this channel from now on.
    pub(super) fn add(&mut self, command: RawFd, channel: OwnedFd) {
        if file::set_flags(channel.as_raw_fd(), libc::O_NONBLOCK).is_err() {
            return;
        }
        let teller = Teller { channel, waiting: VecDeque::new(), bytes: 0, beyond: 0, state: State::Open };
        self.0.insert(command, teller);
    }

    /// Tells of a command, if somebody is there to hear it.
    pub(super) fn tell(&mut self, command: RawFd, told: Vec<Told>) {
        let Some(teller) = self.0.get_mut(&command) else { return };
        for told in told {
            if teller.bytes < MOST {
                teller.wait(&Passed::Told(told));
            } else {
                teller.beyond += 1;
            }
        }
        self.send(command);
    }

    /// What is waited for, by command: that its caller wants no more, and that it takes what waits.
    pub(super) fn waited(&self) -> Vec<(RawFd, RawFd, Wanted)> {
        let waited = self.0.iter().map(|(command, teller)| {
            let wanted = match (teller.state, teller.waiting.is_empty()) {
                (State::Closing, _) => Wanted::Writing,
                (State::Open, true) => Wanted::Reading,
                (State::Open, false) => Wanted::Both,
            };
            (*command, teller.channel.as_raw_fd(), wanted)
        });
        waited.collect()
    }

    /// Whether the caller of a command wants no more.
    pub(super) fn is_over(&self, command: RawFd) -> bool {
        // Nothing is ever said there but its end.
        self.0.get(&command).is_some_and(|teller| {
            teller.state == State::Open
                && sys::read(teller.channel.as_raw_fd(), &mut [0]) != Err(Errno::EAGAIN)
        })
    }

    /// Tells the last of a command, and then no more.
    pub(super) fn close(&mut self, command: RawFd, last: Option<Told>) {
        if let Some(teller) = self.0.get_mut(&command)
            && teller.state == State::Open
        {
            teller.state = State::Closing;
            last.iter().for_each(|last| teller.wait(&Passed::Told(last.clone())));
            if teller.beyond > 0 {
                let text = format!(
                    "{} refusals were not told: they came faster than they were taken",
                    teller.beyond
                );
                teller.wait(&Passed::Note(text));
            }
        }
        self.send(command);
    }

    /// Sends as much as is taken.
    pub(super) fn send(&mut self, command: RawFd) {
        let Some(teller) = self.0.get_mut(&command) else { return };
        while let Some(first) = teller.waiting.front() {
            // One write is one message; who looks may send nothing otherwise. SIGPIPE is ignored by every Rust program.
            match sys::write(teller.channel.as_raw_fd(), first).map(drop) {
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return,
                Err(Errno::EINTR) => continue,
                // One that is too long for a message is left out.
                Ok(()) => {}
                Err(Errno::EMSGSIZE) => teller.beyond += 1,
                // Nobody is there any more.
                Err(_) => {
                    teller.waiting.clear();
                    teller.bytes = 0;
                }
            }
            let sent = teller.waiting.pop_front();
            teller.bytes -= sent.map_or(0, |sent| sent.len());
        }
        if teller.state == State::Closing {
            self.0.remove(&command);
        }
    }
}

#[cfg(test)]
mod tests {
    use fence_compiler::question::Verdict;
    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};

    use super::*;
    use crate::audit::{Event, EventSource};

    fn told(refusals: u64) -> Told {
        let told = Told { event: Event::further(EventSource::Kernel, refusals), remedy: None };
        assert_eq!(told.event.verdict, Verdict::Denied);
        told
    }

    fn channel() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    fn next(end: &OwnedFd) -> Option<Passed> {
        let mut bytes = [0; 4096];
        let length = recv(end.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT).ok()?;
        Passed::decode(&bytes[..length])
    }

    #[test]
    fn nobody_is_told_of_the_command_of_another() {
        let mut tellers = Tellers::default();
        let ((one, first), (other, second)) = (channel(), channel());
        tellers.add(7, one);
        tellers.add(8, other);
        tellers.tell(7, vec![told(1)]);
        tellers.tell(9, vec![told(2)]);
        let Some(Passed::Told(heard)) = next(&first) else { panic!("nothing was told") };
        assert_eq!(heard.event.item, "1 times more");
        assert_eq!((next(&first), next(&second)), (None, None));
    }

    #[test]
    fn one_who_takes_nothing_holds_up_nobody_and_hears_how_much_it_missed() {
        let mut tellers = Tellers::default();
        let (own, end) = channel();
        tellers.add(7, own);
        for number in 0..20_000 {
            tellers.tell(7, vec![told(number)]);
        }
        assert!(!tellers.is_over(7));
        assert_eq!(tellers.waited().pop().map(|(_, _, wanted)| wanted), Some(Wanted::Both));
        tellers.close(7, None);
        let mut heard = Vec::new();
        while let Some(passed) = next(&end) {
            heard.push(passed);
            tellers.send(7);
        }
        assert!(tellers.0.is_empty(), "it was told the last and is kept");
        let Some(Passed::Note(last)) = heard.pop() else { panic!("it was not told how much it missed") };
        let missed: usize = last.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(heard.len() + missed, 20_000);
        assert!(missed > 1000 && heard.len() > 5000, "{missed}");
    }

    #[test]
    fn one_who_has_gone_is_forgotten() {
        let mut tellers = Tellers::default();
        let (own, end) = channel();
        tellers.add(7, own);
        drop(end);
        assert!(tellers.is_over(7));
        tellers.tell(7, vec![told(1)]);
        tellers.close(7, Some(told(2)));
        assert!(tellers.0.is_empty());
    }
}
