//! Streams of events: each event is there before the next one is made, whichever way they take.
//!
//! The server waits until the client has written down what it was sent, and only then goes on: where anything holds
//! an event back, nothing follows. `FENCE_STREAM_SECONDS` says how long the streams last.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::harness::{Ending, Person, Scene, Suite};

/// How long an event may be on its way before the server gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The ways, and how curl is told to take each.
const WAYS: [(&str, &str); 4] = [
    ("redirected", "--noproxy '*'"),
    ("asked", "--noproxy '' -x http://198.18.0.2:3128"),
    ("connect", "--noproxy '' -p -x http://198.18.0.2:3128"),
    ("socks", "--noproxy '' -x socks5h://198.18.0.2:3128"),
];

/// Adds a test for each person.
pub(super) fn add(suite: &mut Suite) {
    for person in Person::everybody() {
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add_needing(
            "events of a stream arrive one by one, whichever way they take",
            &person,
            &["curl".to_owned()],
            move || streams(&Scene::new(&ground, &someone, &[], &[])),
        );
    }
}

fn streams(scene: &Scene) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let seconds = std::env::var("FENCE_STREAM_SECONDS").ok().and_then(|said| said.parse().ok()).unwrap_or(1);
    let lasts = Duration::from_secs(seconds);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    let port = listener.local_addr().map_err(text)?.port();
    let seen = scene.path("{work}");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok).take(WAYS.len()) {
            let seen = seen.clone();
            thread::spawn(move || serve(stream, &seen, lasts));
        }
    });
    let clients: Vec<String> = WAYS
        .iter()
        .map(|(way, options)| {
            format!(
                "curl -sSN {options} http://localhost:{port}/{way} | while read -r line; do echo \"$line\" >> {way}; done &"
            )
        })
        .collect();
    let sh = format!("{}\nwait", clients.join("\n"));
    let fence = scene.fence().display().to_string();
    let rule = format!("allow connect localhost:{port}");
    let mut start = scene.start().words([fence.as_str(), "run", "-p", "default", "--rule", &rule, "-c", &sh]);
    start.limit = lasts + 2 * PATIENCE;
    let done = start.run();
    for (way, _) in WAYS {
        let written = fs::read_to_string(scene.path("{work}").join(way)).unwrap_or_default();
        if written.lines().last() != Some("data: last") {
            return Err(format!("{way}: {:?}\n{written}{}{}", done.ending, done.out(), done.err()));
        }
        println!("{way}: {} events in {seconds} s, each before the next", written.lines().count());
    }
    if done.ending == Ending::Code(0) { Ok(()) } else { Err(format!("{:?}\n{}", done.ending, done.err())) }
}

/// Sends one event a second, each when the one before was written down.
fn serve(mut stream: TcpStream, seen: &Path, lasts: Duration) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let way: PathBuf = seen.join(head.split(' ').nth(1)?.rsplit('/').next()?);
    let begin = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(begin.as_bytes()).ok()?;
    let started = Instant::now();
    let mut number = 0;
    loop {
        number += 1;
        send(&mut stream, &format!("data: {number}\n"))?;
        let sent = Instant::now();
        while fs::read_to_string(&way).unwrap_or_default().lines().count() < number {
            if sent.elapsed() > PATIENCE {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if started.elapsed() >= lasts {
            break;
        }
        thread::sleep(Duration::from_secs(1).min(lasts));
    }
    send(&mut stream, "data: last\n")?;
    stream.write_all(b"0\r\n\r\n").ok()
}

fn send(stream: &mut TcpStream, event: &str) -> Option<()> {
    write!(stream, "{:x}\r\n{event}\r\n", event.len()).ok()
}
