//! Patterns of hosts, found by name and address: whole names, endings of names, blocks of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::names::push;
use crate::cover::meanings;
use crate::pattern::{DomainName, HostPattern};
use crate::policy::RuleId;

/// Rules by patterns of hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    names: BTreeMap<Box<str>, Vec<RuleId>>,
    below: BTreeMap<Box<str>, Vec<RuleId>>,
    blocks: BTreeMap<IpNet, Vec<RuleId>>,
    /// The lengths that the prefixes of these blocks have.
    lengths: BTreeSet<u8>,
    /// Every host, the host's own loopback, and what the environment says.
    any: Vec<RuleId>,
}

impl Hosts {
    /// Adds a rule for a host.
    pub(super) fn add(&mut self, host: &HostPattern, rule: RuleId) {
        match host {
            HostPattern::Name(name) => push(self.names.entry(name.as_str().into()).or_default(), rule),
            HostPattern::Below(name) => push(self.below.entry(name.as_str().into()).or_default(), rule),
            HostPattern::Block(net) => {
                self.lengths.insert(net.prefix_len());
                push(self.blocks.entry(net.trunc()).or_default(), rule);
            }
            HostPattern::Any | HostPattern::Localhost | HostPattern::Environment(_) => {
                push(&mut self.any, rule)
            }
        }
    }

    /// Adds every rule that may be about a host.
    pub(super) fn find(&self, name: Option<&DomainName>, addresses: &[IpAddr], found: &mut Vec<RuleId>) {
        found.extend(&self.any);
        if let Some(name) = name.map(DomainName::as_str) {
            found.extend(self.names.get(name).into_iter().flatten());
            let mut rest = name;
            while let Some((_, above)) = rest.split_once('.') {
                found.extend(self.below.get(above).into_iter().flatten());
                rest = above;
            }
        }
        if self.blocks.is_empty() {
            return;
        }
        for address in addresses {
            for meaning in meanings(*address).into_iter().chain([address.to_canonical()]) {
                for length in &self.lengths {
                    let Ok(net) = IpNet::new(meaning, *length) else { continue };
                    found.extend(self.blocks.get(&net.trunc()).into_iter().flatten());
                }
            }
        }
    }
}
