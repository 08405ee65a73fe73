use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{Given, Scene, all, run, serving};

/// A proxy of the host side that keeps the heads it is sent, and then sends everything back.
async fn http_proxy() -> (u16, std::rc::Rc<std::cell::RefCell<String>>) {
    let seen: std::rc::Rc<std::cell::RefCell<String>> = std::rc::Rc::default();
    let kept = seen.clone();
    let port = serving(move |mut stream| {
        let seen = kept.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            seen.borrow_mut().push_str(&head);
            if head.starts_with("CONNECT") {
                stream.write_all(b"HTTP/1.1 200 Fine\r\n\r\n").await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            } else {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        }
    })
    .await;
    (port, seen)
}

#[test]
fn the_callers_proxy_gets_names_and_the_login() {
    run(async {
        let (proxy, seen) = http_proxy().await;
        let url = format!("http://ada:pass%20word@127.0.0.1:{proxy}");
        let environment = [("HTTPS_PROXY", url.as_str()), ("http_proxy", url.as_str())];
        let rules = "allow connect a.example";
        let scene = Scene::new(Given { rules, environment: &environment, ..Given::default() }).await;
        let mut stream = scene.to_name("a.example", 443).await;
        stream.write_all(b"\0hello").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(all(&mut stream).await.0, "\0hello");
        let login = "Proxy-Authorization: Basic YWRhOnBhc3Mgd29yZA==\r\n";
        assert_eq!(
            *seen.borrow(),
            format!("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n{login}\r\n")
        );
        seen.borrow_mut().clear();
        let mut stream = scene.to_proxy().await;
        stream.write_all(b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: Basic eA==\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(all(&mut stream).await.0.ends_with("ok"));
        let head = seen.borrow().to_ascii_lowercase();
        assert!(head.starts_with("get http://a.example/x http/1.1\r\n"), "{head}");
        assert!(
            head.contains(&login.to_ascii_lowercase()) && head.matches("proxy-authorization").count() == 1,
            "{head}"
        );
    });
}

#[test]
fn a_policys_socks_proxy_gets_names() {
    run(async {
        let proxy = serving(|mut stream| async move {
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut request = [0; 16];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            stream.write_all(&request).await.unwrap();
        })
        .await;
        let rules = format!("allow connect a.example\nupstream socks5://127.0.0.1:{proxy} for a.example");
        let scene = Scene::new(Given { rules: &rules, ..Given::default() }).await;
        let mut stream = scene.to_name("a.example", 443).await;
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"\x05\x01\x00\x03\x09a.example\x01\xbb");
    });
}

#[test]
fn a_proxy_that_refuses_is_told_of() {
    run(async {
        let proxy = serving(|mut stream| async move {
            stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").await.unwrap();
            all(&mut stream).await;
        })
        .await;
        let url = format!("http://127.0.0.1:{proxy}");
        let environment = [("ALL_PROXY", url.as_str())];
        let scene = Scene::new(Given {
            rules: "allow connect a.example",
            environment: &environment,
            ..Given::default()
        })
        .await;
        let mut stream = scene.to_proxy().await;
        stream.write_all(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n").await.unwrap();
        let (back, _) = all(&mut stream).await;
        assert!(
            back.starts_with("HTTP/1.1 502") && back.contains("wants another user and password"),
            "{back}"
        );
    });
}
