//! A port that is offered, with many connections at once, again after a run, and when somebody has it.
//!
//! `FENCE_PUBLISHED` says how many connections; all of them stand before the first moves its bytes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::harness::{Ending, Person, Scene, Suite, free_port};

/// What each connection moves in either direction.
const BYTES: usize = 64 * 1024;

/// Answers with the hash of what it was sent, and then with the same bytes.
const ECHO: &str = r"import asyncio, hashlib, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
async def echo(reader, writer):
    writer.write(await reader.readexactly(1))
    sent = await reader.readexactly(int(sys.argv[2]))
    writer.write(hashlib.sha256(sent).digest() + sent)
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, '127.0.0.1', int(sys.argv[1]), backlog=4096)
    await server.serve_forever()
asyncio.run(main())
";

/// Adds a test for each person.
pub(super) fn add(suite: &mut Suite) {
    for person in Person::everybody() {
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add(
            "a port is offered to many at once, again after a run, and never twice",
            &person,
            move || published(&Scene::new(&ground, &someone, &[], &[])),
        );
    }
}

fn published(scene: &Scene) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let many = std::env::var("FENCE_PUBLISHED").ok().and_then(|said| said.parse().ok()).unwrap_or(100);
    let port = free_port();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
    std::fs::write(scene.path("{work}/echo.py"), ECHO).map_err(text)?;
    let fence = scene.fence().display().to_string();
    let (offer, bytes) = (format!("{port}:7777"), BYTES.to_string());
    let words = |command: &[&str]| {
        let run = [
            fence.as_str(),
            "run",
            "-p",
            "default",
            "--rule",
            "allow listen 7777",
            "--publish",
            &offer,
            "--",
        ];
        scene.start().words(run.iter().chain(command).map(|word| (*word).to_owned()))
    };
    let refused = words(&["true"]).run();
    if refused.ending != Ending::Code(125) || !refused.err().contains(&format!("cannot publish port {port}"))
    {
        return Err(format!("somebody has the port: {:?}\n{}", refused.ending, refused.err()));
    }
    drop(taken);
    for _ in 0..2 {
        let mut server = words(&["/usr/bin/python3", "echo.py", "7777", &bytes]).spawn().map_err(text)?;
        let moved = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(text)?
            .block_on(async { tokio::time::timeout(Duration::from_secs(300), all(port, many)).await });
        let memory = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap_or_default();
        let memory = memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).unwrap_or(i32::MAX));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let ended = server.wait().map_err(text)?;
        match moved {
            Ok(Ok(took)) => println!("{many} connections in {:.1} s; fence: {memory}", took.as_secs_f64()),
            Ok(Err(error)) => return Err(format!("{error}; fence ended with {ended}")),
            Err(_) => return Err("it stood still".to_owned()),
        }
    }
    Ok(())
}

/// Lets many connections stand, then moves bytes on all of them.
async fn all(port: u16, many: usize) -> Result<Duration, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut standing = Vec::new();
    while standing.len() < many {
        // Until the server inside listens, connections are reset.
        match stands(address).await {
            Ok(stream) => standing.push(stream),
            Err(error) if standing.is_empty() => {
                drop(error);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(format!("connection {}: {error}", standing.len())),
        }
    }
    let begun = Instant::now();
    let mut moving = JoinSet::new();
    for (number, stream) in standing.into_iter().enumerate() {
        moving.spawn(moved(stream, number));
    }
    while let Some(ended) = moving.join_next().await {
        ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    }
    Ok(begun.elapsed())
}

async fn stands(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&[1]).await?;
    stream.read_exact(&mut [0]).await?;
    Ok(stream)
}

async fn moved(stream: TcpStream, number: usize) -> std::io::Result<()> {
    let sent: Vec<u8> =
        (0..BYTES).map(|at| (at.wrapping_mul(31) ^ number ^ (at >> 8)).to_le_bytes()[0]).collect();
    let hash = Sha256::digest(&sent);
    let (mut reads, mut writes) = stream.into_split();
    let back = async {
        let mut hash_back = [0; 32];
        reads.read_exact(&mut hash_back).await?;
        let mut back = Vec::new();
        reads.read_to_end(&mut back).await?;
        Ok::<_, std::io::Error>((hash_back, back))
    };
    let (written, back) = tokio::join!(writes.write_all(&sent), back);
    written?;
    let (hash_back, back) = back?;
    let same = hash_back == hash.as_slice() && Sha256::digest(&back) == hash;
    if same { Ok(()) } else { Err(std::io::Error::other(format!("connection {number} moved other bytes"))) }
}
