//! The reference: whether a policy allows something in a world, and by which rules.
//!
//! It looks at every rule. What it says is the meaning of a policy; whatever is faster has to agree with it.

use std::collections::BTreeSet;

use crate::bytes::AbsolutePath;
use crate::cover::{
    CLOSED_CALLS, HostAsked, NameAsked, PathAsked, PortAsked, RequestAsked, SshAsked, StartAsked,
    always_closed, each_address, is_below, is_open_device, is_own_process, program_is_closed, rule_covers,
};
use crate::pattern::{Polarity, Root, path_value};
use crate::policy::{Effect, NameAction, PathAction, Policy, Rule, RuleId, SecretHolder, Subject};
use crate::question::{Decision, Destination, Question, Reason, Start, Verdict};
use crate::world::World;

/// Answers a question about a policy.
///
/// If a `never` or `deny` covers it, it is denied, by all of those; else if an `allow` does, it is allowed, by all
/// of those; else it is denied, because nothing allows it. The order of rules has no part in it.
#[must_use]
pub fn decide(policy: &Policy, world: &World, question: &Question) -> Decision {
    decide_among(policy, Among::All, world, question)
}

/// The rules that are asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Among<'a> {
    /// Every rule: what the answer means.
    All,
    /// These, in their order, which hold every rule that covers the question.
    These(&'a [RuleId], Unset),
}

/// Whether a variable that a closing item begins with has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unset {
    /// Each has one.
    None,
    /// One may have none.
    Some,
}

/// A policy and those of its rules that are asked.
#[derive(Clone, Copy)]
struct Rules<'a> {
    policy: &'a Policy,
    among: Among<'a>,
}

/// Answers a question by asking some of the rules.
pub(crate) fn decide_among(
    policy: &Policy,
    among: Among<'_>,
    world: &World,
    question: &Question,
) -> Decision {
    let policy = Rules { policy, among };
    match question {
        Question::Path { action, path } => decide_path(policy, world, *action, path),
        Question::Run(start) => match StartAsked::new(world, start) {
            Ok(asked) => settle(sides(policy, world, |subject, polarity| match subject {
                Subject::Run { items, except } => rule_covers(&asked, items, except, polarity),
                _ => false,
            })),
            Err(error) => closed(&error.to_string()),
        },
        Question::Connect(destination) => {
            each_address(world, destination, |host| decide_host(policy, world, host))
        }
        Question::Http { method, destination, path } => each_address(world, destination, |host| {
            decide_request(policy, world, host, &RequestAsked::new(host, method, path))
        }),
        Question::Listen(port) => settle(sides(policy, world, |subject, polarity| match subject {
            Subject::Listen { items, except } => rule_covers(&PortAsked(*port), items, except, polarity),
            _ => false,
        })),
        Question::Name { action, name } => decide_name(policy, world, *action, name),
        Question::Ssh { destination, command } => decide_ssh(policy, world, destination, command),
        Question::Tty => settle(sides(policy, world, |subject, _| *subject == Subject::Tty)),
    }
}

/// The rules that cover a question, on each side.
struct Sides {
    closing: Vec<RuleId>,
    opening: Vec<RuleId>,
}

/// Asks every rule of the world's platform. `covers` says whether a rule about this covers the question.
fn sides(policy: Rules<'_>, world: &World, covers: impl Fn(&Subject, Polarity) -> bool) -> Sides {
    let mut sides = Sides { closing: Vec::new(), opening: Vec::new() };
    for (id, rule) in rules(policy, world) {
        let (side, polarity) = match rule.effect {
            Effect::Allow => (&mut sides.opening, Polarity::Opening),
            Effect::Deny | Effect::Never => (&mut sides.closing, Polarity::Closing),
        };
        if covers(&rule.subject, polarity) {
            side.push(id);
        }
    }
    sides
}

fn rules<'p>(rules: Rules<'p>, world: &World) -> impl Iterator<Item = (RuleId, &'p Rule)> {
    let platform = world.platform;
    let here = move |rule: &Rule| rule.platform.is_none_or(|named| named == platform);
    let (all, these) = match rules.among {
        Among::All => (rules.policy.rules.as_slice(), [].as_slice()),
        Among::These(these, _) => ([].as_slice(), these),
    };
    let these = these.iter().filter_map(move |id| Some((*id, rules.policy.rules.get(id.0 as usize)?)));
    (0..).map(RuleId).zip(all).chain(these).filter(move |(_, rule)| here(rule))
}

