//! Asking the person before a connection is refused.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::rc::Rc;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixDatagram};

use super::scene::{Given, Scene, all, echo, run, web};
use crate::asking::{Answer, Question};

/// Somebody who gives each question the same answer, and what they were asked.
fn person(answer: Answer) -> (OwnedFd, Rc<RefCell<Vec<String>>>) {
    person_who(move |_| answer)
}

/// Somebody whose answer hangs on how many they have given before.
fn person_who(says: impl Fn(usize) -> Answer + 'static) -> (OwnedFd, Rc<RefCell<Vec<String>>>) {
    let (own, other) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let own = StdDatagram::from(own);
    own.set_nonblocking(true).unwrap();
    let own = UnixDatagram::from_std(own).unwrap();
    let asked: Rc<RefCell<Vec<String>>> = Rc::default();
    let kept = asked.clone();
    tokio::task::spawn_local(async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = own.recv(&mut bytes).await {
            let question = Question::read(&bytes[..count]).unwrap();
            let answer = says(kept.borrow().len());
            kept.borrow_mut().push(format!("{}: {}", question.words.join(" "), question.reasons.join("; ")));
            own.send(&answer.bytes(question.number)).await.unwrap();
        }
    });
    (other, asked)
}

async fn asking(rules: &str, hosts: &[(&str, &str)], answer: Answer) -> (Scene, Rc<RefCell<Vec<String>>>) {
    let (asks, asked) = person(answer);
    (Scene::new(Given { rules, hosts, asks: Some(asks), ..Given::default() }).await, asked)
}

async fn by_connect(scene: &Scene, target: &str) -> String {
    let mut stream = scene.to_proxy().await;
    stream
        .write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut bytes = [0; 12];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8_lossy(&bytes[9..]).into_owned()
}

#[test]
fn what_the_person_allows_is_connected_to_and_nothing_else() {
    run(async {
        let port = echo().await;
        let rules = format!("allow connect 127.0.0.1:{port}\ndeny connect *.b.example as b because \"of b\"");
        let hosts = [("a.example", "127.0.0.1"), ("x.b.example", "127.0.0.1"), ("in.example", "127.0.0.2")];
        let (scene, asked) = asking(&rules, &hosts, Answer::Allowed).await;
        assert_eq!(by_connect(&scene, &format!("a.example:{port}")).await, "200");
        assert_eq!(by_connect(&scene, &format!("x.b.example:{port}")).await, "200");
        // Nobody can allow a name to lead to what lies inside.
        assert_eq!(by_connect(&scene, &format!("in.example:{port}")).await, "403");
        let asked = asked.borrow();
        assert_eq!(asked.len(), 3, "{asked:?}");
        assert_eq!(asked[0], format!("a.example:{port}: nothing allows it"));
        assert!(asked[1].contains("deny connect *.b.example as b because \"of b\""), "{asked:?}");
        let refused = scene.refused();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].contains("in.example"), "{refused:?}");
    });
}

#[test]
fn what_the_person_refuses_is_refused_as_ever() {
    run(async {
        let port = echo().await;
        let hosts = [("a.example", "127.0.0.1")];
        let rules = format!("allow connect 127.0.0.1:{port}");
        let (scene, asked) = asking(&rules, &hosts, Answer::Refused).await;
        assert_eq!(by_connect(&scene, &format!("a.example:{port}")).await, "403");
        assert_eq!(scene.refused(), [format!("refused connect a.example:{port}: nothing allows it")]);
        assert_eq!(asked.borrow().len(), 1);
    });
}

#[test]
fn nobody_is_asked_about_what_a_never_refuses_or_a_rule_allows() {
    run(async {
        let port = echo().await;
        let rules = format!(
            "allow connect 127.0.0.1:{port}, c.example:{port}\nnever connect a.example, *.c.example:1-65535"
        );
        let hosts = [("a.example", "127.0.0.1"), ("c.example", "127.0.0.1"), ("x.c.example", "127.0.0.1")];
        let (scene, asked) = asking(&rules, &hosts, Answer::Allowed).await;
        assert_eq!(by_connect(&scene, &format!("a.example:{port}")).await, "403");
        assert_eq!(by_connect(&scene, &format!("x.c.example:{port}")).await, "403");
        assert_eq!(by_connect(&scene, &format!("c.example:{port}")).await, "200");
        assert_eq!(asked.borrow().as_slice(), [""; 0]);
    });
}

/// Two requests on one connection, each by its whole URL or by its path.
async fn twice(mut stream: TcpStream, host: &str, url: &str) -> String {
    let first = format!("GET {url}/1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let second = format!("GET {url}/2 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all((first + &second).as_bytes()).await.unwrap();
    all(&mut stream).await.0
}

#[test]
fn each_request_that_can_be_seen_is_asked_about() {
    run(async {
        let (port, _) = web().await;
        let hosts = [("a.example", "127.0.0.1")];
        let rules = format!("allow connect 127.0.0.1:{port}");
        let (scene, asked) = asking(&rules, &hosts, Answer::Allowed).await;
        let host = format!("a.example:{port}");
        let answers = twice(scene.to_proxy().await, &host, &format!("http://{host}")).await;
        assert_eq!(answers.matches("200 OK").count(), 2, "{answers}");
        assert_eq!(asked.borrow().len(), 2);
        // The first is what the connection was made for.
        let answers = twice(scene.to_name("a.example", port).await, &host, "").await;
        assert_eq!(answers.matches("200 OK").count(), 2, "{answers}");
        assert_eq!(asked.borrow().len(), 4);
    });
}

#[test]
fn one_answer_lets_one_request_through() {
    run(async {
        let (port, _) = web().await;
        let hosts = [("a.example", "127.0.0.1")];
        let rules = format!("allow connect 127.0.0.1:{port}");
        let (asks, asked) = person_who(|before| if before == 0 { Answer::Allowed } else { Answer::Refused });
        let scene =
            Scene::new(Given { rules: &rules, hosts: &hosts, asks: Some(asks), ..Given::default() }).await;
        let host = format!("a.example:{port}");
        let answers = twice(scene.to_proxy().await, &host, &format!("http://{host}")).await;
        assert_eq!((answers.matches("200 OK").count(), answers.matches("403 ").count()), (1, 1), "{answers}");
        assert_eq!(asked.borrow().len(), 2);
    });
}

#[test]
fn an_end_of_whoever_asks_is_a_refusal() {
    run(async {
        let port = echo().await;
        let (own, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        drop(own);
        let rules = format!("allow connect 127.0.0.1:{port}");
        let given = Given {
            rules: &rules,
            hosts: &[("a.example", "127.0.0.1")],
            asks: Some(other),
            ..Given::default()
        };
        let scene = Scene::new(given).await;
        assert_eq!(by_connect(&scene, &format!("a.example:{port}")).await, "403");
    });
}
