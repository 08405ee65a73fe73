use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scene::{Given, Scene, all, echo, run, serving, web};

/// The ClientHello of a client that asks for a name, or for an address and so for none.
pub(super) fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// What comes back of some bytes, and how the connection ended.
async fn sent(mut stream: TcpStream, bytes: &[u8]) -> (Vec<u8>, Option<ErrorKind>) {
    if let Err(error) = stream.write_all(bytes).await {
        return (Vec::new(), Some(error.kind()));
    }
    let _ = stream.shutdown().await;
    let mut back = Vec::new();
    let ended = stream.read_to_end(&mut back).await;
    (back, ended.err().map(|error| error.kind()))
}

#[test]
fn a_name_and_a_port_decide_for_a_program_that_knows_of_no_proxy() {
    run(async {
        let port = echo().await;
        let scene = Scene::with_port(port, "").await;
        assert_eq!(
            sent(scene.to_name("a.example", port).await, b"\0hello").await,
            (b"\0hello".to_vec(), None)
        );
        let refused = sent(scene.to("198.19.0.9:443".parse().unwrap()).await, b"\0hello").await;
        assert_eq!(refused.1, Some(ErrorKind::ConnectionReset));
        let refused = sent(scene.to("192.0.2.1:443".parse().unwrap()).await, b"\0hello").await;
        assert_eq!(refused.1, Some(ErrorKind::ConnectionReset));
        let refused = scene.refused();
        assert_eq!(refused[1], "refused connect 192.0.2.1:443: nothing allows it");
        assert!(refused[0].contains("no name stands for this address"), "{refused:?}");
    });
}

