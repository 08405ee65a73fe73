//! The addresses of a name, each asked for itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::HostAsked;
use crate::pattern::DomainName;
use crate::question::{Decision, Destination, Reason, Verdict};
use crate::world::World;

/// Decides for each address that a name may have: it is allowed if one is, and only those are dialled.
pub(crate) fn each_address(
    world: &World,
    destination: &Destination,
    decide: impl Fn(HostAsked<'_>) -> Decision,
) -> Decision {
    let asked = HostAsked {
        world,
        name: destination.name.as_ref(),
        address: destination.address,
        port: destination.port,
    };
    let addresses = match (&destination.name, destination.address) {
        (Some(name), None) => addresses_of(world, name),
        _ => Vec::new(),
    };
    if addresses.is_empty() {
        let mut decision = decide(asked);
        if let (Some(name), None) = (&destination.name, destination.address) {
            decision
                .assumptions
                .push(format!("`{name}` is taken to have one public address that no rule mentions"));
        }
        return decision;
    }
    let mut answers = addresses
        .iter()
        .map(|address| (address, decide(HostAsked { address: Some(*address), ..asked })))
        .collect::<Vec<_>>();
    answers.sort_by_key(|(_, answer)| answer.verdict == Verdict::Denied);
    let allowed = answers.iter().filter(|(_, answer)| answer.verdict == Verdict::Allowed).count();
    let (kept, refused) = answers.split_at(if allowed == 0 { answers.len() } else { allowed });
    let mut merged = merge(kept.iter().map(|(_, answer)| answer));
    for (address, _) in refused {
        merged.assumptions.push(format!("of its addresses `{address}` is not dialled"));
    }
    merged
}

/// The addresses that a name is known to have.
pub(crate) fn addresses_of(world: &World, name: &DomainName) -> Vec<IpAddr> {
    match world.hosts.get(name) {
        Some(addresses) => addresses.clone(),
        None if name.as_str() == "localhost" => {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
        }
        None => Vec::new(),
    }
}

/// One answer of several with the same verdict: all their rules.
fn merge<'a>(answers: impl Iterator<Item = &'a Decision>) -> Decision {
    let mut merged =
        Decision { verdict: Verdict::Denied, reason: Reason::NothingAllows, assumptions: Vec::new() };
    for answer in answers {
        merged.verdict = answer.verdict;
        merged.assumptions.extend(
            answer
                .assumptions
                .iter()
                .filter(|said| !merged.assumptions.contains(said))
                .cloned()
                .collect::<Vec<_>>(),
        );
        merged.reason = match (merged.reason, &answer.reason) {
            (Reason::Rules(mut rules), Reason::Rules(more)) => {
                rules.extend(more);
                rules.sort_unstable();
                rules.dedup();
                Reason::Rules(rules)
            }
            (Reason::NothingAllows, reason) => reason.clone(),
            (reason, _) => reason,
        };
    }
    merged
}
