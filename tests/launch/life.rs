//! How a run ends, and that nothing of it is left.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fence_compiler::plan::{LimitMechanism, LimitPlan};
use fence_compiler::policy::LimitKind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Case;
use crate::world::{Ran, World};

pub const CASES: &[Case] = &[
    ("the_exit_code_is_the_commands", exit_codes),
    ("a_time_limit_ends_everything", time_limit),
    ("limits_hold", limits),
    ("killing_any_process_leaves_nothing", nothing_left),
    ("what_was_left_running_ends_with_the_command", background),
    ("signals_reach_the_command", signals),
    ("an_output_that_is_closed_ends_for_its_reader", closed_output),
    ("a_broken_pipe_ends_the_command", broken_pipe),
    ("signal_dispositions_are_the_callers", dispositions),
    ("processors_are_the_callers", processors),
    ("many_at_once_do_not_meet", many),
    ("orphans_are_reaped", orphans),
];

fn exit_codes(world: &World) {
    for (text, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
        ("kill -KILL $$", 137),
        ("kill -PIPE $$", 141),
    ] {
        assert_eq!(world.shell(&world.plan(), text).code, Some(code), "{text}");
    }
}

fn limit(kind: LimitKind, amount: u64, by: LimitMechanism) -> LimitPlan {
    LimitPlan { kind, amount, by }
}

fn time_limit(world: &World) {
    let mut plan = world.plan();
    plan.limits.push(limit(LimitKind::Time, 300, LimitMechanism::Timer));
    let start = Instant::now();
    let marker = marker();
    let ran = world.shell(&plan, &format!("trap '' TERM; sleep {marker} & sleep {marker}"));
    assert_eq!(ran.code, Some(124), "{ran:?}");
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(20));
    assert_eq!(processes(&marker), Vec::<i32>::new());
}

fn limits(world: &World) {
    for (kind, amount, text, expected) in [
        (LimitKind::Files, 20, "ulimit -n", "20\n"),
        (LimitKind::FileSize, 1024 * 512, "ulimit -f", "1024\n"),
        (LimitKind::Cpu, 1500, "ulimit -t", "2\n"),
    ] {
        let mut plan = world.plan();
        plan.limits.push(limit(kind, amount, LimitMechanism::Rlimit));
        assert_eq!(world.shell(&plan, text).fine(), expected, "{text}");
    }
    let mut plan = world.plan();
    plan.limits.push(limit(LimitKind::Processes, 400, LimitMechanism::PidMax));
    match world.shell(&plan, "i=0; while [ $i -lt 600 ]; do sleep 9 & i=$((i + 1)); done; echo $i") {
        ran if ran.err.contains("No such file") => {
            println!("skipped: this kernel has no `pid_max` of a namespace")
        }
        ran => assert!(ran.code != Some(0) || ran.err.contains("fork"), "{ran:?}"),
    }
}

/// A number of seconds that no other process sleeps for.
fn marker() -> String {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("86400.{:09}{}", time.subsec_nanos(), std::process::id())
}

/// The processes that have a word among their arguments.
fn processes(word: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|part| part == word.as_bytes()))
    };
    numbers.filter(has).collect()
}

/// Waits until a condition holds.
fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// A launch that does not outlive a failed check.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a shell text that says `ready` when it is.
fn start(world: &World, text: &str) -> (Running, BufReader<std::process::ChildStdout>) {
    let mut child =
        world.launch(&world.plan(), &["/bin/sh", "-c", text]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (Running(child), out)
}

fn nothing_left(world: &World) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for generation in 0..3 {
        let marker = marker();
        let text = format!("setsid sleep {marker} & sleep {marker} & echo ready; sleep {marker}; exit 7");
        let (mut child, _out) = start(world, &text);
        soon("all run", || processes(&marker).len() == 3);
        let first = children(child.0.id())[0];
        let victim = [child.0.id(), first, *children(first).first().unwrap()][generation];
        send(victim, Signal::SIGKILL);
        let status = child.0.wait().unwrap();
        match generation {
            0 => assert_eq!(status.signal(), Some(9)),
            1 => assert_eq!(status.code(), Some(125)),
            _ => assert_eq!(status.code(), Some(137)),
        }
        soon("nothing is left", || processes(&marker).is_empty());
    }
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
}

