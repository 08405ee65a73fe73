//! Connections by the proxy of a run.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use fence::launch::Error;
use fence::macos::Heard;

use crate::Case;
use crate::scene::{Scene, await_end};

pub const CASES: &[Case] = &[
    ("what_is_allowed_is_reached_by_each_protocol", allowed),
    ("what_is_not_allowed_is_refused_with_a_page_and_told", refused),
    ("without_the_credential_of_the_run_nothing_is_served", unknown),
    ("another_user_without_the_credential_is_served_nothing", another_user),
    ("the_credential_stands_in_the_environment_of_the_command_alone", secret),
    ("two_runs_have_different_credentials_and_serve_only_their_own", two_runs),
    ("what_serves_runs_under_a_profile_of_its_own_and_ends_with_the_run", confined),
    ("a_connection_of_the_last_moment_is_served_to_its_end", last_moment),
    ("where_nobody_can_serve_nothing_runs", not_begun),
    ("where_nobody_serves_any_more_the_command_ends", died),
    ("what_serves_ends_with_fence_itself", killed),
];

/// A server that answers each connection with a page.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let _ = stream
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhere\n");
        }
    });
    port
}

fn scene(port: u16) -> Scene {
    Scene::new(&format!("allow connect 127.0.0.1:{port} as here"))
}

/// curl by the proxy that its variables name, though loopback is left out there.
const CURL: &str = "curl -sS --noproxy '' --max-time 60";

fn allowed() {
    let port = server();
    let scene = scene(port);
    for (how, text) in [
        ("a request", format!("{CURL} http://127.0.0.1:{port}/")),
        ("CONNECT", format!("{CURL} -p http://127.0.0.1:{port}/")),
        ("SOCKS", format!("{CURL} -x $ALL_PROXY http://127.0.0.1:{port}/")),
        ("a first try without a credential", format!("{CURL} --proxy-anyauth http://127.0.0.1:{port}/")),
    ] {
        let (ended, heard) = scene.run(&format!("test \"$({text})\" = here"));
        let ended = ended.unwrap();
        assert_eq!(ended.outcome.exit_code(), 0, "{how}: {heard:?}");
        assert_eq!(ended.summary.connections, 1, "{how}");
        let told: Vec<String> = heard.iter().map(line).collect();
        let allowed = format!("allowed connect 127.0.0.1:{port}: test:3 [here]");
        assert!(told.contains(&allowed), "{how}: {told:?}");
    }
}

fn line(heard: &Heard) -> String {
    match heard {
        Heard::Told(told) => told.event.told(),
        other => format!("{other:?}"),
    }
}

fn refused() {
    let (port, other) = (server(), server());
    let scene = scene(port);
    let text = format!(
        "{CURL} -o page -w '%{{http_code}}' http://127.0.0.1:{other}/ > code; {CURL} -p http://127.0.0.1:{other}/ && exit 1; {CURL} -x $ALL_PROXY http://127.0.0.1:{other}/ && exit 2; {CURL} http://unknown.example/ | grep -q 'fence refused' || exit 3; exit 0"
    );
    let (ended, heard) = scene.run(&text);
    let ended = ended.unwrap();
    assert_eq!(ended.outcome.exit_code(), 0);
    assert_eq!(scene.read("code"), "403");
    let page = scene.read("page");
    assert!(page.contains("fence refused this") && page.contains("nothing allows it"), "{page}");
    assert!(page.contains(&format!("to allow it, add: allow connect 127.0.0.1:{other}")), "{page}");
    let told: Vec<String> = heard.iter().map(line).collect();
    assert!(told.contains(&format!("refused connect 127.0.0.1:{other}: nothing allows it")), "{told:?}");
    assert_eq!(ended.summary.connections, 0);
    assert_eq!(ended.summary.refused[0].times, 3);
}

/// What the proxy answers to bytes, until it closes.
fn answer(port: u16, sent: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(sent).unwrap();
    let mut back = Vec::new();
    let _ = stream.read_to_end(&mut back);
    back
}

/// Runs a command that waits while somebody outside looks at its proxy.
fn meanwhile(scene: &Scene, look: impl FnOnce(u16, &str) + Send) -> Vec<Heard> {
    thread::scope(|scope| {
        let looked = scope.spawn(move || {
            let url = scene.await_line("url");
            let (credential, at) = url.strip_prefix("http://").unwrap().split_once('@').unwrap();
            look(at.strip_prefix("127.0.0.1:").unwrap().parse().unwrap(), credential);
            scene.write("looked", "");
        });
        let (ended, heard) = scene.run("echo $HTTPS_PROXY > url; while [ ! -e looked ]; do sleep 0.01; done");
        // Lets whoever looks come to an end in any case.
        scene.write("looked", "");
        looked.join().unwrap();
        assert_eq!(ended.unwrap().outcome.exit_code(), 0);
        heard
    })
}

