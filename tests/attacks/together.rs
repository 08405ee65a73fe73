//! Two sandboxes in one workspace: one that ends, or that may do more, takes nothing from the other.

use std::io::Write;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Ending, Person, Scene, Suite};

const NARROW: &str = "include base\nallow read write $cwd\nallow read ~\ndeny read write ~/secret\ndeny write $cwd/kept best-effort\n";
const WIDE: &str = "include base\nallow read write $cwd, ~/secret\n";

/// Adds the tests.
pub fn add(suite: &mut Suite) {
    for person in Person::everybody() {
        for (name, other) in [("with the same policy", NARROW), ("with a wider policy", WIDE)] {
            let (ground, someone) = (suite.ground(), person.clone());
            suite.add(&format!("together::another sandbox {name} ends"), &person, move || {
                let scene = Scene::new(&ground, &someone, &[], &[]);
                std::fs::write(scene.path("{work}/kept"), "as it was\n")
                    .map_err(|error| error.to_string())?;
                another_ends(&scene, other)
            });
        }
    }
}

fn another_ends(scene: &Scene, other: &str) -> Result<(), String> {
    let fence = scene.fence().display().to_string();
    let run = |policy: &str, text: &str| {
        scene.start().words([fence.as_str(), "run", "-p", policy, "--", "/bin/sh", "-c", text])
    };
    let narrow = scene.policy(NARROW).with_file_name("narrow.fence");
    std::fs::rename(scene.path("{root}/case.fence"), &narrow).map_err(|error| error.to_string())?;
    let text =
        "touch begun; read go; cat ../secret/key; echo more >> kept; rm -f kept; mv kept other; test -e kept";
    let mut first = run(&narrow.display().to_string(), text).spawn().map_err(|error| error.to_string())?;
    wait_for_file(scene, "{work}/begun", &mut first)?;

    let wide = scene.policy(other).display().to_string();
    let second = run(&wide, "cat ../secret/key; cat kept").run();
    if second.ending != Ending::Code(0) || second.out().contains("the secret") != (other == WIDE) {
        return Err(format!("the second: {:?} {}{}", second.ending, second.out(), second.err()));
    }
    first.stdin.take().map(|mut stdin| stdin.write_all(b"go\n"));
    let first = first.wait_with_output().map_err(|error| error.to_string())?;
    let kept = std::fs::read_to_string(scene.path("{work}/kept")).unwrap_or_default();
    let out = String::from_utf8_lossy(&first.stdout);
    if !first.status.success() || out.contains("the secret") || kept != "as it was\n" {
        return Err(format!(
            "the first: {:?} {out}{} kept: {kept:?}",
            first.status,
            String::from_utf8_lossy(&first.stderr)
        ));
    }
    Ok(())
}

fn wait_for_file(scene: &Scene, path: &str, child: &mut Child) -> Result<(), String> {
    let began = Instant::now();
    while !scene.path(path).exists() {
        if began.elapsed() > Duration::from_secs(20) || !matches!(child.try_wait(), Ok(None)) {
            let _ = child.kill();
            return Err("the first does not begin".to_owned());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
