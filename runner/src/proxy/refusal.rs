//! What was refused, why, and what would allow it.

use std::net::IpAddr;

use fence_compiler::policy::Policy;
use fence_compiler::question::{Decision, Reason};

use super::destination::{Host, Target};
use super::report::closed;
use crate::audit::EventRule;
use crate::cli::remedy;

/// A refusal.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The action's word.
    pub(super) action: &'static str,
    /// The item.
    pub(super) item: String,
    pub(super) decision: Decision,
    /// The address that decided, behind a name that is allowed by itself.
    pub(super) address: Option<IpAddr>,
    /// The item that an `allow` would need.
    needed: String,
}

impl Refusal {
    /// Of a connection.
    pub(super) fn connect(target: &Target, decision: Decision) -> Box<Refusal> {
        // What is taken for granted of addresses does not matter where the name is refused.
        let decision = Decision { assumptions: Vec::new(), ..decision };
        Box::new(Refusal {
            action: "connect",
            item: target.to_string(),
            decision,
            address: None,
            needed: target.to_string(),
        })
    }

    /// Of a connection to the addresses behind a name.
    pub(super) fn addresses(target: &Target, found: &[IpAddr], decision: Decision) -> Box<Refusal> {
        let refusal = Refusal::connect(target, decision);
        match (found.first(), &target.host) {
            (Some(address), Host::Name(_)) => {
                let needed = Target { host: Host::Address(*address), port: target.port }.to_string();
                Box::new(Refusal { address: Some(*address), needed, ..*refusal })
            }
            _ => refusal,
        }
    }

    /// Of a request.
    pub(super) fn request(method: &str, target: &Target, path: &str, decision: Decision) -> Box<Refusal> {
        let item = short(format!("{method} {target}{path}"));
        Box::new(Refusal { action: "http", needed: item.clone(), item, decision, address: None })
    }

    /// Of something that no rule is about.
    pub(super) fn closed(action: &'static str, item: String, why: &str) -> Box<Refusal> {
        let item = short(item);
        Box::new(Refusal { action, needed: item.clone(), item, decision: closed(why), address: None })
    }

    /// Of a name.
    pub(super) fn name(name: &str, decision: Decision) -> Box<Refusal> {
        let (item, needed) = (name.to_owned(), name.to_owned());
        Box::new(Refusal { action: "connect", item, needed, decision, address: None })
    }

    /// Why, one line a reason, escaped.
    pub(super) fn reasons(&self, policy: &Policy) -> Vec<String> {
        let mut reasons = remedy::reasons(policy, &self.decision);
        if let Some(address) = self.address {
            reasons.push(format!("the name leads to {address}"));
        }
        reasons
    }

    /// The rules that refused it.
    pub(super) fn rules(&self, policy: &Policy) -> Vec<EventRule> {
        match &self.decision.reason {
            Reason::Rules(rules) => rules.iter().filter_map(|id| EventRule::of(policy, *id)).collect(),
            _ => Vec::new(),
        }
    }

    /// The line that would allow it.
    pub(super) fn remedy(&self, policy: &Policy) -> Option<String> {
        remedy::remedy(policy, self.action, Some(&self.needed), &self.decision)
    }
}

/// The longest item that is told: it is kept, and somebody else chooses it.
const LONGEST: usize = 300;

fn short(item: String) -> String {
    match item.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", item.get(..end).unwrap_or("")),
        None => item,
    }
}
