//! The plan as a person reads it.

use std::fmt::Write;

use super::{
    AddressBlock, CallRule, Condition, Devices, Executing, Keep, LandlockRule, LimitMechanism, LinuxPlan,
    MaskKind, Mediated, MemfdPlan, Mount, NameBlock, NetworkPlan, ProcKind, TerminalPlan, TreeKind, Writing,
};
use crate::bytes;
use crate::fidelity::limit_name;
use crate::pattern::PortRange;
use crate::policy::{LimitKind, Policy, RuleId, Tls};

/// Writes a plan down: what the file tree is made of, in order, and everything else that is applied, with the
/// rules it is there for.
#[must_use]
pub fn text(plan: &LinuxPlan, policy: &Policy) -> String {
    let mut out = String::new();
    section(&mut out, "file tree, in order", plan.mounts.iter().map(|mount| mount_line(mount, policy)));
    section(&mut out, "Landlock allows", plan.landlock.rules.iter().map(landlock_line));
    section(&mut out, "system calls refused", plan.seccomp.iter().map(call_line));
    section(&mut out, "network", network_lines(&plan.network).into_iter());
    let set = plan.environment.set.iter().map(|(name, value)| {
        format!("set {} = {}", bytes::escape(name.as_bytes()), bytes::escape(value.as_bytes()))
    });
    let pass = plan.environment.pass.iter().map(|name| format!("pass {}", bytes::escape(name.as_bytes())));
    section(&mut out, "environment", pass.chain(set));
    section(
        &mut out,
        "limits",
        plan.limits.iter().map(|limit| {
            let by = match limit.by {
                LimitMechanism::Rlimit => "of each process (setrlimit)",
                LimitMechanism::Timer => "by a timer of fence",
                LimitMechanism::PidMax => "by the pid namespace (kernel.pid_max)",
                LimitMechanism::Cgroup => "of all of the sandbox together (cgroup)",
            };
            format!("{} {} {by}", limit_name(limit.kind), amount(limit.kind, limit.amount))
        }),
    );
    let terminal = match plan.terminal {
        TerminalPlan::Kept => "terminal kept",
        TerminalPlan::None => "no terminal: a session of its own",
    };
    let memory = match plan.memfd {
        MemfdPlan::NeverExecutable => "files in memory are never executable (vm.memfd_noexec)",
        MemfdPlan::Unrestricted => "files in memory may be anything",
    };
    let cwd = format!("starts in {}", plan.cwd);
    section(&mut out, "command", [terminal.to_owned(), memory.to_owned(), cwd].into_iter());
    let judged = plan.mediated.iter().map(|kind| match kind {
        Mediated::Starts => "each start of a program, by its file and arguments".to_owned(),
        Mediated::Writes => {
            "each call that writes files, by what it reaches; it is carried out there".to_owned()
        }
        Mediated::Reads => {
            "each call that opens files or directories, by what it reaches; it is opened there".to_owned()
        }
        Mediated::Sockets => {
            "each connection to a Unix socket, by what it reaches; it is made there".to_owned()
        }
    });
    section(&mut out, "judged from outside", judged);
    out
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "{title}");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

fn mount_line(mount: &Mount, policy: &Policy) -> String {
    match mount {
        Mount::Directory { at, mode } => format!("directory {at} ({mode:04o})"),
        Mount::Link { at, target } => format!("link      {at} -> {}", target.escaped()),
        Mount::Tree { at, kind, writing, executing, devices, rules, .. } => {
            let mut how = vec![if *writing == Writing::Allowed { "read-write" } else { "read-only" }];
            if *executing == Executing::Refused {
                how.push("noexec");
            }
            if *devices == Devices::Allowed {
                how.push("devices");
            }
            let what = if *kind == TreeKind::Directory { "tree     " } else { "file     " };
            format!("{what} {at} ({}){}", how.join(", "), by(rules, policy))
        }
        Mount::Mask { at, kind, rules } => {
            let what = match kind {
                MaskKind::File => "a file of mode 000",
                MaskKind::Directory => "a directory of mode 000",
                MaskKind::Passage => "a directory that can only be passed",
            };
            format!("mask      {at} ({what}){}", by(rules, policy))
        }
        Mount::Pin { at, rules } => format!("pin       {at}{}", by(rules, policy)),
        Mount::Proc { at, how: ProcKind::Fresh } => format!("proc      {at} (the sandbox's own processes)"),
        Mount::Proc { at, how: ProcKind::Bound } => format!("proc      {at} (the host's, read-only)"),
        Mount::Dev { at, devices } => {
            let more: String = devices.iter().map(|device| format!(", {device}")).collect();
            format!("dev       {at} (minimal{more})")
        }
        Mount::Names { at, .. } => format!("names     {at} (fence's own)"),
        Mount::Layer { over, keep, .. } => format!("layer     over {over} ({})", kept(keep)),
        Mount::Overlaid { over, at, kind, writing, executing, rules } => {
            let mut how = vec![if *writing == Writing::Allowed { "read-write" } else { "read-only" }];
            if *executing == Executing::Refused {
                how.push("noexec");
            }
            let what = if *kind == TreeKind::Directory { "tree     " } else { "file     " };
            format!("{what} {at} ({}, by the layer over {over}){}", how.join(", "), by(rules, policy))
        }
        Mount::Copy { at, keep, executing, rules, .. } => {
            let how = if *executing == Executing::Refused { "read-write, noexec" } else { "read-write" };
            format!("copy      {at} ({how}; {}){}", kept(keep), by(rules, policy))
        }
        Mount::Private { at, executing, .. } => {
            let how = if *executing == Executing::Refused { "empty, noexec" } else { "empty" };
            format!("private   {at} ({how})")
        }
    }
}

