//! Questions about everything but files, for the two deciders: hosts, ports, commands and names near what rules say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fence_compiler::pattern::{BuiltInScope, DomainName, HostPattern, PortRange};
use fence_compiler::policy::{NameAction, Policy, Subject};
use fence_compiler::question::{Destination, Question, Start};
use fence_compiler::source::SourceId;

/// Addresses that are internal in one way or another, and some that are not.
const ADDRESSES: [&str; 18] = [
    "127.0.0.1",
    "127.8.9.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "93.184.216.34",
    "2606:2800:220:1::1",
];

/// The questions.
pub fn questions(policy: &Policy) -> Vec<Question> {
    let mut names: BTreeSet<String> = ["example.com".to_owned(), "localhost".to_owned()].into();
    let mut ports: BTreeSet<u16> = [1, 22, 80, 443, 65535].into();
    let mut addresses: BTreeSet<IpAddr> = ADDRESSES.iter().map(|text| text.parse().unwrap()).collect();
    let mut asked: Vec<Question> = vec![Question::Tty];
    for rule in &policy.rules {
        match &rule.subject {
            Subject::Connect { items, except } => {
                for item in items.iter().chain(except) {
                    host(&item.pattern.host, &mut names, &mut addresses);
                    near(&item.pattern.ports.unwrap_or(PortRange::ALL), &mut ports);
                }
            }
            Subject::Http { items, except } => {
                for item in items.iter().chain(except) {
                    host(&item.pattern.host, &mut names, &mut addresses);
                }
            }
            Subject::Listen { items, except } => {
                for item in items.iter().chain(except) {
                    near(&item.pattern, &mut ports);
                }
            }
            Subject::Run { items, except } => {
                for item in items.iter().chain(except) {
                    let words: Vec<String> = item.text.split_whitespace().map(str::to_owned).collect();
                    asked.extend(commands(&words));
                }
            }
            Subject::Name { items, except, .. } => {
                for item in items.iter().chain(except) {
                    let name = item.text.replace('*', "X");
                    for name in [name.clone(), format!("{name}X"), format!("X{name}")] {
                        for action in [NameAction::Env, NameAction::Syscall, NameAction::MachLookup] {
                            asked.push(Question::Name { action, name: name.clone() });
                        }
                    }
                }
            }
            _ => {}
        }
    }
    for port in &ports {
        asked.push(Question::Listen(*port));
        for address in &addresses {
            asked.push(connect(None, Some(*address), *port));
        }
    }
    let scope = BuiltInScope { source: SourceId(0) };
    for name in &names {
        let Ok(name) = DomainName::parse(name, &scope) else { continue };
        for port in &ports {
            asked.push(connect(Some(name.clone()), None, *port));
            for address in ["127.0.0.1", "10.0.0.1", "93.184.216.34"] {
                asked.push(connect(Some(name.clone()), Some(address.parse().unwrap()), *port));
            }
            let destination = Destination { name: Some(name.clone()), address: None, port: *port };
            asked.push(Question::Http { method: "GET".to_owned(), destination, path: "/x".to_owned() });
        }
    }
    asked
}

fn connect(name: Option<DomainName>, address: Option<IpAddr>, port: u16) -> Question {
    Question::Connect(Destination { name, address, port })
}

fn host(pattern: &HostPattern, names: &mut BTreeSet<String>, addresses: &mut BTreeSet<IpAddr>) {
    match pattern {
        HostPattern::Name(name) | HostPattern::Below(name) => {
            let name = name.to_string();
            names.extend([
                format!("sub.{name}"),
                format!("a.b.{name}"),
                format!("x{name}"),
                format!("{name}x"),
            ]);
            names.extend(name.split_once('.').map(|(_, above)| above.to_owned()));
            names.insert(name);
        }
        HostPattern::Block(block) => {
            addresses.insert(block.network());
            addresses.insert(block.broadcast());
        }
        _ => {}
    }
}

fn near(range: &PortRange, ports: &mut BTreeSet<u16>) {
    for port in [range.low, range.high] {
        ports.extend([port.saturating_sub(1).max(1), port, port.saturating_add(1)]);
    }
}

fn commands(words: &[String]) -> Vec<Question> {
    let Some((program, rest)) = words.split_first() else { return Vec::new() };
    let start = |asked: &str, rest: Vec<String>| {
        let argv = std::iter::once(asked.to_owned()).chain(rest).collect();
        Question::Run(Start { asked: asked.to_owned(), resolved: None, argv })
    };
    let more = |word: &str| rest.iter().cloned().chain([word.to_owned()]).collect::<Vec<_>>();
    vec![
        start(program, rest.to_vec()),
        start(program, more("--force")),
        start(&format!("/usr/bin/{program}"), rest.to_vec()),
        start(&format!("{program}x"), rest.to_vec()),
        start(program, Vec::new()),
        start("sh", vec!["-c".to_owned(), words.join(" ")]),
    ]
}
