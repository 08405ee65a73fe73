use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{Scene, all, run, serving};

#[test]
fn each_half_ends_by_itself() {
    run(async {
        let port = serving(|mut stream| async move {
            let (said, _) = all(&mut stream).await;
            stream.write_all(said.to_uppercase().as_bytes()).await.unwrap();
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_name("a.example", port).await;
        stream.write_all(b"\x01hello").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(all(&mut stream).await, ("\x01HELLO".to_owned(), None));
    });
}

#[test]
fn a_reset_is_passed_on() {
    run(async {
        let port = serving(|mut stream| async move {
            let _ = stream.read_u8().await;
            stream.set_zero_linger().unwrap();
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_name("a.example", port).await;
        stream.write_all(b"\0\0").await.unwrap();
        assert_eq!(all(&mut stream).await.1, Some(std::io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn who_does_not_read_holds_nobody_else_up_and_no_memory() {
    run(async {
        let port = serving(|mut stream| async move {
            let chunk = vec![7; 1 << 16];
            while stream.write_all(&chunk).await.is_ok() {}
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        let _slow = scene.to_name("a.example", port).await;
        let mut quick = scene.to_name("a.example", port).await;
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..64 {
            quick.read_exact(&mut buffer).await.unwrap();
        }
    });
}

#[test]
fn a_silent_connection_ends_where_the_policy_says_so() {
    run(async {
        let port = super::scene::echo().await;
        let scene = Scene::with_port(port, "limit idle-time 1s").await;
        let mut stream = scene.to_name("a.example", port).await;
        stream.write_all(b"\0").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 0);
        assert_eq!(all(&mut stream).await.1, Some(std::io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn what_was_sent_before_the_end_is_still_passed_on() {
    run(async {
        let (told, heard) = tokio::sync::oneshot::channel();
        let told = std::cell::RefCell::new(Some(told));
        let port = serving(move |mut stream| {
            let told = told.borrow_mut().take();
            async move {
                let (said, _) = all(&mut stream).await;
                told.unwrap().send(said.len()).unwrap();
            }
        })
        .await;
        let scene = Scene::with_port(port, "").await;
        let mut stream = scene.to_name("a.example", port).await;
        stream.write_all(&vec![1; 100_000]).await.unwrap();
        drop(stream);
        scene.server.ending.begin();
        assert_eq!(heard.await.unwrap(), 100_000);
    });
}
