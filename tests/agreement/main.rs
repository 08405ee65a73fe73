//! Whether everything that answers questions answers the same: the naive decider, the indexed one, the model of each
//! target's plan, and the kernel under each backend; of variables and connections, what arrives and what fence's proxy
//! does. For each built-in policy questions are made around the edges of
//! its rules, and all of them are asked of each witness; a command is launched once for each policy and backend.
//!
//! The test binary is its own prober: called with `probe` it reads questions and answers what the kernel does with
//! them. Called with `case` it makes and judges one policy as whoever it runs as.
//!
//! An answer that differs has to be told: the rules that decide are not exact on that target.
//!
//! Tried by hand, one change at a time, each of these made it fail: a divided directory that Landlock is given itself,
//! `--bind` in the place of `--ro-bind`, a mask left out of the list for bubblewrap, and its mounts without `noexec`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod beyond;
mod case;
mod connections;
#[path = "../../compiler/tests/lowering/model.rs"]
#[allow(dead_code)]
mod model;
mod person;
mod probe;
mod questions;
mod scene;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("probe") => return probe::answer(),
        Some("case") => return case::run(&arguments[1], &arguments[2..]),
        Some("--list") => {
            fence_policies::ALL.iter().for_each(|(name, _)| println!("{name}: test"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let mut failed = Vec::new();
    println!("{:<16} {:<9} {:<9} {}", "policy", "person", "backend", case::Counts::HEAD);
    let mut persons = person::Person::everybody();
    if filter.is_none() && persons.len() > 1 && std::env::var_os("FENCE_TEST_LONG").is_none() {
        println!("left out: all of this as root (FENCE_TEST_LONG=1)");
        persons.retain(|person| *person == person::Person::User);
    }
    for person in &persons {
        for (name, _) in fence_policies::ALL {
            if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
                continue;
            }
            if !person.runs(name, *person == persons[0]) {
                failed.push(format!("{name} ({person:?})"));
            }
        }
    }
    println!("\ntest result: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
