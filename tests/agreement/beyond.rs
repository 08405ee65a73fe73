//! What is asked inside beside files: which variables arrive, and what the proxy connects to.
//!
//! Nothing leaves the machine: the caller names a proxy of its own, which is this test, and agrees to everything. It
//! resolves nothing, and neither does fence then.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use fence_compiler::decide::decide;
use fence_compiler::policy::{NameAction, Policy};
use fence_compiler::question::{Decision, Destination, Question};
use fence_compiler::world::World;

use crate::connections;

/// The value of every variable that is asked about.
const VALUE: &str = "agreed";

/// The most connections that are asked for under one policy.
pub const MOST: usize = 60;

/// What a process needs to run at all, and what it is told for the sake of the test.
const NEEDED: [&str; 11] = [
    "PATH",
    "HOME",
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "NO_PROXY",
    "PWD",
];

/// A question, as the prober is asked it, and what is decided.
pub struct Beyond {
    pub line: String,
    pub decision: Decision,
}

impl Beyond {
    /// The variable that it is about.
    pub fn variable(&self) -> Option<&str> {
        self.line.strip_prefix("env ")
    }
}

/// The questions about a policy, with at most so many connections.
pub fn questions(policy: &Policy, world: &World, most: usize) -> Vec<Beyond> {
    let (mut variables, mut connections) = (BTreeSet::new(), BTreeMap::new());
    for question in connections::questions(policy) {
        match &question {
            Question::Name { action: NameAction::Env, name } if !NEEDED.contains(&name.as_str()) => {
                variables.insert(name.clone());
            }
            Question::Connect(Destination { name: Some(name), address: None, port }) => {
                connections.insert(format!("{name} {port}"), question);
            }
            Question::Connect(Destination { name: None, address: Some(address), port }) => {
                connections.insert(format!("{address} {port}"), question);
            }
            _ => {}
        }
    }
    let every = connections.len().div_ceil(most.max(1)).max(1);
    let variables = variables
        .into_iter()
        .map(|name| (format!("env {name}"), Question::Name { action: NameAction::Env, name }));
    let connections = connections
        .into_iter()
        .step_by(every)
        .take(most)
        .map(|(line, question)| (format!("connect {line}"), question));
    variables
        .chain(connections)
        .map(|(line, question)| Beyond { line, decision: decide(policy, world, &question) })
        .collect()
}

/// What the caller's environment has: every variable that is asked about, and where its proxy is.
pub fn environment(asked: &[Beyond], proxy: u16) -> BTreeMap<String, String> {
    let variables = asked.iter().filter_map(|one| one.variable());
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    variables
        .map(|name| (name.to_owned(), VALUE.to_owned()))
        .chain(proxies.map(|name| (name.to_owned(), format!("http://127.0.0.1:{proxy}"))))
        .collect()
}

/// Starts the caller's proxy, which lasts as long as this process; its port.
pub fn start_proxy() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || agree(stream));
        }
    });
    port
}

fn agree(stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
    let mut lines = BufReader::new(&stream).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n");
}

/// Inside: whether a variable has arrived.
pub fn arrives(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == VALUE)
}

/// Inside: whether the proxy that the command is told of connects to `HOST PORT`. Without one, nobody does.
pub fn connects(destination: &str) -> bool {
    asks(destination).unwrap_or(false)
}

fn asks(destination: &str) -> Option<bool> {
    let proxy = std::env::var("HTTP_PROXY").ok()?;
    let (host, port) = destination.split_once(' ')?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut stream = TcpStream::connect(proxy.strip_prefix("http://")?.trim_end_matches('/')).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n").ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    // Whatever else keeps it from connecting, the policy did not.
    Some(!status.ends_with(b"403"))
}
