//! The command line as a person meets it: cases below `cli/` as data, each as this user and, for root, as an
//! ordinary one too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;

/// A case: files of a directory, and what happens there, step by step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Files by their path below the work directory (`~/…`: below the home).
    #[serde(default)]
    files: BTreeMap<String, String>,
    steps: Vec<Step>,
}

/// One command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// A line of shell text, run outside; `fence` is the program under test.
    run: String,
    /// The exit code.
    #[serde(default)]
    code: i32,
    /// Texts that standard output holds.
    #[serde(default)]
    out: Vec<String>,
    /// Texts that standard error holds.
    #[serde(default)]
    err: Vec<String>,
    /// Texts that neither holds.
    #[serde(default)]
    not: Vec<String>,
    /// Only as root.
    #[serde(default)]
    root_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Person {
    Oneself,
    Ordinary,
}

const ORDINARY: u32 = 12_321;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let ground =
        Box::leak(Box::new(tempfile::Builder::new().prefix("fence-cli-").tempdir_in("/var/tmp").unwrap()));
    fs::set_permissions(ground.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_fence"), ground.path().join("fence")).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cli");
    keep_pages(&folder.join("help"), &ground.path().join("data/help"));
    keep_pages(&folder.join("../../schemas"), &ground.path().join("data/schemas"));
    let mut trials = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "yaml")) {
        let cases: Vec<Case> = serde_yaml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for case in cases {
            for person in people() {
                let (case, top) = (case.clone(), ground.path().to_owned());
                let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
                let name = format!("{stem}: {} ({person:?})", case.name);
                trials.push(Trial::test(name, move || play(&case, person, &top).map_err(Into::into)));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    fs::remove_dir_all(ground.path()).unwrap();
    conclusion.exit_code()
}

/// Puts the kept pages where every person can read them.
fn keep_pages(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn people() -> Vec<Person> {
    if nix::unistd::getuid().is_root() {
        vec![Person::Oneself, Person::Ordinary]
    } else {
        vec![Person::Oneself]
    }
}

fn play(case: &Case, person: Person, top: &Path) -> Result<(), String> {
    let scene = tempfile::tempdir_in(top).unwrap();
    let (home, work) = (scene.path().join("home"), scene.path().join("work"));
    for folder in [&home, &work] {
        fs::create_dir(folder).unwrap();
    }
    for (name, text) in &case.files {
        let path = match name.strip_prefix("~/") {
            Some(name) => home.join(name),
            None => work.join(name),
        };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    if person == Person::Ordinary {
        give(scene.path());
    }
    case.steps.iter().filter(|step| !step.root_only || is_root(person)).try_for_each(|step| {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &step.run])
            .current_dir(&work)
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", top.display()))
            .env("HOME", &home)
            .env("SCENE", scene.path())
            .env("DATA", top.join("data"))
            .env("TERM", "xterm")
            .env("SECRET_TOKEN", "hidden")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if person == Person::Ordinary {
            shell.uid(ORDINARY).gid(ORDINARY);
        }
        let output = shell.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let mut wrong = Vec::new();
        if output.status.code() != Some(step.code) {
            wrong.push(format!("it ended with {:?}, not {}", output.status.code(), step.code));
        }
        wrong.extend(
            step.out.iter().filter(|text| !out.contains(*text)).map(|text| format!("no {text:?} in stdout")),
        );
        wrong.extend(
            step.err.iter().filter(|text| !err.contains(*text)).map(|text| format!("no {text:?} in stderr")),
        );
        wrong.extend(
            step.not
                .iter()
                .filter(|text| out.contains(*text) || err.contains(*text))
                .map(|text| format!("{text:?} is told")),
        );
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("{}\n  {}\n--- stdout\n{out}\n--- stderr\n{err}", step.run, wrong.join("\n  ")))
    })
}

fn is_root(person: Person) -> bool {
    person == Person::Oneself && nix::unistd::getuid().is_root()
}

/// Makes everything the ordinary user's.
fn give(path: &Path) {
    chown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
    std::io::stdout().flush().unwrap();
}
