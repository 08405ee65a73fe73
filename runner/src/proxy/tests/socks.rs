use fast_socks5::client::{Config, Socks5Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{Scene, all, echo, run};

#[test]
fn an_ordinary_client_of_socks5_is_served() {
    run(async {
        let port = echo().await;
        let scene = Scene::with_port(port, "").await;
        scene.to_proxy().await;
        for host in ["a.example", "A.EXAMPLE.", "127.0.0.1"] {
            let mut stream =
                Socks5Stream::connect(scene.address, host.to_owned(), port, Config::default()).await.unwrap();
            stream.write_all(b"\0hello").await.unwrap();
            let mut back = [0; 6];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"\0hello");
        }
        for (host, port) in [("b.example", port), ("a.example", port - 1), ("a.example", 0), ("127.1", port)]
        {
            let refused =
                Socks5Stream::connect(scene.address, host.to_owned(), port, Config::default()).await;
            assert!(refused.is_err(), "{host}:{port}");
        }
        let refused = scene.refused();
        assert_eq!(refused.len(), 4, "{refused:?}");
        assert_eq!(refused[0], format!("refused connect b.example:{port}: nothing allows it"));
    });
}

#[test]
fn requests_are_answered_as_their_version_has_it() {
    run(async {
        let port = echo().await;
        let scene = Scene::with_port(port, "").await;
        let [high, low] = port.to_be_bytes();
        let name = |name: &[u8]| {
            [&[5, 1, 0, 5, 1, 0, 3, u8::try_from(name.len()).unwrap()], name, &[high, low]].concat()
        };
        let five = |code: u8| vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        let four = |code: u8| vec![0, code, 0, 0, 0, 0, 0, 0];
        let none_is_taken = vec![5, 0xff];
        for (sent, expected) in [
            (name(b"a.example"), five(0)),
            (name(b"b.example"), five(2)),
            (name(b"a.example\0"), five(2)),
            (name(b"a.example\r"), five(2)),
            (name(b"a .example"), five(2)),
            (name(b""), five(2)),
            (name(&[b'a'; 255]), five(2)),
            (name(b"127.1"), five(2)),
            (name(b"\xff\xfe"), five(2)),
            // BIND, UDP ASSOCIATE, an unknown kind of address.
            (vec![5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, high, low], five(7)),
            (vec![5, 1, 0, 5, 3, 0, 1, 127, 0, 0, 1, high, low], five(7)),
            (vec![5, 1, 0, 5, 1, 0, 9, 127, 0, 0, 1, high, low], five(8)),
            // IPv4-mapped is IPv4.
            (
                [&[5, 1, 0, 5, 1, 0, 4], &[0; 10][..], &[0xff, 0xff, 127, 0, 0, 1, high, low]].concat(),
                five(0),
            ),
            // Only a password is offered.
            (vec![5, 1, 2], none_is_taken),
            (vec![4, 1, high, low, 127, 0, 0, 1, b'm', b'e', 0], four(90)),
            (vec![4, 1, high, low, 127, 0, 0, 2, 0], four(91)),
            (vec![4, 2, high, low, 127, 0, 0, 1, 0], four(91)),
            ([&[4, 1, high, low, 0, 0, 0, 1, 0], b"a.example\0".as_slice()].concat(), four(90)),
            ([&[4, 1, high, low, 0, 0, 0, 1, 0], b"b.example\0".as_slice()].concat(), four(91)),
            (vec![4, 1, high, low, 0, 0, 0, 0, 0], four(91)),
        ] {
            let mut stream = scene.to_proxy().await;
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut back = Vec::new();
            let _ = stream.read_to_end(&mut back).await;
            assert_eq!(back, expected, "{sent:?}");
        }
    });
}

#[test]
fn a_client_that_breaks_off_anywhere_is_let_go() {
    run(async {
        let scene = Scene::with_port(1, "").await;
        let whole = [5, 1, 0, 5, 1, 0, 3, 9, b'b', b'.', b'e', b'x', b'a', b'm', b'p', b'l', b'e', 0, 1];
        for end in 1..whole.len() {
            let mut stream = scene.to_proxy().await;
            stream.write_all(&whole[..end]).await.unwrap();
            stream.shutdown().await.unwrap();
            all(&mut stream).await;
        }
        assert!(scene.refused().is_empty());
    });
}