/// `fence:TOKEN` as `Proxy-Authorization` has it.
fn basic(credential: &str) -> String {
    let mut encoder = Command::new("base64");
    let mut child = encoder
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(credential.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

fn unknown() {
    let port = server();
    let scene = scene(port);
    let heard = meanwhile(&scene, |proxy, credential| {
        let get = |header: &str| {
            let head = format!(
                "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
            );
            String::from_utf8(answer(proxy, format!("{head}{header}\r\n").as_bytes())).unwrap()
        };
        let connect = |header: &str| {
            let head = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
            let body = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            String::from_utf8(answer(proxy, format!("{head}{header}\r\n{body}").as_bytes())).unwrap()
        };
        let right = format!("Proxy-Authorization: Basic {}\r\n", basic(credential));
        assert!(get(&right).ends_with("here\n") && connect(&right).ends_with("here\n"));
        let (_, token) = credential.split_once(':').unwrap();
        for header in [
            String::new(),
            format!("Authorization: Basic {}\r\n", basic(credential)),
            "Proxy-Authorization: Basic\r\n".to_owned(),
            format!("Proxy-Authorization: Basic {}\r\n", basic("fence:")),
            format!("Proxy-Authorization: Basic {}\r\n", basic(&format!("root:{token}"))),
            format!("Proxy-Authorization: Basic {}\r\n", basic(&credential[..credential.len() - 1])),
            format!("Proxy-Authorization: Bearer {token}\r\n"),
        ] {
            for got in [get(&header), connect(&header)] {
                assert!(got.starts_with("HTTP/1.1 407 "), "{header}: {got}");
                assert!(
                    got.contains("Proxy-Authenticate: Basic") || got.contains("proxy-authenticate: Basic"),
                    "{got}"
                );
                assert!(!got.contains("here\n"), "{header}: {got}");
            }
        }
        // A second request without it, on a connection whose first one had it.
        let both = format!(
            "GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: a\r\n{right}\r\nGET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        let both = String::from_utf8(answer(proxy, both.as_bytes())).unwrap();
        assert!(both.contains("HTTP/1.1 407 ") && both.matches("here\n").count() == 1, "{both}");
        let [high, low] = port.to_be_bytes();
        let asked = [5, 1, 0, 1, 127, 0, 0, 1, high, low];
        let login = |user: &[u8], password: &[u8]| {
            let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
            [&[5, 1, 2, 1, length(user)], user, &[length(password)], password, &asked, b"\r\n\r\n"].concat()
        };
        let served = answer(proxy, &login(b"fence", token.as_bytes()));
        assert!(served.starts_with(&[5, 2, 1, 0, 5, 0, 0, 1]) && served.ends_with(b"here\n"), "{served:?}");
        for (sent, expected) in [
            ([&[5, 1, 0][..], &asked].concat(), &[5, 0xff][..]),
            (login(b"fence", b""), &[5, 2, 1, 1]),
            (login(b"", token.as_bytes()), &[5, 2, 1, 1]),
            (login(b"fence", &token.as_bytes()[1..]), &[5, 2, 1, 1]),
            (
                [&[4, 1, high, low, 127, 0, 0, 1][..], credential.as_bytes(), &[0]].concat(),
                &[0, 91, 0, 0, 0, 0, 0, 0],
            ),
        ] {
            let got = answer(proxy, &sent);
            // It is closed with bytes unread, so the end may come as an error.
            assert!(expected.starts_with(&got), "{sent:?}: {got:?}");
        }
    });
    let told: Vec<String> = heard.iter().map(line).collect();
    let unknown = "refused connect the proxy of this run: closed always: whoever asked did not show the credential of this run";
    assert!(told.iter().any(|told| told == unknown), "{told:?}");
}

fn another_user() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can be another user");
        return;
    }
    let port = server();
    let scene = scene(port);
    meanwhile(&scene, |proxy, _| {
        let text = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{proxy}; printf 'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; head -n1 <&3"
        );
        let ran = Command::new("/bin/bash").args(["-c", &text]).uid(65534).gid(65534).output().unwrap();
        let got = String::from_utf8(ran.stdout).unwrap();
        assert!(got.starts_with("HTTP/1.1 407 "), "{got}");
    });
}

