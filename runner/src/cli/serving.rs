//! Serving the network of a run: events into its log, and what was refused in short at its end.

use std::collections::BTreeMap;

use fence_compiler::lower::values;
use fence_compiler::plan::NetworkPlan;
use fence_compiler::world::World;

use super::run::Prepared;
use super::screen::Screen;
use crate::audit::{Log, LogError};
use crate::launch::{Attendant, Error, Sockets};
use crate::proxy::{self, Callers, Setting, Summary, Watch};

/// What serves the connections of a run.
pub(super) struct Serving<'a> {
    prepared: &'a Prepared,
    log: Option<&'a mut Log>,
    /// What came of the connections.
    pub(super) summary: Summary,
    /// Why an event could not be written down.
    pub(super) unwritten: Option<LogError>,
}

impl<'a> Serving<'a> {
    /// Is ready to serve, if the plan allows connections at all.
    pub(super) fn new(prepared: &'a Prepared, log: Option<&'a mut Log>) -> Option<Serving<'a>> {
        match prepared.plan.network {
            NetworkPlan::Isolated => None,
            NetworkPlan::Judged(_) => {
                Some(Serving { prepared, log, summary: Summary::default(), unwritten: None })
            }
        }
    }

    fn setting(&self) -> Option<Setting> {
        let Prepared { policy, host, plan, .. } = self.prepared;
        let NetworkPlan::Judged(network) = &plan.network else { return None };
        let world = World {
            platform: host.platform,
            variables: values::of(host, policy),
            links: BTreeMap::new(),
            hosts: BTreeMap::new(),
            protected: host.protected.clone(),
        };
        let callers = Callers::read(|name| std::env::var(name).ok());
        Some(Setting { policy: policy.clone(), world, network: network.clone(), callers })
    }
}

impl Attendant for Serving<'_> {
    fn attend(&mut self, sockets: Sockets, watch: &mut dyn Watch) -> Result<(), Error> {
        let (Some(setting), Some(inside)) = (self.setting(), sockets.judged) else { return Ok(()) };
        let (log, unwritten) = (&mut self.log, &mut self.unwritten);
        let mut add = |event: &crate::audit::Event| {
            if let Some(log) = log
                && let Err(error) = log.add(event)
                && unwritten.is_none()
            {
                *unwritten = Some(error);
            }
        };
        self.summary = proxy::serve(setting, inside, &mut add, watch)
            .map_err(|error| Error::Serve(error.to_string()))?;
        Ok(())
    }
}

/// The most refusals that are told at the end.
const MOST_TOLD: usize = 5;

/// Tells what was refused: the most frequent first, each with what would allow it.
pub(super) fn tell(summary: &Summary, screen: Screen) {
    for refused in summary.refused.iter().take(MOST_TOLD) {
        let mut text = refused.told.clone();
        if refused.times > 1 {
            text.push_str(&format!(" ({} times)", refused.times));
        }
        if let Some(remedy) = &refused.remedy {
            text.push_str(&format!("\n  {remedy}"));
        }
        screen.note(&text);
    }
    let further = summary.refused.len().saturating_sub(MOST_TOLD) as u64 + summary.beyond;
    if further > 0 {
        screen.note(&format!("{further} more were refused; `--log FILE` tells all of them"));
    }
}
