//! Asking a person before something is refused (`fence run --ask`).
//!
//! Whoever judges sends a question, and goes by the answer. The one who asks is the process that relays the command's
//! terminal: it holds back what the command shows meanwhile, so that nothing inside writes over the question, and it reads
//! the answer from a terminal that the command does not have.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use serde::{Deserialize, Serialize};

/// The longest question.
pub(crate) const LONGEST: usize = 16 * 1024;

/// Something that would be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// What the answer carries.
    pub(crate) number: u64,
    /// The action's word.
    pub(crate) action: String,
    /// The destination; of a command, all its words.
    pub(crate) words: Vec<String>,
    /// The file of the program that would be started: its arguments can say anything.
    pub(crate) file: Option<String>,
    /// The program that asks for it, where that is known.
    pub(crate) program: Option<String>,
    /// Why it would be refused, one line a reason.
    pub(crate) reasons: Vec<String>,
}

/// What the person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It may be done.
    Allowed,
    /// It is refused.
    Refused,
}

impl Question {
    /// The question as it is sent; none if it is too long.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self).ok().filter(|bytes| bytes.len() <= LONGEST)
    }

    /// A question that was sent.
    pub(crate) fn read(bytes: &[u8]) -> Option<Question> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Answer {
    /// The answer to the question with this number, as it is sent.
    pub(crate) fn bytes(self, number: u64) -> [u8; 9] {
        let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
        [a, b, c, d, e, f, g, h, u8::from(self == Answer::Allowed)]
    }

    /// The number of a question, and its answer.
    pub(crate) fn read(bytes: &[u8]) -> Option<(u64, Answer)> {
        let (number, answer) = bytes.split_first_chunk::<8>()?;
        let answer = match answer {
            [1] => Answer::Allowed,
            [0] => Answer::Refused,
            _ => return None,
        };
        Some((u64::from_le_bytes(*number), answer))
    }
}

/// Asks one question after the other, and waits for each answer.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: OwnedFd,
    next: u64,
}

impl Asker {
    /// Asks through a channel.
    pub(crate) fn new(socket: OwnedFd) -> Asker {
        Asker { socket, next: 1 }
    }

    /// Asks, and waits until there is an answer, or `until` can be read from. Whatever goes wrong is a refusal.
    pub(crate) fn ask(&mut self, question: Question, until: Option<BorrowedFd<'_>>) -> Answer {
        let number = self.next;
        self.next += 1;
        // Reading and writing is all that whoever judges starts may still do with it.
        let sent = Question { number, ..question }
            .bytes()
            .is_some_and(|bytes| unistd::write(&self.socket, &bytes) == Ok(bytes.len()));
        if !sent {
            return Answer::Refused;
        }
        loop {
            let mut waited = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            waited.extend(until.map(|until| PollFd::new(until, PollFlags::POLLIN)));
            match poll(&mut waited, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(_) => return Answer::Refused,
                Ok(_) => {}
            }
            let seen = |at: usize| {
                waited.get(at).and_then(PollFd::revents).is_some_and(|seen: PollFlags| !seen.is_empty())
            };
            if seen(1) {
                return Answer::Refused;
            }
            if !seen(0) {
                continue;
            }
            let mut bytes = [0; 16];
            match unistd::read(&self.socket, &mut bytes) {
                Ok(0) => return Answer::Refused,
                // One to a question that nobody waits for any more is passed over.
                Ok(count) => match bytes.get(..count).and_then(Answer::read) {
                    Some((answered, answer)) if answered == number => return answer,
                    _ => {}
                },
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => return Answer::Refused,
            }
        }
    }
}