fn secret() {
    let scene = scene(server());
    let text = "for n in HTTP_PROXY http_proxy HTTPS_PROXY https_proxy ALL_PROXY all_proxy NO_PROXY no_proxy NODE_USE_ENV_PROXY; do echo \"$n=${!n}\"; done > variables";
    assert_eq!(scene.events(text).0, 0);
    let variables = scene.read("variables");
    let value = |name: &str| {
        let line = variables.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name}: {variables}")).to_owned()
    };
    let url = value("HTTP_PROXY");
    let (credential, at) = url.strip_prefix("http://").unwrap().split_once('@').unwrap();
    let token = credential.strip_prefix("fence:").unwrap();
    assert!(token.len() == 64 && at.starts_with("127.0.0.1:"), "{url}");
    for name in ["http_proxy", "HTTPS_PROXY", "https_proxy"] {
        assert_eq!(value(name), url);
    }
    for name in ["ALL_PROXY", "all_proxy"] {
        assert_eq!(value(name), url.replace("http://", "socks5h://"));
    }
    assert_eq!((value("NO_PROXY"), value("no_proxy")), ("localhost,127.0.0.1,::1".into(), value("NO_PROXY")));
    assert_eq!(value("NODE_USE_ENV_PROXY"), "1");
    for file in
        ["profile.arguments", "profile.copy", "serving.arguments", "serving.environment", "serving.copy"]
    {
        assert!(!scene.read(file).contains(token), "{file}");
    }
    let (_, port) = at.split_once(':').unwrap();
    assert!(scene.read("profile.arguments").contains(&format!("-D\nPROXY=localhost:{port}\n--\n")));
    assert!(scene.read("profile.copy").contains("(remote tcp (param \"PROXY\"))"));
}

fn two_runs() {
    let port = server();
    let (one, two) = (scene(port), scene(port));
    // The second is another process's: a process makes one run at a time.
    let mut driven = two.driven("echo $HTTPS_PROXY > url; while [ ! -e looked ]; do sleep 0.01; done");
    let other = two.await_line("url");
    meanwhile(&one, |proxy, credential| {
        let (theirs, _) = other.strip_prefix("http://").unwrap().split_once('@').unwrap();
        assert_ne!(theirs, credential);
        let head = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: a\r\n");
        let sent = format!("{head}Proxy-Authorization: Basic {}\r\n\r\n", basic(theirs));
        assert!(answer(proxy, sent.as_bytes()).starts_with(b"HTTP/1.1 407 "));
    });
    two.write("looked", "");
    assert!(driven.wait().unwrap().success());
}

fn confined() {
    let port = server();
    let scene = scene(port);
    assert_eq!(scene.events(&format!("{CURL} http://127.0.0.1:{port}/; echo $HTTP_PROXY > url")).0, 0);
    let arguments = scene.read("serving.arguments");
    let words: Vec<&str> = arguments.lines().collect();
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    assert_eq!((words[0], words[2], words[3]), ("-f", "-D", &*format!("FENCE={own}")));
    assert_eq!(&words[6..], ["--", own, fence::macos::SERVING]);
    assert_eq!(scene.read("serving.mode"), "600\n700\n");
    let profile = scene.read("serving.copy");
    assert!(profile.contains("(deny default)") && !profile.contains("allow file-write"), "{profile}");
    let environment = scene.read("serving.environment");
    let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(names.iter().all(|name| ["PWD", "SHLVL", "_", "OLDPWD"].contains(name)), "{names:?}");
    assert_eq!(scene.read("serving.descriptors").trim(), "4");
    await_end(scene.read("serving.pid").trim());
    // Its port is nobody's any more.
    let url = scene.read("url");
    let (_, at) = url.trim().split_once('@').unwrap();
    assert!(TcpStream::connect(at).is_err());
    assert!(!scene.at_name("tmp-profile").exists());
}

fn last_moment() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let mut got = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        got.len()
    });
    // The command ends as soon as it has written; what it wrote still arrives.
    let text = format!(
        "p=${{HTTP_PROXY##*:}}; c=${{HTTP_PROXY#http://}}; c=$(printf %s \"${{c%@*}}\" | base64 -w0); exec 3<>/dev/tcp/127.0.0.1/$p; printf 'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\nHost: a\\r\\nProxy-Authorization: Basic %s\\r\\n\\r\\n' \"$c\" >&3; read -r line <&3; read -r line <&3; head -c 300000 /dev/zero >&3"
    );
    assert_eq!(scene(port).events(&text).0, 0);
    assert_eq!(server.join().unwrap(), 300_000);
}

fn not_begun() {
    let scene = scene(1);
    scene.write("serving.refused", "");
    let error = scene.run("touch ran").0.unwrap_err();
    assert!(matches!(&error, Error::Serve(why) if why.contains("unbound variable: x")), "{error}");
    assert!(!scene.at_name("ran").exists() && !scene.at_name("tmp").exists());
}

fn died() {
    let scene = scene(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            scene.await_line("started");
            let pid: i32 = scene.await_line("serving.pid").parse().unwrap();
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                .unwrap();
        });
        let error = scene.run("echo $$ > started; while :; do sleep 1; done").0.unwrap_err();
        assert!(matches!(&error, Error::Serve(why) if why.contains("ended before the command")), "{error}");
    });
    await_end(scene.read("started").trim());
}

fn killed() {
    let scene = scene(1);
    let mut driven = scene.driven("echo $$ > started; while [ ! -e looked ]; do sleep 0.01; done");
    let command = scene.await_line("started");
    driven.kill().unwrap();
    driven.wait().unwrap();
    await_end(&scene.await_line("serving.pid"));
    scene.write("looked", "");
    await_end(&command);
}