/// Where what is written goes.
fn kept(keep: &Keep) -> String {
    match keep {
        Keep::Run => "what is written is gone at the end".to_owned(),
        Keep::Kept(place) => format!("what is written is kept in {place}"),
    }
}

fn network_lines(network: &NetworkPlan) -> Vec<String> {
    let NetworkPlan::Judged(judged) = network else {
        return vec!["none but the sandbox's own loopback".to_owned()];
    };
    let mut lines = Vec::new();
    for NameBlock { block, ports: allowed } in &judged.names {
        lines.push(format!("names     on {} are answered from {block}", ports(allowed)));
    }
    for AddressBlock { block, ports: allowed } in &judged.addresses {
        lines.push(format!("addresses {block} on {}", ports(allowed)));
    }
    if !judged.host_ports.is_empty() {
        lines.push(format!("loopback  on {} is the host's", ports(&judged.host_ports)));
    }
    if judged.proxy.port() == 0 {
        lines.push(format!(
            "proxy     {}, on a port of the run's own; nothing else is reached",
            judged.proxy.ip()
        ));
    } else {
        lines.push(format!("resolver  {}", judged.resolver));
        lines.push(format!("proxy     {}", judged.proxy));
    }
    lines.push(match judged.tls {
        Tls::Strict => "tls       strict".to_owned(),
        Tls::Relaxed => "tls       relaxed".to_owned(),
    });
    for (kind, time) in
        [(LimitKind::ConnectTime, judged.connect_time), (LimitKind::IdleTime, judged.idle_time)]
    {
        lines.extend(
            time.map(|time| format!("{} {} of each connection", limit_name(kind), amount(kind, time))),
        );
    }
    lines
}

fn ports(ranges: &[PortRange]) -> String {
    match ranges {
        [PortRange::ALL] => "every port".to_owned(),
        [one] if one.low == one.high => format!("port {one}"),
        _ => format!("ports {}", ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// The rules, by label or by file and line.
fn by(rules: &[RuleId], policy: &Policy) -> String {
    let names: Vec<String> = rules.iter().filter_map(|rule| name(*rule, policy)).collect();
    if names.is_empty() { String::new() } else { format!("  for {}", names.join(", ")) }
}

/// What messages call a rule: its label, and its file and line.
pub(crate) fn name(rule: RuleId, policy: &Policy) -> Option<String> {
    let rule = policy.rules.get(rule.0 as usize)?;
    let source =
        policy.sources.get(rule.written.source.0 as usize).map_or("?", |source| source.name.as_str());
    let place = format!("{}:{}", bytes::escape(source.as_bytes()), rule.written.line);
    Some(rule.label.as_ref().map_or_else(|| place.clone(), |label| format!("{label} ({place})")))
}

fn landlock_line(rule: &LandlockRule) -> String {
    let rights =
        [(rule.read, "read"), (rule.write, "write"), (rule.execute, "execute"), (rule.device, "ioctl")];
    let rights: Vec<&str> = rights.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    format!("{} below {}", rights.join(", "), rule.path)
}

fn call_line(rule: &CallRule) -> String {
    let always = rule.when.iter().all(|when| *when == Condition::Always);
    let when: Vec<String> = rule.when.iter().map(condition).collect();
    let when = if always { String::new() } else { format!(" when {}", when.join(" or ")) };
    format!("{}{when}: {}, {}", rule.calls.join(", "), rule.errno, rule.reason)
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Always => "always".to_owned(),
        Condition::Equals { argument, width, mask, value } => {
            let whole = *width >= 64 || u128::from(*mask) + 1 == 1 << *width;
            let masked = if whole { String::new() } else { format!(" & {mask:#x}") };
            format!("argument {argument} ({width} bits){masked} is {value:#x}")
        }
        Condition::AnyBit { argument, width, bits } => {
            format!("argument {argument} ({width} bits) has any of {bits:#x}")
        }
        Condition::All(all) => all.iter().map(self::condition).collect::<Vec<_>>().join(" and "),
        Condition::NoneOf { argument, width, values } => {
            let values: Vec<String> = values.iter().map(u64::to_string).collect();
            format!("argument {argument} ({width} bits) is none of {}", values.join(", "))
        }
    }
}

fn amount(kind: LimitKind, amount: u64) -> String {
    match kind {
        LimitKind::Time | LimitKind::Cpu | LimitKind::ConnectTime | LimitKind::IdleTime => {
            format!("{amount} ms")
        }
        LimitKind::Memory | LimitKind::FileSize => format!("{amount} bytes"),
        LimitKind::Processes | LimitKind::Files => amount.to_string(),
    }
}
