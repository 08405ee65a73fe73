//! The time that a connection may take, and be silent.

use std::cell::Cell;
use std::time::Duration;

use fence_compiler::policy::{LimitKind, Policy};
use fence_compiler::question::Platform;
use tokio::time::{Instant, sleep_until};

/// The limits of each connection. Without one, there is none: only the system's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until it stands.
    pub(super) connect: Option<Duration>,
    /// Without a byte in either direction.
    pub(super) idle: Option<Duration>,
}

impl Limits {
    /// Those of a policy: of several the smallest.
    pub(super) fn of(policy: &Policy, platform: Platform) -> Limits {
        let smallest = |kind| {
            let here =
                policy.limits.iter().filter(|limit| limit.platform.is_none_or(|named| named == platform));
            here.filter(|limit| limit.kind == kind).map(|limit| Duration::from_millis(limit.amount)).min()
        };
        Limits { connect: smallest(LimitKind::ConnectTime), idle: smallest(LimitKind::IdleTime) }
    }
}

/// When something was last heard on a connection.
#[derive(Debug)]
pub(super) struct Silence {
    last: Cell<Instant>,
    limit: Option<Duration>,
}

impl Silence {
    pub(super) fn new(limit: Option<Duration>) -> Silence {
        Silence { last: Cell::new(Instant::now()), limit }
    }

    /// Something was heard.
    pub(super) fn broken(&self) {
        if self.limit.is_some() {
            self.last.set(Instant::now());
        }
    }

    /// Waits until it has been silent for too long; without a limit for ever.
    pub(super) async fn too_long(&self) {
        let Some(limit) = self.limit else { return std::future::pending().await };
        loop {
            let end = self.last.get() + limit;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }
}