fn background(world: &World) {
    let marker = marker();
    let ran = world.shell(
        &world.plan(),
        &format!("setsid sleep {marker} >&- 2>&- & nohup sleep {marker} >&- 2>&- & exit 3"),
    );
    assert_eq!(ran.code, Some(3));
    assert_eq!(processes(&marker), Vec::<i32>::new());
}

fn signals(world: &World) {
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
    ] {
        let text = format!("trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let (mut child, mut out) = start(world, &text);
        send(child.0.id(), signal);
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!((rest.as_str(), child.0.wait().unwrap().code()), ("got\n", Some(9)), "{name}");
    }
    let (mut child, _out) = start(world, "echo ready; exec sleep 60");
    send(child.0.id(), Signal::SIGTERM);
    assert_eq!(child.0.wait().unwrap().code(), Some(143));
}

fn closed_output(world: &World) {
    let (child, mut out) = start(world, "echo ready; exec >&-; sleep 60");
    let (mut rest, start) = (String::new(), Instant::now());
    out.read_to_string(&mut rest).unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(child);
}

fn broken_pipe(world: &World) {
    let (mut child, out) = start(world, "echo ready; while :; do echo more; done");
    drop(out);
    assert_eq!(child.0.wait().unwrap().code(), Some(141));
}

fn dispositions(world: &World) {
    let value = |status: &str, name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    // What any program gets that is started in this way.
    let outside =
        Ran::new(std::process::Command::new("/bin/cat").arg("/proc/self/status").output().unwrap()).fine();
    let inside = world.shell(&world.plan(), "exec cat /proc/self/status").fine();
    for mask in ["SigIgn", "SigBlk"] {
        assert_eq!(value(&inside, mask), value(&outside, mask), "{mask}");
    }
    // A caller that ignores SIGHUP.
    let plan = world.launch(&world.plan(), &["/bin/cat", "/proc/self/status"]);
    let words: Vec<_> = [plan.get_program()].into_iter().chain(plan.get_args()).collect();
    let text = "trap '' HUP; exec \"$@\"";
    let mut command = std::process::Command::new("/bin/sh");
    let ran = Ran::new(
        command.args(["-c", text, "sh"]).args(words).current_dir(&world.workspace).output().unwrap(),
    );
    assert_eq!(value(&ran.fine(), "SigIgn"), value(&outside, "SigIgn") | 1);
}

/// A launch keeps to one processor; the command has all that its caller may use, and no other.
fn processors(world: &World) {
    let allowed = |status: &str| {
        status.lines().find(|line| line.starts_with("Cpus_allowed:")).map(ToOwned::to_owned).unwrap()
    };
    let status = |command: &mut std::process::Command| {
        allowed(&Ran::new(command.current_dir(&world.workspace).output().unwrap()).fine())
    };
    let plan = world.plan();
    let sees = ["/bin/cat", "/proc/self/status"];
    let all = status(std::process::Command::new(sees[0]).arg(sees[1]));
    assert_eq!(status(&mut world.launch(&plan, &sees)), all);
    let launch = world.launch(&plan, &sees);
    let words: Vec<_> = [launch.get_program()].into_iter().chain(launch.get_args()).collect();
    let one = |words: &[&std::ffi::OsStr]| {
        status(std::process::Command::new("taskset").args(["--cpu-list", "0"]).args(words))
    };
    assert_eq!(one(&words), one(&sees.map(AsRef::as_ref)));
}

fn many(world: &World) {
    let mut launches: Vec<Child> = (0..10)
        .map(|number| {
            let text = format!(
                "echo {number} > /tmp/x; echo {number} > /dev/shm/x; sleep 0.1; cat /tmp/x /dev/shm/x"
            );
            world.launch(&world.plan(), &["/bin/sh", "-c", &text]).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, child) in launches.iter_mut().enumerate() {
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert_eq!(out, format!("{number}\n{number}\n"));
        assert!(child.wait().unwrap().success());
    }
}

fn orphans(world: &World) {
    let text =
        "for i in 1 2 3 4 5; do (true & ) ; done; sleep 0.2; cat /proc/[0-9]*/stat | grep -c ') Z ' || true";
    assert_eq!(world.shell(&world.plan(), text).fine(), "0\n");
}
