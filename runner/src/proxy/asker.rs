//! Asking the person at the terminal about connections, any number of them at once.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as StdDatagram;

use fence_compiler::policy::Policy;
use tokio::net::UnixDatagram;
use tokio::sync::oneshot;

use super::refusal::Refusal;
use crate::asking::{Answer, Question};

/// Who asks.
#[derive(Debug)]
pub(super) struct Asker {
    socket: UnixDatagram,
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<Answer>>>,
    next: Cell<u64>,
}

impl Asker {
    /// Asks through a socket that keeps messages apart. To be called within the runtime.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Asker> {
        let socket = StdDatagram::from(socket);
        socket.set_nonblocking(true)?;
        let socket = UnixDatagram::from_std(socket)?;
        Ok(Asker { socket, waiting: RefCell::default(), next: Cell::new(1) })
    }

    /// Asks whether something that would be refused may be done. Whatever goes wrong is a refusal.
    pub(super) async fn ask(&self, policy: &Policy, refusal: &Refusal) -> Answer {
        let number = self.next.replace(self.next.get() + 1);
        let question = Question {
            number,
            action: refusal.action.to_owned(),
            words: vec![refusal.item.clone()],
            file: None,
            program: None,
            reasons: refusal.reasons(policy),
        };
        let Some(bytes) = question.bytes() else { return Answer::Refused };
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().insert(number, answer);
        if self.socket.send(&bytes).await.ok() != Some(bytes.len()) {
            self.waiting.borrow_mut().remove(&number);
            return Answer::Refused;
        }
        answered.await.unwrap_or(Answer::Refused)
    }

    /// Hands answers to whoever waits for them, until nobody answers any more.
    pub(super) async fn hear(&self) {
        let mut bytes = [0; 16];
        while let Ok(count @ 1..) = self.socket.recv(&mut bytes).await {
            if let Some((number, answer)) = bytes.get(..count).and_then(Answer::read)
                && let Some(waits) = self.waiting.borrow_mut().remove(&number)
            {
                // Whoever has asked may be gone.
                let _ = waits.send(answer);
            }
        }
        self.waiting.borrow_mut().clear();
    }
}
