//! Thousands of connections at once, in bounded memory. It is measured by hand:
//! `cargo test --release -p fence-sandbox --lib thousands -- --ignored --nocapture`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;

use super::scene::{Scene, echo, run};

const CONNECTIONS: usize = 2000;
const BYTES: usize = 1 << 20;
const PEER: &str = "FENCE_TEST_PEER";

/// Bytes that differ from connection to connection.
fn bytes(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()
    };
    (0..BYTES / 8).flat_map(|_| next()).collect()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A connection that holds little in the kernel: what the kernel has for all of them is less than these bytes.
async fn connect(to: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(32 * 1024).unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    socket.connect(to).await.unwrap()
}

/// The other process: the server that sends everything back, and all clients.
async fn peer() {
    let port = echo().await;
    println!("port {port}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let proxy: std::net::SocketAddr = line.trim().parse().unwrap();
    let all = std::rc::Rc::new(Barrier::new(CONNECTIONS));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let all = all.clone();
            tokio::task::spawn_local(async move {
                let mut stream = connect(proxy).await;
                // Everybody is connected before anybody sends.
                stream.write_all(b"\0").await.unwrap();
                assert_eq!(stream.read_u8().await.unwrap(), 0);
                all.wait().await;
                let sent = bytes(number);
                let expected = Sha256::digest(&sent);
                let (mut from, mut to) = stream.into_split();
                let sending = tokio::task::spawn_local(async move {
                    to.write_all(&sent).await.unwrap();
                    to.shutdown().await.unwrap();
                });
                let (mut hash, mut buffer) = (Sha256::new(), vec![0; 16 * 1024]);
                loop {
                    match from.read(&mut buffer).await.unwrap() {
                        0 => break,
                        read => hash.update(&buffer[..read]),
                    }
                }
                sending.await.unwrap();
                assert_eq!(hash.finalize(), expected, "connection {number}");
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    println!("whole");
}

#[test]
#[ignore = "it takes many descriptors, and is a measurement"]
fn thousands_of_connections_move_a_megabyte_each_way() {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    if std::env::var_os(PEER).is_some() {
        return run(peer());
    }
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("proxy::tests::memory::thousands_of_connections_move_a_megabyte_each_way")
        .env(PEER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(other.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = told.find_map(|line| line.split("port ").nth(1)?.parse::<u16>().ok()).unwrap();
    run(async move {
        let scene = Scene::with_port(port, "").await;
        drop(scene.to_name("a.example", port).await);
        let before = resident();
        let started = std::time::Instant::now();
        writeln!(other.stdin.take().unwrap(), "{}", scene.address).unwrap();
        let whole =
            tokio::task::spawn_blocking(move || told.filter(|line| line.contains("whole")).count() == 1);
        let mut most = before;
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
        while !whole.is_finished() {
            tick.tick().await;
            most = most.max(resident());
        }
        assert!(whole.await.unwrap() && other.wait().unwrap().success());
        println!(
            "{CONNECTIONS} connections of {BYTES} bytes each way in {:.1} s; resident memory {before} KiB before, {most} KiB at most",
            started.elapsed().as_secs_f64()
        );
    });
}
