//! The native launch, from a plan made by hand to what a command inside sees; as root and as an ordinary user.
//!
//! The test binary is its own driver: called with `drive PLAN.json PROGRAM ARGUMENT…` it launches and ends as `fence`
//! would. So each case has a process of its own that can be killed, stopped and looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod life;
mod network;
mod plan;
mod sees;
mod terminal;
mod told;
mod world;

use std::ffi::CString;
use std::panic::catch_unwind;
use std::process::ExitCode;

use fence::launch::{Command, Observed, Options, Standard, Timings};

use world::{User, World};

/// A case: what holds, and the check of it.
type Case = (&'static str, fn(&World));

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, plan, command @ ..] = arguments.as_slice()
        && first == "drive"
    {
        return drive(plan, command);
    }
    // A shell that starts the tests in the background has them ignore both, and what they start would too.
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: the default disposition runs no code of this program.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let cases: Vec<Case> = [sees::CASES, network::CASES, life::CASES, terminal::CASES, told::CASES].concat();
    if arguments.iter().any(|argument| argument == "--list") {
        cases.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for user in User::available() {
        for (name, check) in &cases {
            let name = format!("{name} ({user:?})");
            if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
                continue;
            }
            let held = catch_unwind(|| check(&World::new(user))).is_ok();
            println!("test {name} ... {}", if held { "ok" } else { "FAILED" });
            if !held {
                failed.push(name);
            }
        }
    }
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Launches as `fence` does, and ends as the command did.
fn drive(plan: &str, command: &[String]) -> ExitCode {
    let text = std::fs::read_to_string(plan).unwrap();
    let plan = serde_json::from_str(&text).unwrap();
    let argv: Vec<CString> = command.iter().map(|word| CString::new(word.as_bytes()).unwrap()).collect();
    let environment =
        ["PATH=/usr/bin:/bin", "HOME=/nowhere", "TERM=xterm"].map(|text| CString::new(text).unwrap());
    let command = Command { program: argv[0].clone(), argv, environment: environment.to_vec() };
    let options =
        Options { timings: Timings::Off, standard: Standard::Released, observed: Observed::Nothing };
    let mut says = network::Says;
    let attendant: Option<&mut dyn fence::launch::Attendant> =
        if std::env::var_os("DRIVER_ATTENDS").is_some() { Some(&mut says) } else { None };
    match fence::linux::run_attended(&plan, &command, &options, attendant, None) {
        Ok(ended) => ExitCode::from(u8::try_from(ended.outcome.exit_code()).unwrap()),
        Err(error) => {
            eprintln!("fence: {error}");
            ExitCode::from(u8::try_from(error.exit_code()).unwrap())
        }
    }
}
