use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{Given, Scene, all, echo, run, serving, web};

#[test]
fn requests_on_one_connection_are_judged_each() {
    run(async {
        let (port, seen) = web().await;
        let (other, _) = web().await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_proxy().await;
        for host in [format!("a.example:{port}"), format!("b.example:{port}"), format!("a.example:{other}")] {
            let request = format!("GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
        }
        let (answers, _) = all(&mut stream).await;
        assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers}");
        // The refusal closes the connection, so what follows is not answered.
        assert_eq!(answers.matches("HTTP/1.1 403 Forbidden").count(), 1, "{answers}");
        for told in [
            format!("connect b.example:{port}"),
            "nothing allows it".to_owned(),
            format!("to allow it, add: allow connect b.example:{port}"),
            format!("x-fence-refused: connect b.example:{port}"),
        ] {
            assert!(answers.contains(&told), "{told}: {answers}");
        }
        let seen = String::from_utf8(seen.borrow().clone()).unwrap();
        assert_eq!(seen, format!("GET /x HTTP/1.1\r\nHost: a.example:{port}\r\n\r\n"));
    });
}

#[test]
fn a_refusal_names_the_rule_its_place_and_its_reason_without_control_characters() {
    run(async {
        let rules = "allow connect *\ndeny connect shut.example as shut because \"a \\u{9b} reason\"";
        let scene = Scene::new(Given { rules, ..Given::default() }).await;
        let mut stream = scene.to_proxy().await;
        stream.write_all(b"GET http://shut.example/ HTTP/1.1\r\nHost: shut.example\r\n\r\n").await.unwrap();
        let (answer, _) = all(&mut stream).await;
        assert!(
            answer.contains("x-fence-rule: testing.fence:4 [shut] because \"a \\u{9b} reason\""),
            "{answer}"
        );
        assert!(!answer.chars().any(|c| c.is_control() && c != '\r' && c != '\n'), "{answer:?}");
    });
}

#[test]
fn a_tunnel_is_made_by_connect_and_judged_by_what_is_in_it() {
    run(async {
        let port = echo().await;
        let scene = Scene::with_port(port, "").await;
        let connect = |host: &str| format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        let mut stream = scene.to_proxy().await;
        // The first bytes within come together with the request.
        stream.write_all(&[connect("a.example").as_bytes(), b"\0early"].concat()).await.unwrap();
        stream.write_all(b" late").await.unwrap();
        stream.shutdown().await.unwrap();
        let (back, ended) = all(&mut stream).await;
        assert_eq!((back.as_str(), ended), ("HTTP/1.1 200 OK\r\n\r\n\0early late", None));
        for host in ["b.example", "127.1", "[::ffff:7f00:2]"] {
            let mut stream = scene.to_proxy().await;
            stream.write_all(connect(host).as_bytes()).await.unwrap();
            let (back, _) = all(&mut stream).await;
            assert!(back.starts_with("HTTP/1.1 40"), "{host}: {back}");
        }
    });
}

