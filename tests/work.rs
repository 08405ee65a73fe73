//! Ordinary work that goes on inside, and what the built-in policy refuses in a repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unused_imports)]
mod harness;

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
    suite.run()
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
