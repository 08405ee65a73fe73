//! A session lives and ends: many commands at once, nothing that grows, nothing left whoever dies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unused_imports)]
mod harness;
#[path = "life/relayed.rs"]
mod relayed;

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Ending, Ground, Person, Scene, Start, Suite, Terminal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POLICY: &str = "include base\nallow read write exec $cwd, $tmp\n";

/// How many commands the search for growth runs, unless `FENCE_SESSION_COMMANDS` says so.
const COMMANDS: u32 = 200;

type Test = fn(&Opened) -> Result<(), String>;

fn main() -> ExitCode {
    let mut suite = Suite::new("sessions");
    let tests: [(&str, Test); 9] = [
        ("two hundred commands at once", many_at_once),
        ("nothing grows", |opened| nothing_grows(opened, "")),
        ("nothing grows where commands are looked at", |opened| nothing_grows(opened, "-m")),
        ("signals reach the command", signals_reach),
        ("what a command leaves running goes on until the session ends", left_running),
        ("SIGKILL of the manager ends all", |opened| killed(opened, Victim::Manager)),
        ("SIGKILL of the first process ends all", |opened| killed(opened, Victim::First)),
        ("SIGKILL of a client ends its command, and no other", client_killed),
        ("an ending manager that is asked by a signal leaves nothing", terminated),
    ];
    for person in Person::everybody() {
        for (name, test) in tests {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add(name, &person, move || {
                let opened = Opened::new(&ground, &someone)?;
                test(&opened)?;
                opened.close()
            });
        }
    }
    for person in Person::everybody() {
        let own = relayed::ALL
            .iter()
            .map(|(name, act)| (format!("with a terminal of its own: {name}"), *act, "-t"));
        let given = TERMINALS.iter().map(|(name, act)| ((*name).to_owned(), *act, ""));
        for (name, act, option) in given.chain(own) {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add_needing(&name, &person, &["bash".to_owned()], move || {
                let opened = Opened::new(&ground, &someone)?;
                let mut terminal = Terminal::open(&opened.scene);
                let fence = format!("{} session run s {option} --", opened.scene.fence().display());
                act(&mut terminal, &fence)?;
                drop(terminal);
                opened.close()
            });
        }
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add_needing("a terminal of its own does not control where `tty` is closed", &person, &["bash".to_owned()], move || {
            let opened = Opened::under(&ground, &someone, &format!("{POLICY}deny tty\n"))?;
            let text = "test -t 0 -a -t 1 -a -t 2 && ! (: < /dev/tty) 2> /dev/null && tty | grep -q /dev/pts/ && echo so";
            let finished = opened.fence(&["session", "run", "s", "-t", "-c", text]).run();
            if finished.out().trim() != "so" {
                return Err(format!("{:?} {:?} {}", finished.ending, finished.out(), finished.err()));
            }
            opened.close()
        });
        for (name, rule) in [
            ("SIGKILL of what judges starts ends all", "deny run \"sleep 77\" best-effort\nallow run *\n"),
            ("SIGKILL of what serves connections ends all", "allow connect localhost:9\n"),
        ] {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add(name, &person, move || {
                let opened = Opened::under(&ground, &someone, &format!("{POLICY}{rule}"))?;
                killed(&opened, Victim::Helper)
            });
        }
        for (name, rules, test) in RELOADS {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add_needing(name, &person, &["python3".to_owned()], move || {
                let opened = Opened::under(&ground, &someone, &format!("{POLICY}{rules}"))?;
                test(&opened)?;
                opened.close()
            });
        }
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add("SIGKILL of what judges by a narrower policy ends all", &person, move || {
            let opened = Opened::new(&ground, &someone)?;
            match reload(&opened, "deny run \"sleep 77\" best-effort\n")? {
                (0, _) => killed(&opened, Victim::Helper),
                (code, told) => Err(format!("reload: {code} {told}")),
            }
        });
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add("starts inside are judged", &person, move || {
            let rule = "deny run \"sleep 77\" best-effort\nallow run *\n";
            let opened = Opened::under(&ground, &someone, &format!("{POLICY}{rule}"))?;
            judged(&opened)?;
            opened.close()
        });
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add_needing("connections are judged", &person, &["python3".to_owned()], move || {
            let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
            let port = listener.local_addr().map_err(|error| error.to_string())?.port();
            let rule = format!("allow connect localhost:{port}\n");
            let opened = Opened::under(&ground, &someone, &format!("{POLICY}{rule}"))?;
            connected(&opened, &listener, port)?;
            opened.close()
        });
    }
    suite.run()
}

type Act = fn(&mut Terminal, &str) -> Result<(), String>;