fn settle(sides: Sides) -> Decision {
    match (sides.closing.is_empty(), sides.opening.is_empty()) {
        (false, _) => decision(Verdict::Denied, Reason::Rules(sides.closing)),
        (true, false) => decision(Verdict::Allowed, Reason::Rules(sides.opening)),
        (true, true) => decision(Verdict::Denied, Reason::NothingAllows),
    }
}

fn decision(verdict: Verdict, reason: Reason) -> Decision {
    Decision { verdict, reason, assumptions: Vec::new() }
}

fn closed(why: &str) -> Decision {
    decision(Verdict::Denied, Reason::AlwaysClosed(why.to_owned()))
}

fn decide_path(policy: Rules<'_>, world: &World, action: PathAction, path: &AbsolutePath) -> Decision {
    let asked = match PathAsked::new(world, path) {
        Ok(asked) => asked,
        Err(error) => return closed(&error.to_string()),
    };
    let device = is_below(&asked, "/dev") && matches!(action, PathAction::Read | PathAction::Write);
    let closes: &[PathAction] = match action {
        // What may not be executed may not be read either: a loader or a copy would run it.
        PathAction::Read if device => &[PathAction::Read, PathAction::Exec, PathAction::Device],
        PathAction::Read => &[PathAction::Read, PathAction::Exec],
        PathAction::Write if device => &[PathAction::Write, PathAction::Device],
        _ => std::slice::from_ref(&action),
    };
    let opens = if device { PathAction::Device } else { action };
    let sides = sides(policy, world, |subject, polarity| match (subject, polarity) {
        (Subject::Path { actions, items, except }, Polarity::Opening) => {
            actions.contains(&opens) && rule_covers(&asked, items, except, polarity)
        }
        (Subject::Path { actions, items, except }, Polarity::Closing) => {
            actions.iter().any(|named| closes.contains(named)) && rule_covers(&asked, items, except, polarity)
        }
        (Subject::Run { .. }, Polarity::Closing) => {
            action == PathAction::Read && program_is_closed(subject, world, path, &asked)
        }
        _ => false,
    });
    let always = match action {
        PathAction::Write => always_closed(world, &asked),
        _ => None,
    };
    let mut decision = match always {
        Some(why) if sides.closing.is_empty() => closed(why),
        _ if sides.closing.is_empty() && is_open_device(&asked, action) => {
            decision(Verdict::Allowed, Reason::AlwaysOpen("a device that is always there".to_owned()))
        }
        _ if sides.closing.is_empty()
            && sides.opening.is_empty()
            && is_own_process(world, &asked, action) =>
        {
            decision(
                Verdict::Allowed,
                Reason::AlwaysOpen("`/proc` shows the sandbox's own processes".to_owned()),
            )
        }
        _ => settle(sides),
    };
    decision.assumptions = without_value(policy, world, closes);
    decision
}

/// Says which closing items cover nothing because their variable has no value.
fn without_value(policy: Rules<'_>, world: &World, actions: &[PathAction]) -> Vec<String> {
    let mut said = BTreeSet::new();
    let policy = match policy.among {
        Among::All => policy,
        Among::These(_, Unset::None) => return Vec::new(),
        // What covers nothing is among the rules that were not found.
        Among::These(_, Unset::Some) => Rules { among: Among::All, ..policy },
    };
    for (_, rule) in rules(policy, world).filter(|(_, rule)| rule.effect != Effect::Allow) {
        let Subject::Path { actions: named, items, .. } = &rule.subject else { continue };
        for item in items.iter().filter(|_| named.iter().any(|action| actions.contains(action))) {
            if let Root::Variable(variable) = &item.pattern.root
                && !variable.is_optional()
                && path_value(variable, &world.variables).is_err()
            {
                said.insert(format!("`{variable}` has no value, so `{}` covers nothing", item.text));
            }
        }
    }
    said.into_iter().collect()
}