#[test]
fn bodies_stream_both_ways_and_trailers_pass() {
    run(async {
        let port = serving(|mut stream| async move {
            let mut held = Vec::new();
            while !held.ends_with(b"\r\n\r\n") {
                held.push(stream.read_u8().await.unwrap());
            }
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
            stream.write_all(head).await.unwrap();
            loop {
                let mut chunk = Vec::new();
                if stream.read_buf(&mut chunk).await.unwrap_or(0) == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&chunk).into_owned();
                let data: String = text.chars().filter(|c| c.is_ascii_lowercase()).collect();
                if !data.is_empty() {
                    stream.write_all(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes()).await.unwrap();
                }
                if text.contains("0\r\n") {
                    stream.write_all(b"0\r\nX-Sum: 9\r\n\r\n").await.unwrap();
                    break;
                }
            }
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_proxy().await;
        let head = format!(
            "POST http://a.example:{port}/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut seen = String::new();
        for part in ["one", "two", "three"] {
            stream.write_all(format!("{:x};ext=1\r\n{part}\r\n", part.len()).as_bytes()).await.unwrap();
            // Each part comes back before the next one is sent.
            while !seen.contains(part) {
                let mut buffer = Vec::new();
                assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0, "{seen}");
                seen.push_str(std::str::from_utf8(&buffer).unwrap());
            }
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        seen.push_str(&all(&mut stream).await.0);
        assert!(seen.ends_with("0\r\nx-sum: 9\r\n\r\n") || seen.ends_with("0\r\nX-Sum: 9\r\n\r\n"), "{seen}");
    });
}

#[test]
fn an_upgrade_passes_bytes_and_a_declined_one_further_requests() {
    run(async {
        let port = serving(|mut stream| async move {
            let mut held = Vec::new();
            while !held.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut held).await.unwrap();
            }
            if String::from_utf8_lossy(&held).contains("GET /yes") {
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\0hi";
                stream.write_all(answer).await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            } else {
                loop {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
                    let mut next = Vec::new();
                    if stream.read_buf(&mut next).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
            }
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        for by_proxy in [true, false] {
            let url = if by_proxy { format!("http://a.example:{port}") } else { String::new() };
            let asks = |path: &str| {
                format!(
                    "GET {url}/{path} HTTP/1.1\r\nHost: a.example:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )
            };
            let connect = || async {
                if by_proxy { scene.to_proxy().await } else { scene.to_name("a.example", port).await }
            };
            let mut stream = connect().await;
            stream.write_all(format!("{}\x01frame", asks("yes")).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let (back, _) = all(&mut stream).await;
            assert!(back.contains("101 Switching") && back.ends_with("\r\n\r\n\0hi\x01frame"), "{back:?}");
            let mut stream = connect().await;
            let plain = format!("GET {url}/no HTTP/1.1\r\nHost: a.example:{port}\r\n\r\n");
            stream.write_all(format!("{}{plain}", asks("no")).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let (back, _) = all(&mut stream).await;
            assert_eq!(back.matches("\r\n\r\nno").count(), 2, "{back:?}");
        }
    });
}

#[test]
fn an_early_answer_to_an_expectation_passes() {
    run(async {
        let (port, seen) = web().await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_proxy().await;
        let head = format!(
            "PUT http://a.example:{port}/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 25];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"body").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(all(&mut stream).await.0.starts_with("HTTP/1.1 200 OK"));
        assert!(seen.borrow().ends_with(b"body"));
    });
}

#[test]
fn a_server_that_closes_between_requests_is_asked_anew() {
    run(async {
        let port = serving(|mut stream| async move {
            let mut held = Vec::new();
            while !held.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut held).await.unwrap() == 0 {
                    return;
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end").await.unwrap();
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_proxy().await;
        for _ in 0..3 {
            let request = format!("GET http://a.example:{port}/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let (back, _) = all(&mut stream).await;
        assert_eq!(back.matches("until the end").count(), 3, "{back}");
    });
}

/// A line of the table of requests.
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    send: String,
    answers: Vec<u16>,
    passed: usize,
    #[serde(default)]
    why: String,
}

#[test]
fn requests_are_answered_as_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/proxy/requests.yaml");
    let cases: Vec<Case> = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    run(async move {
        for case in cases {
            let (port, seen) = web().await;
            let scene = Scene::with_port(port, "").await;
            let mut stream = scene.to_proxy().await;
            let send = case.send.replace("{h}", &format!("a.example:{port}"));
            stream.write_all(send.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let (back, _) = all(&mut stream).await;
            let answers: Vec<u16> =
                back.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).collect();
            assert_eq!(answers, case.answers, "{}: {back}", case.name);
            assert!(back.contains(&case.why), "{}: {back}", case.name);
            let seen = String::from_utf8_lossy(&seen.borrow()).into_owned();
            assert_eq!(seen.matches(" HTTP/1.1\r\n").count(), case.passed, "{}: {seen}", case.name);
            assert!(!seen.contains("b.example"), "{}: {seen}", case.name);
            let refused = case.answers.iter().filter(|status| **status >= 400).count();
            assert_eq!(scene.refused().len(), refused, "{}", case.name);
        }
    });
}

#[test]
fn a_broken_body_breaks_both_connections() {
    run(async {
        for body in [
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcX0\r\n\r\n",
            "-1\r\n\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nHost: b\r\n\r\n",
        ] {
            let (port, seen) = web().await;
            let scene = Scene::with_port(port, "").await;
            let mut stream = scene.to_proxy().await;
            let head = format!(
                "POST http://a.example:{port}/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            let hidden = format!("GET http://b.example:{port}/ HTTP/1.1\r\nHost: b.example\r\n\r\n");
            let _ = stream.write_all(hidden.as_bytes()).await;
            let (back, _) = all(&mut stream).await;
            assert!(!back.contains("200 OK"), "{body:?}: {back}");
            let seen = String::from_utf8_lossy(&seen.borrow()).into_owned();
            assert!(!seen.ends_with("0\r\n\r\n") && !seen.contains("b.example"), "{body:?}: {seen:?}");
        }
    });
}