const TERMINALS: [(&str, Act); 3] = [
    ("an interrupt ends the command", |terminal, fence| {
        terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; sleep 100'"));
        terminal.wait_for("begun")?;
        settle();
        terminal.type_in("\x03");
        terminal.ends_with(130)
    }),
    ("a stop and fg", |terminal, fence| {
        terminal.line(&format!("{fence} sh -c 'echo beg\"\"un; sleep 1; echo en\"\"ded; exit 4'"));
        terminal.wait_for("begun")?;
        settle();
        terminal.type_in("\x1a");
        terminal.wait_for("ready> ")?;
        terminal.line("fg");
        terminal.wait_for("ended")?;
        terminal.ends_with(4)
    }),
    ("the window's size is followed", |terminal, fence| {
        terminal.line(&format!(
            "{fence} sh -c 'trap \"stty size\" WINCH; echo beg\"\"un; i=0; while [ $i -lt 40 ]; do sleep 0.1; i=$((i+1)); done'"
        ));
        terminal.wait_for("begun")?;
        settle();
        terminal.resize(31, 97);
        terminal.wait_for("31 97").map(drop)
    }),
];

const RELOADS: [(&str, &str, Test); 4] = [
    ("a narrower policy holds what starts from then on", "limit files 200\n", narrowed),
    ("a narrower policy is what connections are judged by", "", connections_narrowed),
    ("a wider policy is refused, with its rule", "deny run \"sleep 77\" best-effort\n", widened),
    ("a policy that needs another file tree is refused", "", other_tree),
];

fn reload(opened: &Opened, rules: &str) -> Result<(i32, String), String> {
    opened.scene.policy(&format!("{POLICY}{rules}"));
    let reloaded = opened.fence(&["session", "reload", "s"]).run();
    match reloaded.ending {
        Ending::Code(code) => Ok((code, reloaded.err())),
        other => Err(format!("reload: {other:?} {}", reloaded.err())),
    }
}

fn says(opened: &Opened, text: &str, code: i32, out: &str) -> Result<(), String> {
    let finished = opened.shell(text).run();
    if finished.ending == Ending::Code(code) && finished.out().trim() == out {
        return Ok(());
    }
    Err(format!("{text}: {:?} {:?} {}", finished.ending, finished.out(), finished.err()))
}

fn narrowed(opened: &Opened) -> Result<(), String> {
    let text = "read x < gate; ulimit -n; sleep 0.77; sleep 77 & sleep 0.2; kill $! && echo ran";
    let gate = opened.scene.path("{work}/gate");
    let made = Command::new("mkfifo").args(["-m", "666"]).arg(&gate).status();
    made.map_err(|error| error.to_string())?;
    let before = opened.shell(text).spawn().map_err(|error| error.to_string())?;
    let (_, first) = opened.processes()?;
    wait_until("the first command to run", || inside(first) == 1)?;
    let rules = "deny run \"sleep 77\" best-effort\nallow run *\nlimit files 100\n";
    says(opened, "ulimit -n", 0, "200")?;
    let (code, told) = reload(opened, rules)?;
    if code != 0 {
        return Err(format!("reload: {code} {told}"));
    }
    says(opened, "ulimit -n", 0, "100")?;
    for evasion in ["exec sleep 77", "sh -c 'sleep 77'", "x=77; \"$(echo sle)ep\" $x"] {
        says(opened, evasion, 126, "")?;
    }
    says(opened, "ulimit -n 150 2> /dev/null || ulimit -n", 0, "100")?;
    let mut gate = File::options().read(true).write(true).open(gate).map_err(|error| error.to_string())?;
    gate.write_all(b"\n").map_err(|error| error.to_string())?;
    let output = before.wait_with_output().map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if told.split_whitespace().collect::<Vec<_>>() != ["200", "ran"] {
        return Err(format!("what ran before has changed: {told:?}"));
    }
    // Once more, with another process that judges.
    let (code, told) = reload(opened, &rules.replace("100", "90"))?;
    if code != 0 {
        return Err(format!("reload: {code} {told}"));
    }
    says(opened, "ulimit -n", 0, "90")?;
    says(opened, "exec sleep 77", 126, "")?;
    says(opened, "exit 5", 5, "")
}