fn decide_host(policy: Rules<'_>, world: &World, host: HostAsked<'_>) -> Decision {
    let needs = host.needs();
    let mut sides = sides(policy, world, |subject, polarity| match (subject, polarity) {
        (Subject::Connect { items, except }, Polarity::Closing) => {
            items.iter().any(|item| host.closes(&item.pattern)) && !host.all_opened_by(except)
        }
        (Subject::Connect { items, except }, Polarity::Opening) => {
            items.iter().any(|item| needs.iter().any(|need| host.opens(&item.pattern, *need)))
                && !except.iter().any(|item| host.closes(&item.pattern))
        }
        _ => false,
    });
    // A name and an internal address behind it may be opened by two rules: both are needed.
    let opened = |need| {
        sides.opening.iter().filter_map(|id| policy.policy.rules.get(id.0 as usize)).any(|rule| {
            match &rule.subject {
                Subject::Connect { items, .. } => items.iter().any(|item| host.opens(&item.pattern, need)),
                _ => false,
            }
        })
    };
    if !needs.iter().all(|need| opened(*need)) {
        sides.opening.clear();
    }
    let mut decision = settle(sides);
    if host.is_localhost() || host.address.is_some_and(|address| address.to_canonical().is_loopback()) {
        decision
            .assumptions
            .push("the host's loopback is meant: the sandbox's own is always open inside".to_owned());
    }
    decision
}

/// A request needs its host to be allowed; where an `allow http` is about this host, it also needs one of those.
fn decide_request(
    policy: Rules<'_>,
    world: &World,
    host: HostAsked<'_>,
    asked: &RequestAsked<'_>,
) -> Decision {
    let sides = sides(policy, world, |subject, polarity| match subject {
        Subject::Http { items, except } => rule_covers(asked, items, except, polarity),
        _ => false,
    });
    let connect = decide_host(policy, world, host);
    if !sides.closing.is_empty() || connect.verdict == Verdict::Denied {
        return if sides.closing.is_empty() { connect } else { settle(sides) };
    }
    let narrowed = rules(policy, world).any(|(_, rule)| match &rule.subject {
        Subject::Http { items, .. } => {
            rule.effect == Effect::Allow && items.iter().any(|item| asked.is_about_host(&item.pattern))
        }
        _ => false,
    });
    if narrowed { Decision { assumptions: connect.assumptions, ..settle(sides) } } else { connect }
}

fn decide_name(policy: Rules<'_>, world: &World, action: NameAction, name: &str) -> Decision {
    let sides = sides(policy, world, |subject, polarity| match subject {
        Subject::Name { action: named, items, except } => {
            *named == action && rule_covers(&NameAsked(name), items, except, polarity)
        }
        _ => false,
    });
    let secret = policy
        .policy
        .secrets
        .iter()
        .any(|secret| matches!(&secret.holder, SecretHolder::Env(held) if held == name));
    match action {
        _ if !sides.closing.is_empty() => settle(sides),
        NameAction::Env if secret => closed("a `secret env` holds this variable"),
        NameAction::Syscall if CLOSED_CALLS.contains(&name) => closed("no rule opens this call"),
        NameAction::Syscall if name == "ptrace" => decision(
            Verdict::Allowed,
            Reason::AlwaysOpen("tracing among the sandbox's own processes".to_owned()),
        ),
        _ => settle(sides),
    }
}

fn decide_ssh(policy: Rules<'_>, world: &World, destination: &Destination, command: &[String]) -> Decision {
    let start =
        command.first().map(|first| Start { asked: first.clone(), resolved: None, argv: command.to_vec() });
    let command = match start.as_ref().map(|start| StartAsked::new(world, start)).transpose() {
        Ok(command) => command,
        Err(error) => return closed(&error.to_string()),
    };
    let host = HostAsked {
        world,
        name: destination.name.as_ref(),
        address: destination.address,
        port: destination.port,
    };
    let asked = SshAsked { host, command };
    settle(sides(policy, world, |subject, polarity| match subject {
        Subject::Ssh { items, except } => rule_covers(&asked, items, except, polarity),
        _ => false,
    }))
}
