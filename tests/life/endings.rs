//! Signals reach the command, and however a run ends, nothing of it is left.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Ground, Person, Scene, Start, Suite, Tree, World};

const POLICY: &str = "include base\nallow read write exec $cwd, $tmp\n";

/// How many runs there are, unless `FENCE_LIFE_RUNS` says so.
const RUNS: u32 = 150;

/// How many run at once.
const AT_ONCE: u32 = 10;

/// Adds the tests.
pub fn add(suite: &mut Suite) {
    for person in Person::everybody() {
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1] {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add(&format!("endings::{signal} reaches the command"), &person, move || {
                signal_reaches(&Scene::new(&ground, &someone, &[], &[]), signal)
            });
        }
        for victim in [Victim::Fence, Victim::Relay, Victim::First, Victim::Command] {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add(&format!("endings::SIGKILL of {victim:?} ends all"), &person, move || {
                kill_ends_all(&ground, &someone, victim)
            });
        }
    }
    let ground = suite.ground();
    suite.add("endings::nothing is left", &Person::oneself(), move || nothing_is_left(&ground));
}

/// Whom a SIGKILL hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The process that the caller started.
    Fence,
    /// The process that relays the command's own terminal.
    Relay,
    /// The first process inside.
    First,
    /// The command.
    Command,
}

/// With a terminal of its own.
fn relayed(scene: &Scene, text: &str) -> Start {
    let policy = scene.policy(POLICY).display().to_string();
    let fence = scene.fence().display().to_string();
    scene.start().words([fence.as_str(), "run", "--pty", "-p", &policy, "--", "/bin/sh", "-c", text])
}

fn fenced(scene: &Scene, text: &str) -> Start {
    let policy = scene.policy(POLICY).display().to_string();
    let fence = scene.fence().display().to_string();
    scene.start().words([fence.as_str(), "run", "-p", &policy, "--", "/bin/sh", "-c", text])
}

fn signal_reaches(scene: &Scene, signal: Signal) -> Result<(), String> {
    let name = signal.as_str().trim_start_matches("SIG");
    let text = format!(
        "trap 'echo caught > caught; exit 5' {name}; touch begun; i=0; while [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done; exit 6"
    );
    let start = fenced(scene, &text);
    let child = start.spawn().map_err(|error| error.to_string())?;
    wait_until("the command to begin", || scene.path("{work}/begun").exists())?;
    thread::sleep(Duration::from_millis(50));
    kill(Pid::from_raw(child.id() as i32), signal).map_err(|error| error.to_string())?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match output.status.code() {
        Some(5) if scene.path("{work}/caught").exists() => Ok(()),
        _ => Err(format!("{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

fn kill_ends_all(ground: &Ground, person: &Person, victim: Victim) -> Result<(), String> {
    let scene = Scene::new(ground, person, &[], &[]);
    let text =
        "(setsid sleep 599 &); (trap '' TERM HUP; sleep 599; sleep 599) & touch begun; sleep 599; sleep 599";
    let start = if victim == Victim::Relay { relayed(&scene, text) } else { fenced(&scene, text) };
    let mut child = start.spawn().map_err(|error| error.to_string())?;
    wait_until("the command to begin", || scene.path("{work}/begun").exists())?;
    let target = find(victim, &child).ok_or("the victim is not there")?;
    kill(Pid::from_raw(target), Signal::SIGKILL).map_err(|error| error.to_string())?;
    wait_until("fence to end", || matches!(child.try_wait(), Ok(Some(_))))
        .inspect_err(|_| drop(child.kill()))?;
    if victim == Victim::Relay {
        // What it started ends with it, and the sandbox with that.
        wait_until("the rest to end", || scene.survivors().is_empty())?;
    }
    let left = scene.survivors();
    if left.is_empty() { Ok(()) } else { Err(format!("left: {left:?}")) }
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > Duration::from_secs(20) {
            return Err(format!("waited too long for {what}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The process to be hit, if it is there yet.
fn find(victim: Victim, child: &Child) -> Option<i32> {
    let fence = child.id() as i32;
    match victim {
        Victim::Fence | Victim::Relay => Some(fence),
        Victim::First => only_child(fence),
        Victim::Command => only_child(only_child(fence)?),
    }
}

fn only_child(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Many runs, ten at a time, from two persons, a third of them ended by SIGKILL at a random moment of the first
/// 50 ms; then the host is compared.
fn nothing_is_left(ground: &Arc<Ground>) -> Result<(), String> {
    let runs = std::env::var("FENCE_LIFE_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS);
    let seed =
        std::env::var("FENCE_LIFE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64)
        });
    let persons: Vec<Person> = Person::ordinary().into_iter().take(2).collect();
    let scenes: Vec<Scene> = (0..AT_ONCE)
        .map(|lane| Scene::new(ground, &persons[lane as usize % persons.len()], &[], &[]))
        .collect();
    let marks: Vec<String> = scenes.iter().map(|scene| format!("{}/", scene.root().display())).collect();
    let starts: Vec<Start> = scenes.iter().map(|scene| fenced(scene, COMMAND)).collect();
    let roots: Vec<&Path> = scenes.iter().map(Scene::root).collect();
    let worlds: Vec<World> = marks.iter().map(|mark| World::now(mark, &roots)).collect();
    let trees: Vec<Tree> = roots.iter().map(|root| Tree::of(root)).collect();

    let next = AtomicU32::new(0);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for start in &starts {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= runs {
                        break;
                    }
                    if let Err(wrong) = one_run(start, random(seed, run)) {
                        failed.lock().unwrap().push(format!("run {run}: {wrong}"));
                    }
                }
            });
        }
    });
    let mut wrong = failed.into_inner().unwrap();
    for (mark, world) in marks.iter().zip(&worlds) {
        wrong.extend(world.leftovers(mark, &roots, Duration::from_secs(5)));
    }
    for (root, before) in roots.iter().zip(&trees) {
        wrong.extend(
            before.changes(&Tree::of(root)).iter().map(|(path, how)| format!("{}: {how}", path.display())),
        );
    }
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { Err(format!("seed {seed}, {runs} runs:\n{}", wrong.join("\n"))) }
}

/// What a run does: files in its own `/tmp` and `/dev/shm`, children, one of them in a session of its own.
const COMMAND: &str = "echo x > /tmp/y; echo x > /dev/shm/y; (setsid sleep 20 > /dev/null 2>&1 &); sleep 0.02; cat /tmp/y > /dev/null";

fn one_run(start: &Start, random: u64) -> Result<(), String> {
    let mut child = start.spawn().map_err(|error| error.to_string())?;
    let victim = match random % 9 {
        0 => Some(Victim::Fence),
        1 => Some(Victim::First),
        2 => Some(Victim::Command),
        _ => None,
    };
    if let Some(victim) = victim {
        thread::sleep(Duration::from_micros(random / 9 % 50_000));
        if let Some(pid) = find(victim, &child) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let began = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if began.elapsed() > Duration::from_secs(30) {
            let _ = child.kill();
            return Err(format!("did not end ({victim:?} was killed)"));
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match victim {
        None if !output.status.success() => {
            Err(format!("{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
        }
        _ => Ok(()),
    }
}

/// A number that looks random, the same for the same seed and run (splitmix64).
fn random(seed: u64, run: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(run + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