fn connections_narrowed(opened: &Opened) -> Result<(), String> {
    opened.close()?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(b"hello");
        }
    });
    let policy = opened.scene.policy(&format!("{POLICY}allow connect localhost\n")).display().to_string();
    let started = opened.fence(&["session", "start", "-q", "s", "-p", &policy]).run();
    if started.ending != Ending::Code(0) {
        return Err(format!("start: {:?} {}", started.ending, started.err()));
    }
    let connect = format!(
        "python3 -c 'import socket; s = socket.create_connection((\"127.0.0.1\", {port}), 5); print(s.recv(5).decode())' 2> /dev/null"
    );
    says(opened, &connect, 0, "hello")?;
    for (rules, out) in [
        (format!("allow connect localhost:{port}\n"), "hello"),
        (format!("allow connect localhost:{port}\ndeny connect localhost:1\n"), "hello"),
        (format!("allow connect localhost:{port}\ndeny connect localhost\n"), ""),
        (String::new(), ""),
    ] {
        let (code, told) = reload(opened, &rules)?;
        if code != 0 && !(rules.is_empty() && told.contains("deny connect")) {
            return Err(format!("{rules}: {code} {told}"));
        }
        let finished = opened.shell(&connect).run();
        if finished.out().trim() != out {
            return Err(format!("{rules}: {:?} {:?}", finished.ending, finished.out()));
        }
    }
    Ok(())
}

fn widened(opened: &Opened) -> Result<(), String> {
    let deny = "deny run \"sleep 77\" best-effort\n";
    for (rules, rule) in [
        (format!("{deny}allow connect localhost:9\n"), "allow connect localhost:9"),
        (String::new(), "deny run \"sleep 77\" best-effort"),
        (format!("{deny}set env A = \"b\"\n"), "set env"),
    ] {
        let (code, told) = reload(opened, &rules)?;
        if code != 1 || !told.contains(rule) || !told.contains("stop the session and start it again") {
            return Err(format!("{rules}: {code} {told}"));
        }
        says(opened, "exec sleep 77", 126, "")?;
    }
    let (code, told) = reload(opened, "bogus\n")?;
    if code != 1 || !told.contains("E0105") { Err(format!("{code} {told}")) } else { Ok(()) }
}

fn other_tree(opened: &Opened) -> Result<(), String> {
    for rules in ["deny write $cwd/kept best-effort\n", "deny run sleep best-effort\n"] {
        let kept = opened.scene.path("{work}/kept");
        fs::create_dir_all(kept).map_err(|error| error.to_string())?;
        let (code, told) = reload(opened, rules)?;
        if code != 1 || !told.contains("file tree") {
            return Err(format!("{rules}: {code} {told}"));
        }
    }
    // What was made in the meantime is no difference.
    let (code, told) = reload(opened, "")?;
    if code == 0 { Ok(()) } else { Err(told) }
}

/// Gives the job in the foreground the time to get the terminal; what is typed before goes to the shell.
fn settle() {
    thread::sleep(Duration::from_millis(300));
}

fn judged(opened: &Opened) -> Result<(), String> {
    let evasions = [
        "exec sleep 77",
        "sh -c 'sleep 77'",
        "x=77; \"$(echo sle)ep\" $x",
        "printf '#!/bin/sh\\nsleep 77\\n' > script; chmod +x script; ./script",
    ];
    for text in evasions {
        let finished = opened.shell(text).run();
        if !matches!(finished.ending, Ending::Code(126)) {
            return Err(format!("{text}: {:?} {}", finished.ending, finished.err()));
        }
    }
    for (text, code) in
        [("sleep 0.01", 0), ("exit 5", 5), ("for i in 1 2 3 4 5 6 7 8; do /bin/true & done; wait", 0)]
    {
        let finished = opened.shell(text).run();
        if finished.ending != Ending::Code(code) {
            return Err(format!("{text}: {:?} {}", finished.ending, finished.err()));
        }
    }
    Ok(())
}

fn connected(opened: &Opened, listener: &TcpListener, port: u16) -> Result<(), String> {
    let connect = |port: u16| {
        let text = format!(
            "python3 -c 'import socket; s = socket.create_connection((\"127.0.0.1\", {port}), 5); print(s.recv(5).decode())'"
        );
        opened.shell(&text)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let accepted = listener.accept();
                let _ = accepted.map(|(mut stream, _)| stream.write_all(b"hello"));
            }
        });
        for _ in 0..2 {
            let finished = connect(port).run();
            if finished.out().trim() != "hello" {
                return Err(format!("{:?} {} {}", finished.ending, finished.out(), finished.err()));
            }
        }
        Ok(())
    })?;
    let other = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let refused = connect(other.local_addr().map_err(|error| error.to_string())?.port()).run();
    if refused.ending == Ending::Code(0) {
        Err("another port can be connected to".to_owned())
    } else {
        Ok(())
    }
}

/// A scene with a session in it.
struct Opened {
    scene: Scene,
}

