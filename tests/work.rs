//! Ordinary work that goes on inside, and what the built-in policy refuses in a repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unused_imports)]
mod harness;
#[path = "work/matrix.rs"]
mod matrix;
#[path = "work/proxied.rs"]
mod proxied;
#[path = "work/published.rs"]
mod published;
#[path = "work/registries.rs"]
mod registries;
#[path = "work/streams.rs"]
mod streams;

use std::path::Path;
use std::process::ExitCode;

use harness::{Ending, Person, Scene, Suite};

fn main() -> ExitCode {
    let mut suite = Suite::new("work");
    suite.add_cases("work/cases");
    let ground = suite.ground();
    suite.add("cargo builds and runs a crate", &Person::oneself(), move || {
        cargo(&Scene::new(&ground, &Person::oneself(), &[], &[]))
    });
    for person in Person::everybody() {
        let (ground, someone) = (suite.ground(), person.clone());
        suite.add(
            "a start looks at no more files in a large workspace than in a small one",
            &person,
            move || looks(&Scene::new(&ground, &someone, &[], &[])),
        );
    }
    registries::add(&mut suite);
    proxied::add(&mut suite);
    streams::add(&mut suite);
    published::add(&mut suite);
    matrix::add(&mut suite);
    suite.run()
}

/// What a run said: its exit code and both its streams.
type Said = (Ending, String);

/// A host that no policy allows, and that does not exist.
const OTHER: &str = "other.invalid";

/// What is tried in a scene.
type Test = fn(&Scene) -> Result<(), String>;

/// Adds tests for each person.
fn add_for_everybody(suite: &mut harness::Suite, tests: &[(&str, Test)]) {
    for person in harness::Person::everybody() {
        for (name, test) in tests.iter().copied() {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add(name, &person, move || test(&Scene::new(&ground, &someone, &[], &[])));
        }
    }
}

/// The registry that npm is set to, if it can be reached.
fn npm_registry(scene: &Scene) -> Result<Option<String>, String> {
    let registry = run(scene, &["npm", "config", "get", "registry"], &[]);
    if !reachable(&registry)? || !reachable(&run(scene, &["npm", "view", "is-number", "name"], &[]))? {
        return Ok(None);
    }
    Ok(registry.1.lines().next().map(str::to_owned))
}

/// Runs words in the workspace, with the programs of whoever runs the tests.
fn run(scene: &Scene, words: &[&str], passed: &[&str]) -> Said {
    run_in(scene, "", words, passed)
}

/// The same in a directory below the workspace.
fn run_in(scene: &Scene, at: &str, words: &[&str], passed: &[&str]) -> Said {
    let mut start = scene.start().words(words.iter().copied());
    start.cwd = start.cwd.join(at);
    let certificates = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CARGO_HTTP_CAINFO"];
    for name in ["PATH", "RUSTUP_TOOLCHAIN"].iter().chain(&certificates).chain(passed) {
        start.environment.remove(std::ffi::OsStr::new(name));
        start.environment.extend(std::env::var_os(name).map(|value| ((*name).into(), value)));
    }
    start.limit = std::time::Duration::from_secs(240);
    let done = start.run();
    (done.ending, format!("{}{}", done.out(), done.err()))
}

fn succeeded((ending, text): &Said) -> Result<(), String> {
    if *ending == Ending::Code(0) { Ok(()) } else { Err(format!("{ending:?}\n{text}")) }
}

/// What the same words do without fence comes first: where they fail, nothing is reached from here.
fn reachable(said: &Said) -> Result<bool, String> {
    let here = succeeded(said).is_ok();
    if !here && std::env::var("CI").as_deref() == Ok("true") {
        return Err(format!("no registry is reached from here: {}", said.1));
    }
    if !here {
        println!("skipped: no registry is reached from here");
    }
    Ok(here)
}

/// The rule that allows the host of a URL.
fn rule_for(url: &str) -> String {
    let (scheme, rest) = url.trim().split_once("://").unwrap_or(("https", url));
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let port = if scheme == "http" { 80 } else { 443 };
    if host.contains(':') { format!("allow connect {host}") } else { format!("allow connect {host}:{port}") }
}

/// Cargo builds under the built-in policy, with the home, the toolchain and the cache of whoever runs the tests.
fn cargo(scene: &Scene) -> Result<(), String> {
    let fence = scene.fence().display().to_string();
    let work = scene.path("{work}");
    let write = |name: &str, text: &str| {
        let path = work.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
            .and_then(|()| std::fs::write(path, text))
            .map_err(|error| error.to_string())
    };
    write(
        "Cargo.toml",
        "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
    )?;
    write("src/main.rs", "fn main() {\n    println!(\"built inside\");\n}\n")?;
    let mut start = scene.start().words([
        fence.as_str(),
        "run",
        "-p",
        "default",
        "--",
        "cargo",
        "run",
        "-q",
        "--offline",
    ]);
    for name in ["HOME", "PATH", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        start.environment.remove(std::ffi::OsStr::new(name));
        start.environment.extend(std::env::var_os(name).map(|value| (name.into(), value)));
    }
    start.limit = std::time::Duration::from_secs(180);
    let done = start.run();
    match (done.ending, done.out().trim()) {
        (Ending::Code(0), "built inside") => Ok(()),
        _ => Err(format!("{:?}\n{}{}", done.ending, done.out(), done.err())),
    }
}

/// What a start asks of the file system, by call, hangs on the policy, and not on how much lies in the workspace.
fn looks(scene: &Scene) -> Result<(), String> {
    const CALLS: &str = "trace=statx,newfstatat,open,openat,openat2,readlink,getdents64,open_tree,move_mount,landlock_add_rule";
    let fence = scene.fence().display().to_string();
    let mut counts = Vec::new();
    for directories in [1, 20] {
        let fill = format!(
            "for d in $(seq {directories}); do mkdir d$d; for f in $(seq 100); do : > d$d/$f; done; done"
        );
        succeeded(&run(scene, &["/bin/sh", "-c", &fill], &[]))?;
        let start = [fence.as_str(), "run", "-q", "-p", "default", "--", "true"];
        let words = [&["strace", "-f", "-c", "-o", "../counts", "-e", CALLS][..], &start].concat();
        succeeded(&run(scene, &words, &[]))?;
        let told = std::fs::read_to_string(scene.path("{home}/counts")).map_err(|error| error.to_string())?;
        let count = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = fields.last().filter(|name| CALLS.contains(**name))?;
            Some(format!("{name} {}", fields.get(3)?))
        };
        let mut lines: Vec<String> = told.lines().filter_map(count).collect();
        lines.sort();
        if lines.len() < 5 {
            return Err(format!("nothing was counted: {told}"));
        }
        counts.push(lines);
        succeeded(&run(scene, &["/bin/sh", "-c", "rm -rf d*"], &[]))?;
    }
    match counts.as_slice() {
        [small, large] if small == large => Ok(()),
        _ => Err(format!("{counts:?}")),
    }
}
