//! Serving the network of a run: events into its log, and what was refused in short at its end.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fence_compiler::lower::values;
use fence_compiler::plan::NetworkPlan;
use fence_compiler::world::World;

use super::record::{Live, Record};
use super::refused;
use super::run::Prepared;
use crate::audit::{EventSource, Told, visible};
use crate::launch::{Attendant, Error, Explicit, Making, Sockets};
use crate::proxy::{self, Callers, Credential, Rights, Setting, Summary, Trusted, Watch};
use crate::publish::{self, Published};

/// What serves the connections of a run.
pub(super) struct Serving<'a, 'r> {
    prepared: &'a Prepared,
    record: &'a mut Record<'r>,
    published: Option<Published>,
    /// Where the person is asked before a connection is refused.
    asks: Option<Arc<OwnedFd>>,
    /// What came of the connections.
    pub(super) summary: Summary,
}

impl<'a, 'r> Serving<'a, 'r> {
    /// Is ready to serve, if the plan allows connections at all, or something is published.
    pub(super) fn new(
        prepared: &'a Prepared,
        record: &'a mut Record<'r>,
        published: Option<Published>,
        asks: Option<Arc<OwnedFd>>,
    ) -> Option<Serving<'a, 'r>> {
        if prepared.plan.network == NetworkPlan::Isolated && published.is_none() {
            return None;
        }
        record.get_ready();
        Some(Serving { prepared, record, published, asks, summary: Summary::default() })
    }

    fn setting(&self, explicit: Option<(SocketAddrV4, Credential)>) -> Option<Setting> {
        let Prepared { policy, host, plan, .. } = self.prepared;
        let NetworkPlan::Judged(network) = &plan.network else { return None };
        let world = World {
            platform: host.platform,
            variables: values::of(host, policy),
            links: BTreeMap::new(),
            hosts: BTreeMap::new(),
            protected: host.protected.clone(),
        };
        let mut network = network.clone();
        let credential = explicit.map(|(at, credential)| {
            network.proxy = at;
            credential
        });
        let callers = Callers::read(|name| std::env::var(name).ok());
        Some(Setting {
            policy: policy.clone(),
            world,
            network,
            callers,
            trusted: Trusted::OfTheHost,
            credential,
            asks: self.asks.clone(),
        })
    }
}

impl Attendant for Serving<'_, '_> {
    fn making(&self) -> Making {
        if self.published.is_some() { Making::OnDemand } else { Making::Nothing }
    }

    fn attend(&mut self, sockets: Sockets, watch: &mut dyn Watch) -> Result<(), Error> {
        if let (Some(published), Some(channel)) = (self.published.take(), sockets.channel) {
            publish::serve(published, channel).map_err(|error| {
                Error::Serve(format!("cannot publish ports: {error}; see `fence doctor`"))
            })?;
        }
        let (listener, known) = match sockets.explicit {
            Some(Explicit { listener, at, credential }) => (Some(listener), Some((at, credential))),
            None => (None, None),
        };
        let Some(setting) = self.setting(known) else { return Ok(()) };
        let mut add = |told: &Told| self.record.add(told);
        let served = match (listener, sockets.judged) {
            (Some(listener), _) => {
                proxy::serve_as_proxy(setting, listener, Rights::ToGiveUp, &mut add, watch)
            }
            (None, Some(inside)) => proxy::serve(setting, inside, &mut add, watch),
            // The launch itself goes on waiting.
            (None, None) => return Ok(()),
        };
        self.summary = served.map_err(|error| Error::Serve(error.to_string()))?;
        self.record.add_further(EventSource::Proxy, self.summary.beyond);
        Ok(())
    }

    fn conclude(&mut self) {
        if self.record.live() == Live::Summed {
            refused::tell(&self.summary, self.record.screen());
        }
        if let Err(error) = self.record.conclude() {
            self.record.screen().say(&visible(&format!("{:#}", anyhow::Error::from(error))));
        }
    }
}