impl Opened {
    fn new(ground: &Ground, person: &Person) -> Result<Opened, String> {
        Opened::under(ground, person, POLICY)
    }

    fn under(ground: &Ground, person: &Person, policy: &str) -> Result<Opened, String> {
        let scene = Scene::new(ground, person, &[], &[]);
        let policy = scene.policy(policy).display().to_string();
        let opened = Opened { scene };
        let started = opened.fence(&["session", "start", "-q", "s", "--idle", "300s", "-p", &policy]).run();
        if started.ending != Ending::Code(0) {
            return Err(format!("start: {:?} {}", started.ending, started.err()));
        }
        Ok(opened)
    }

    fn fence(&self, words: &[&str]) -> Start {
        let fence = self.scene.fence().display().to_string();
        let mut start =
            self.scene.start().words(std::iter::once(fence.as_str()).chain(words.iter().copied()));
        start.limit = Duration::from_secs(60);
        start
    }

    fn shell(&self, text: &str) -> Start {
        self.fence(&["session", "run", "s", "--", "/bin/sh", "-c", text])
    }

    /// The process that keeps the session, and the first one inside.
    fn processes(&self) -> Result<(i32, i32), String> {
        let mark = self.scene.root().display().to_string();
        let found: Vec<i32> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
            .filter(|pid: &i32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                line.contains(" session start ") && line.contains(&mark)
            })
            .collect();
        let first =
            found.iter().copied().find(|pid| parent(*pid).is_some_and(|parent| found.contains(&parent)));
        let manager = first.and_then(parent);
        manager.zip(first).ok_or_else(|| format!("no session among {found:?}"))
    }

    /// Stops it, and looks for what is left.
    fn close(&self) -> Result<(), String> {
        let stopped = self.fence(&["session", "stop", "s"]).run();
        if !matches!(stopped.ending, Ending::Code(0 | 1)) {
            return Err(format!("stop: {:?} {}", stopped.ending, stopped.err()));
        }
        self.nothing_is_left()
    }

    fn nothing_is_left(&self) -> Result<(), String> {
        wait_until("the session to be forgotten", || {
            self.fence(&["session", "list"]).run().out().trim().is_empty()
        })?;
        let left = self.scene.survivors();
        if !left.is_empty() {
            return Err(format!("left: {left:?}"));
        }
        let folder = self.scene.path("{home}/.local/state/fence/sessions");
        let names: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        if names.is_empty() { Ok(()) } else { Err(format!("left: {names:?}")) }
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > Duration::from_secs(30) {
            return Err(format!("waited too long for {what}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn many_at_once(opened: &Opened) -> Result<(), String> {
    const MANY: usize = 200;
    let gate = opened.scene.path("{work}/gate");
    let made = Command::new("mkfifo").args(["-m", "666"]).arg(&gate).status();
    made.map_err(|error| error.to_string())?;
    let mut children = Vec::new();
    for _ in 0..MANY {
        let text = "read x < gate; exit 9";
        children.push(opened.shell(text).spawn().map_err(|error| error.to_string())?);
    }
    let (_, first) = opened.processes()?;
    wait_until("all to run at once", || inside(first) == MANY)?;
    let mut gate = File::options().read(true).write(true).open(gate).map_err(|error| error.to_string())?;
    gate.write_all(&b"\n".repeat(MANY)).map_err(|error| error.to_string())?;
    for child in children {
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.code() != Some(9) {
            return Err(format!("{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

/// How many children the first process has.
fn inside(first: i32) -> usize {
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
    children.split_whitespace().count()
}

/// What the processes of a session hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    processes: usize,
    memory: u64,
}

fn held(opened: &Opened) -> Result<Held, String> {
    let (manager, first) = opened.processes()?;
    // Those beside the first process judge, or look.
    let all: Vec<i32> = [manager].into_iter().chain(children(manager)?).collect();
    let descriptors =
        all.iter().map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or(0)).sum();
    let memory = all.iter().map(|pid| resident(*pid)).sum();
    Ok(Held { descriptors, memory, processes: inside(first) })
}

fn children(process: i32) -> Result<Vec<i32>, String> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.map_err(|error| error.to_string())?;
    Ok(children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// Memory of a process's own, in kB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    field("RssAnon:")
}

fn nothing_grows(opened: &Opened, option: &str) -> Result<(), String> {
    let commands =
        std::env::var("FENCE_SESSION_COMMANDS").ok().and_then(|text| text.parse().ok()).unwrap_or(COMMANDS);
    let some = |count: u32| {
        let fence = opened.scene.fence().display().to_string();
        let text = format!(
            "i=0; while [ $i -lt {count} ]; do {fence} session run {option} s -- /bin/true || exit 1; {fence} session run {option} s -- /bin/sh -c 'echo > /usr/x; exit 3'; [ $? = 3 ] || exit 1; i=$((i+2)); done"
        );
        let mut start = opened.scene.start().words(["/bin/sh", "-c", &text]);
        start.limit = Duration::from_secs(600);
        let finished = start.run();
        match finished.ending {
            Ending::Code(0) => Ok(()),
            other => Err(format!("{other:?}: {}", finished.err())),
        }
    };
    some(50)?;
    let before = held(opened)?;
    some(commands)?;
    // The last command may be told of before everything of it is put away.
    let mut after = held(opened)?;
    for _ in 0..100 {
        if after.descriptors == before.descriptors && after.processes == before.processes {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        after = held(opened)?;
    }
    eprintln!("{commands} commands: {before:?}, then {after:?}");
    // The allocator may take a little more before it gives some back.
    let grown = after.memory.saturating_sub(before.memory);
    if after.descriptors != before.descriptors || after.processes != before.processes || grown > 256 {
        return Err(format!("{commands} commands: {before:?} became {after:?}"));
    }
    Ok(())
}

fn signals_reach(opened: &Opened) -> Result<(), String> {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1] {
        let name = signal.as_str().trim_start_matches("SIG");
        let text = format!(
            "trap 'exit 5' {name}; touch begun-{name}; i=0; while [ $i -lt 400 ]; do sleep 0.05; i=$((i+1)); done; exit 6"
        );
        let child = opened.shell(&text).spawn().map_err(|error| error.to_string())?;
        let begun = opened.scene.path(&format!("{{work}}/begun-{name}"));
        wait_until("the command to begin", || begun.exists())?;
        kill(Pid::from_raw(child.id() as i32), signal).map_err(|error| error.to_string())?;
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.code() != Some(5) {
            return Err(format!(
                "{signal}: {:?}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
    }
    Ok(())
}

fn left_running(opened: &Opened) -> Result<(), String> {
    let finished =
        opened.shell("(setsid sh -c 'while sleep 0.05; do date > alive; done' > /dev/null 2>&1 &)").run();
    if finished.ending != Ending::Code(0) {
        return Err(format!("{:?} {}", finished.ending, finished.err()));
    }
    let alive = opened.scene.path("{work}/alive");
    for _ in 0..2 {
        let _ = fs::remove_file(&alive);
        wait_until("what was left running", || alive.exists())?;
    }
    Ok(())
}

/// Whom a SIGKILL hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Manager,
    First,
    Helper,
}

const STUBBORN: &str =
    "(setsid sleep 599 &); (trap '' TERM HUP; sleep 599; sleep 599) & touch begun; sleep 599; sleep 599";

fn killed(opened: &Opened, victim: Victim) -> Result<(), String> {
    let child = opened.shell(STUBBORN).spawn().map_err(|error| error.to_string())?;
    wait_until("the command to begin", || opened.scene.path("{work}/begun").exists())?;
    let (manager, first) = opened.processes()?;
    let target = match victim {
        Victim::Manager => manager,
        Victim::First => first,
        Victim::Helper => {
            children(manager)?.into_iter().find(|pid| *pid != first).ok_or("there is no helper")?
        }
    };
    kill(Pid::from_raw(target), Signal::SIGKILL).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(125) || !told.contains("has ended, and the command with it") {
        return Err(format!("{:?}: {told}", output.status));
    }
    opened.nothing_is_left()
}

fn client_killed(opened: &Opened) -> Result<(), String> {
    let stubborn =
        "trap '' TERM HUP; (trap '' TERM HUP; sleep 599; sleep 599) & touch begun; sleep 599; sleep 599";
    let other = opened.shell("while ! [ -e done ]; do sleep 0.2; done; exit 8");
    let other = other.spawn().map_err(|error| error.to_string())?;
    let mut child = opened.shell(stubborn).spawn().map_err(|error| error.to_string())?;
    wait_until("the command to begin", || opened.scene.path("{work}/begun").exists())?;
    child.kill().map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    let (_, first) = opened.processes()?;
    wait_until("the command to end", || inside(first) == 1)?;
    fs::write(opened.scene.path("{work}/done"), "").map_err(|error| error.to_string())?;
    let output = other.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.code() == Some(8) { Ok(()) } else { Err(format!("the other: {:?}", output.status)) }
}

fn terminated(opened: &Opened) -> Result<(), String> {
    let (manager, _) = opened.processes()?;
    kill(Pid::from_raw(manager), Signal::SIGTERM).map_err(|error| error.to_string())?;
    opened.nothing_is_left()
}