#[test]
fn the_hosts_loopback_is_reached_by_either_address() {
    run(async {
        let port = echo().await;
        let scene =
            Scene::new(Given { rules: &format!("allow connect localhost:{port}"), ..Given::default() }).await;
        for meant in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let back =
                sent(scene.to(meant.parse::<SocketAddr>().unwrap()).await, b"GET / HTTP/1.1\r\n\r\n").await;
            assert_eq!(back, (b"GET / HTTP/1.1\r\n\r\n".to_vec(), None), "{meant}");
        }
        let other = scene.to("127.0.0.1:1".parse().unwrap()).await;
        assert_eq!(sent(other, b"x").await.1, Some(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_name_never_leads_to_an_internal_address_by_resolving_to_it() {
    run(async {
        let port = echo().await;
        let rules = format!("allow connect a.example:{port}, b.example:{port}");
        let hosts = [("a.example", "127.0.0.1"), ("b.example", "169.254.169.254"), ("b.example", "::1")];
        let scene = Scene::new(Given { rules: &rules, hosts: &hosts, ..Given::default() }).await;
        for name in ["a.example", "b.example"] {
            let ended = sent(scene.to_name(name, port).await, b"\0").await;
            assert_eq!(ended.1, Some(ErrorKind::ConnectionReset), "{name}");
        }
        let summary = scene.server.report.summary();
        let remedy = summary.refused.iter().find_map(|refused| refused.remedy.clone()).unwrap();
        assert_eq!(remedy, format!("to allow it, add: allow connect 127.0.0.1:{port}"));
    });
}

#[test]
fn a_tls_connection_shows_the_name_that_it_was_made_to() {
    run(async {
        let port = echo().await;
        let allowed = hello("a.example");
        let another = hello("b.example");
        let none = hello("192.0.2.1");
        let alert_before = [b"\x15\x03\x01\x00\x02\x01\x00".as_slice(), &another].concat();
        let in_pieces = {
            // The same handshake message in two records.
            let message = &another[5..];
            let (first, second) = message.split_at(7);
            let record = |part: &[u8]| {
                [&[0x16, 3, 1], &u16::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat()
            };
            [record(first), record(second)].concat()
        };
        for (setting, bytes, passes) in [
            ("", &allowed, true),
            ("", &another, false),
            ("", &none, false),
            ("", &alert_before, false),
            ("", &in_pieces, false),
            ("tls relaxed", &none, true),
            ("tls relaxed", &allowed, true),
            ("tls relaxed", &another, false),
            ("tls relaxed", &in_pieces, false),
        ] {
            let scene = Scene::with_port(port, setting).await;
            let (back, ended) = sent(scene.to_name("a.example", port).await, bytes).await;
            assert_eq!(back == *bytes, passes, "{setting} {ended:?}");
            assert_eq!(scene.refused().len(), usize::from(!passes));
        }
    });
}

#[test]
fn a_hello_that_comes_a_byte_at_a_time_is_waited_for() {
    run(async {
        let port = echo().await;
        let scene = Scene::with_port(port, "").await;
        let (bytes, another) = (hello("a.example"), hello("b.example"));
        for (bytes, passes) in [(bytes, true), (another, false)] {
            let mut stream = scene.to_name("a.example", port).await;
            for byte in &bytes {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let mut back = vec![0; bytes.len()];
            assert_eq!(stream.read_exact(&mut back).await.is_ok(), passes);
        }
    });
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    run(async {
        let port = serving(|mut stream| async move {
            stream.write_all(b"220 ready\r\n").await.unwrap();
            let (said, _) = all(&mut stream).await;
            stream.write_all(format!("250 {said}").as_bytes()).await.unwrap();
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_name("a.example", port).await;
        let mut greeting = [0; 11];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
        stream.write_all(b"GET").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(all(&mut stream).await.0, "250 GET");
    });
}

#[test]
fn plain_requests_name_the_host_that_was_connected_to() {
    run(async {
        let (port, seen) = web().await;
        let scene = Scene::with_port(port, "").await;
        let asks = |host: &str| format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut stream = scene.to_name("a.example", port).await;
        for host in ["a.example", &format!("A.EXAMPLE:{port}"), "b.example"] {
            stream.write_all(asks(host).as_bytes()).await.unwrap();
        }
        let (answers, _) = all(&mut stream).await;
        assert_eq!(answers.matches("200 OK").count(), 2, "{answers}");
        assert!(
            answers.contains("403 Forbidden") && answers.contains("the request names `b.example`"),
            "{answers}"
        );
        let seen = String::from_utf8(seen.borrow().clone()).unwrap();
        assert_eq!(seen.matches("GET /x").count(), 2, "{seen}");
        for hidden in [
            "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n",
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
        ] {
            let mut stream = scene.to_name("a.example", port).await;
            stream.write_all(hidden.as_bytes()).await.unwrap();
            assert!(all(&mut stream).await.0.contains("403 Forbidden"), "{hidden}");
        }
    });
}

#[test]
fn what_cannot_be_read_is_refused_where_rules_judge_requests() {
    run(async {
        let (port, _) = web().await;
        let scene = Scene::with_port(port, &format!("allow http \"GET a.example:{port}/ok\"")).await;
        let request = |method: &str, path: &str| {
            format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        };
        for (bytes, passes) in [
            (request("GET", "/ok/x").into_bytes(), true),
            (request("GET", "/other").into_bytes(), false),
            (request("GET", "/ok/../other").into_bytes(), false),
            (request("DELETE", "/ok").into_bytes(), false),
            (hello("a.example"), false),
            (b"\0\0\0".to_vec(), false),
        ] {
            let (back, _) = sent(scene.to_name("a.example", port).await, &bytes).await;
            let back = String::from_utf8_lossy(&back);
            assert_eq!(back.contains("200 OK"), passes, "{:?}: {back}", String::from_utf8_lossy(&bytes));
        }
        assert_eq!(scene.refused().len(), 5);
    });
}

#[test]
fn a_server_that_refuses_is_a_reset_at_once() {
    run(async {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let scene = Scene::with_port(gone, "").await;
        let ended = sent(scene.to_name("a.example", gone).await, b"x").await;
        assert_eq!(ended.1, Some(ErrorKind::ConnectionReset));
    });
}
