//! What was decided, as events, and in short at the end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Bound;

use fence_compiler::policy::Policy;
use fence_compiler::question::{Decision, Reason, Verdict};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::refusal::Refusal;
use crate::audit::{Event, EventSource, MOST, REPEATS, Told};

/// Collects events.
#[derive(Debug, Default)]
pub(super) struct Report {
    events: RefCell<VecDeque<Told>>,
    counts: RefCell<BTreeMap<(Verdict, &'static str, String), Count>>,
    beyond: Cell<u64>,
    connections: Cell<u64>,
    told: Notify,
}

#[derive(Debug)]
struct Count {
    times: u64,
    refused: Option<Refused>,
}

/// What came of the connections of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many connections were made.
    pub connections: u64,
    /// What was refused, the most frequent first.
    pub refused: Vec<Refused>,
    /// How many refusals there were beside these.
    pub beyond: u64,
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// `refused connect HOST:PORT: why`, as a line for a person, its control characters escaped.
    pub told: String,
    /// What to write so that it is allowed.
    pub remedy: Option<String>,
    /// How often.
    pub times: u64,
}

impl Report {
    /// A connection was made.
    pub(super) fn connected(
        &self,
        policy: &Policy,
        item: String,
        decision: &Decision,
        address: Option<IpAddr>,
    ) {
        self.connections.set(self.connections.get() + 1);
        self.allowed(policy, EventSource::Proxy, "connect", item, decision, address);
    }

    /// A connection was made that the person has allowed.
    pub(super) fn granted(&self, item: String, address: Option<IpAddr>) {
        self.connections.set(self.connections.get() + 1);
        if self.counted(Verdict::Allowed, "connect", &item, || None) {
            let event = Event::granted(EventSource::Proxy, "connect", item);
            self.add(Told { event: Event { address, ..event }, remedy: None });
        }
    }

    /// Something was allowed.
    pub(super) fn allowed(
        &self,
        policy: &Policy,
        source: EventSource,
        action: &'static str,
        item: String,
        decision: &Decision,
        address: Option<IpAddr>,
    ) {
        if self.counted(Verdict::Allowed, action, &item, || None) {
            let event = Event::decided(source, action, item, Verdict::Allowed, &decision.reason, policy);
            self.add(Told { event: Event { address, ..event }, remedy: None });
        }
    }

    /// Something was refused.
    pub(super) fn refused(&self, policy: &Policy, source: EventSource, refusal: &Refusal) {
        let event = || {
            let item = refusal.item.clone();
            let event = Event::decided(
                source,
                refusal.action,
                item,
                Verdict::Denied,
                &refusal.decision.reason,
                policy,
            );
            Event { address: refusal.address, ..event }
        };
        let refused = || Some(Refused { told: event().told(), remedy: refusal.remedy(policy), times: 0 });
        if self.counted(Verdict::Denied, refusal.action, &refusal.item, refused) {
            self.add(Told { event: event(), remedy: refusal.remedy(policy) });
        }
    }

    /// Counts one; whether it is to be told.
    fn counted(
        &self,
        verdict: Verdict,
        action: &'static str,
        item: &str,
        refused: impl FnOnce() -> Option<Refused>,
    ) -> bool {
        let mut counts = self.counts.borrow_mut();
        let key = (verdict, action, item.to_owned());
        if let Some(count) = counts.get_mut(&key) {
            count.times += 1;
            return count.times <= REPEATS;
        }
        // What is allowed takes no room from what is refused.
        if counts.range(room(verdict)).count() >= MOST {
            self.beyond.set(self.beyond.get() + u64::from(verdict == Verdict::Denied));
            return verdict == Verdict::Denied && self.beyond.get() <= REPEATS;
        }
        counts.insert(key, Count { times: 1, refused: refused() });
        true
    }

    fn add(&self, told: Told) {
        self.events.borrow_mut().push_back(told);
        self.told.notify_one();
    }

    /// The events since the last time.
    pub(super) fn take(&self) -> VecDeque<Told> {
        std::mem::take(&mut *self.events.borrow_mut())
    }

    /// Waits until there is one.
    pub(super) async fn waits(&self) {
        self.told.notified().await;
    }

    /// Everything in short.
    pub(super) fn summary(&self) -> Summary {
        let mut refused: Vec<Refused> = self
            .counts
            .borrow()
            .values()
            .filter_map(|count| {
                count.refused.as_ref().map(|refused| Refused { times: count.times, ..refused.clone() })
            })
            .collect();
        refused.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.told.cmp(&b.told)));
        Summary { connections: self.connections.get(), refused, beyond: self.beyond.get() }
    }
}

/// Every key of an answer.
fn room(verdict: Verdict) -> impl std::ops::RangeBounds<(Verdict, &'static str, String)> {
    let first = |verdict| (verdict, "", String::new());
    match verdict {
        Verdict::Allowed => {
            (Bound::Included(first(Verdict::Allowed)), Bound::Excluded(first(Verdict::Denied)))
        }
        Verdict::Denied => (Bound::Included(first(Verdict::Denied)), Bound::Unbounded),
    }
}

/// A decision that no rule made: something disagrees, or cannot be read.
pub(super) fn closed(why: &str) -> Decision {
    Decision {
        verdict: Verdict::Denied,
        reason: Reason::AlwaysClosed(why.to_owned()),
        assumptions: Vec::new(),
    }
}
