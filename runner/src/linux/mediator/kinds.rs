//! Kinds of sockets that are closed always: where calls are answered anyway, these are refused here with the filter's error,
//! so that they can be told.
//!
//! What is asked for stands in numbers that nobody changes afterwards.

use fence_compiler::plan::{CallRule, Condition};
use fence_compiler::question::{Decision, Reason, Verdict};
use nix::errno::Errno;

use crate::linux::seccomp::{self, Architecture, Judged};
use crate::linux::sys::notice::Notice;
use crate::preflight::Refusal;

/// The call that makes a socket.
const CALL: &str = "socket";

/// The kinds that are refused.
pub(super) struct Kinds {
    call: Option<i32>,
    rules: Vec<CallRule>,
}

/// Takes what a filter refuses of these out of the rules, and has it wait.
pub(in crate::linux) fn judged(calls: &mut Vec<CallRule>) -> Vec<Judged> {
    let rules = of(calls);
    calls.retain(|rule| !is_one(rule));
    rules.into_iter().flat_map(|rule| rule.when).map(|when| Judged { call: CALL, when }).collect()
}

/// The rules about these, and what the kernel refuses of them by itself.
fn of(calls: &[CallRule]) -> Vec<CallRule> {
    calls.iter().filter(|rule| is_one(rule)).cloned().chain(by_kernel()).collect()
}

fn is_one(rule: &CallRule) -> bool {
    rule.calls == [CALL]
}

const IPV4: u64 = 2;
const IPV6: u64 = 10;
const DATAGRAM: u64 = 2;
const RAW: u64 = 3;
const KIND: u64 = 0xf;

/// Raw packets, and ICMP, which nobody inside has the right to.
fn by_kernel() -> [CallRule; 3] {
    let is = |argument, mask, value| Condition::Equals { argument, width: 32, mask, value };
    let all = u64::from(u32::MAX);
    let of = |family, kind| vec![is(0, all, family), is(1, KIND, kind)];
    let rule = |when: Vec<Vec<Condition>>, errno: &str, reason: &str| CallRule {
        calls: vec![CALL.to_owned()],
        when: when.into_iter().map(Condition::All).collect(),
        errno: errno.to_owned(),
        reason: reason.to_owned(),
    };
    let with = |mut conditions: Vec<Condition>, more| {
        conditions.push(more);
        conditions
    };
    let raw = "only TCP leads out of a sandbox";
    let some = || Condition::NoneOf { argument: 2, width: 32, values: vec![0] };
    [
        rule([IPV4, IPV6].map(|family| with(of(family, RAW), is(2, all, 0))).into(), "EPROTONOSUPPORT", raw),
        rule([IPV4, IPV6].map(|family| with(of(family, RAW), some())).into(), "EPERM", raw),
        rule(
            [(IPV4, 1), (IPV6, 58)].map(|(family, icmp)| with(of(family, DATAGRAM), is(2, all, icmp))).into(),
            "EACCES",
            raw,
        ),
    ]
}

impl Kinds {
    /// What a plan refuses.
    pub(super) fn of(calls: &[CallRule]) -> Kinds {
        let call = Architecture::NATIVE.number(CALL).and_then(|number| i32::try_from(number).ok());
        Kinds { call, rules: of(calls) }
    }

    /// Why a call is refused, if it is one of these, and with which error.
    pub(super) fn refuse(&self, notice: &Notice) -> Option<(Refusal, Errno)> {
        if self.call != Some(notice.call) {
            return None;
        }
        let holds = |rule: &&CallRule| rule.when.iter().any(|when| seccomp::holds(when, &notice.arguments));
        let rule = self.rules.iter().find(holds);
        let reason = rule.map_or("no rule is about it", |rule| rule.reason.as_str());
        let errno = rule.and_then(|rule| seccomp::errno(&rule.errno));
        let decision = Decision {
            verdict: Verdict::Denied,
            reason: Reason::AlwaysClosed(reason.to_owned()),
            assumptions: Vec::new(),
        };
        let refusal = Refusal { action: "connect", item: name(&notice.arguments), decision };
        Some((refusal, errno.map_or(Errno::EACCES, |errno| Errno::from_raw(errno.into()))))
    }
}

/// What a socket would be, in words.
fn name([family, kind, protocol, ..]: &[u64; 6]) -> String {
    let protocol = *protocol as u32;
    let family = match *family as u32 {
        2 => "IPv4".to_owned(),
        10 => "IPv6".to_owned(),
        16 => format!("netlink {protocol}"),
        17 => "packet".to_owned(),
        38 => "alg".to_owned(),
        40 => "vsock".to_owned(),
        family => format!("family {family}"),
    };
    match (family.as_str(), *kind & KIND, protocol) {
        ("IPv4" | "IPv6", DATAGRAM, 1 | 58) => format!("{family} ICMP socket"),
        ("IPv4" | "IPv6", RAW, _) => format!("{family} raw socket"),
        _ => format!("{family} socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answered by itself, and how it is told.
    #[test]
    fn kinds_of_sockets_are_refused_as_the_filter_refuses_them() {
        let rule = |when, errno: &str| CallRule {
            calls: vec![CALL.to_owned()],
            when: vec![when],
            errno: errno.to_owned(),
            reason: "a test".to_owned(),
        };
        let none_of = |argument, values| Condition::NoneOf { argument, width: 32, values };
        let mut calls = vec![
            rule(none_of(0, vec![1, 2, 10, 16]), "EAFNOSUPPORT"),
            CallRule { calls: vec!["socketpair".to_owned()], ..rule(Condition::Always, "EPERM") },
        ];
        let kinds = Kinds::of(&calls);
        let waits = judged(&mut calls);
        assert_eq!(calls.len(), 1);
        let call = kinds.call.unwrap();
        for (arguments, told) in [
            ([1, 2, 0], None),
            ([2, 1, 6], None),
            ([2, 2, 17], None),
            ([10, 2 | 0x80000, 0], None),
            ([17, 3, 0], Some(("packet socket", Errno::EAFNOSUPPORT))),
            ([1 << 32 | 40, 1, 0], Some(("vsock socket", Errno::EAFNOSUPPORT))),
            ([2, 3, 1], Some(("IPv4 raw socket", Errno::EPERM))),
            ([10, 3 | 0x800, 0], Some(("IPv6 raw socket", Errno::EPROTONOSUPPORT))),
            ([2, 2, 1 << 32 | 1], Some(("IPv4 ICMP socket", Errno::EACCES))),
            ([10, 2, 58], Some(("IPv6 ICMP socket", Errno::EACCES))),
        ] {
            let [family, kind, protocol] = arguments;
            let arguments = [family, kind, protocol, 0, 0, 0];
            let holds = waits.iter().any(|judged| seccomp::holds(&judged.when, &arguments));
            assert_eq!(holds, told.is_some(), "{arguments:?}");
            let notice = Notice { listener: -1, id: 0, thread: 0, call, arguments };
            let refused = kinds.refuse(&notice).filter(|_| holds);
            let refused = refused.as_ref().map(|(refusal, errno)| (refusal.item.as_str(), *errno));
            assert_eq!(refused, told);
            assert!(kinds.refuse(&Notice { call: call + 1, ..notice }).is_none());
        }
    }
}
