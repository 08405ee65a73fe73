//! The command line: one thin file for each of fence's own words.

mod arguments;
mod artifact;
mod audit;
mod backend;
mod bwrap;
mod check;
mod compile;
mod completions;
mod counted;
mod distrust;
mod doctor;
mod fidelity;
mod fmt;
mod help;
mod json;
mod observed;
mod overlaid;
#[cfg(target_os = "linux")]
mod overlay;
mod own;
mod policies;
mod policy;
#[cfg(target_os = "linux")]
pub(crate) mod prepared;
mod record;
mod refused;
pub(crate) mod remedy;
mod run;
mod screen;
#[cfg(target_os = "linux")]
mod serving;
#[cfg(target_os = "linux")]
mod session;
mod show;
#[cfg(target_os = "linux")]
mod standing;
#[cfg(target_os = "linux")]
mod starts;
mod teaching;
mod trust;
mod why;
mod words;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use arguments::{Cli, Word};
use screen::Screen;
use words::{Kind, Route};

/// What a word that does not run anything exits with when it could not answer.
const UNABLE: u8 = 2;

/// `0.1.0 (55982a1f0a)`: the version, and the commit where it is known.
pub(crate) fn version() -> &'static str {
    const COMMIT: &str = env!("FENCE_COMMIT");
    if COMMIT.is_empty() {
        env!("CARGO_PKG_VERSION")
    } else {
        concat!(env!("CARGO_PKG_VERSION"), " (", env!("FENCE_COMMIT"), ")")
    }
}

/// Does what a command line says: the code to exit with.
pub fn main(arguments: Vec<OsString>) -> u8 {
    #[cfg(target_os = "macos")]
    if matches!(arguments.as_slice(), [_, word] if word == crate::macos::SERVING) {
        return crate::macos::serve();
    }
    if let Some(cli) = running(&arguments) {
        return done(cli);
    }
    let definition = Cli::command();
    match words::route(arguments, &definition) {
        Route::Own(arguments) | Route::Run(arguments) => parsed(definition, arguments),
        Route::Nothing => {
            anstream::eprint!("{}", definition.clone().render_help().ansi());
            run::FAILED
        }
        Route::NotYet(word, kind) => {
            anstream::eprintln!(
                "fence: `fence {word}` is not in this version; to run a program of that name: fence run -- {word}"
            );
            if kind == Kind::Runs { run::FAILED } else { UNABLE }
        }
        Route::Misplaced(word) => {
            anstream::eprintln!(
                "fence: `{word}` is a word of fence's own and stands first: fence {word} …; to run a program of that name: fence … -- {word}"
            );
            run::FAILED
        }
    }
}

/// Parses a command to run, without defining all of fence's other words first; `None` where it is none, or one with
/// a mistake or a wish for help: the whole definition has the words for that.
fn running(arguments: &[OsString]) -> Option<Cli> {
    let definition = Cli::run_alone();
    let (Route::Own(arguments) | Route::Run(arguments)) = words::route(arguments.to_vec(), &definition)
    else {
        return None;
    };
    let matches = definition.try_get_matches_from(arguments).ok()?;
    Cli::from_arg_matches(&matches).ok()
}

/// Parses and does it.
fn parsed(definition: clap::Command, arguments: Vec<OsString>) -> u8 {
    let runs = arguments
        .iter()
        .skip(1)
        .find(|word| !word.to_string_lossy().starts_with('-'))
        .is_some_and(|word| word == "run");
    let cli = definition.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    match cli {
        Ok(cli) => done(cli),
        Err(error) if runs && lacks_command(&error) => {
            anstream::eprintln!(
                "fence: say what to run: fence run -- COMMAND, or a line of shell text: fence run -c TEXT (fence help run)"
            );
            run::FAILED
        }
        Err(error) => {
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
                _ if runs => run::FAILED,
                _ => UNABLE,
            }
        }
    }
}

/// Whether all that is wrong is that there is nothing to run.
fn lacks_command(error: &clap::Error) -> bool {
    use clap::error::{ContextKind, ContextValue};
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.as_slice(),
        _ => &[],
    };
    error.kind() == ErrorKind::MissingRequiredArgument && missing == ["<COMMAND>..."]
}

/// Does what one word says; a failure is told in one sentence.
fn done(cli: Cli) -> u8 {
    let screen = Screen::new(&cli.global);
    let (result, failed) = match cli.word {
        Word::Run(run) => (run::run(&run, screen), run::FAILED),
        Word::Check(check) => (check::check(&check, screen), UNABLE),
        Word::Why(why) => (why::why(&why, screen), UNABLE),
        Word::Audit(audit) => (audit::audit(&audit, screen), UNABLE),
        Word::Show(show) => (show::show(&show, screen), UNABLE),
        Word::Test(test) => (check::test(&test, screen), UNABLE),
        Word::Compile(compile) => (compile::compile(&compile, screen), UNABLE),
        Word::Fmt(fmt) => (fmt::fmt(&fmt, screen), UNABLE),
        Word::Policies(policies) => (policies::policies(&policies, screen), UNABLE),
        Word::Trust(trust) => (trust::trust(&trust, screen), UNABLE),
        Word::Schema(schema) => (policies::schema(&schema, screen), UNABLE),
        Word::Doctor(doctor) => (doctor::doctor(&doctor, screen), UNABLE),
        #[cfg(target_os = "linux")]
        Word::Session(session) => {
            let failed = if session.runs() { run::FAILED } else { UNABLE };
            (session::session(&session, screen), failed)
        }
        #[cfg(target_os = "linux")]
        Word::Overlay(overlay) => (overlay::overlay(&overlay, screen), UNABLE),
        Word::Completions(completions) => (completions::completions(&completions, screen), UNABLE),
        Word::Help(help) => (help::help(&help, screen), UNABLE),
    };
    result.unwrap_or_else(|error| {
        screen.say(&crate::audit::visible(&in_words(&format!("{error:#}"))));
        failed
    })
}

/// A message without the numbers of the system's errors, which say nothing that the words before them do not.
pub(crate) fn in_words(message: &str) -> String {
    const BEFORE: &str = " (os error ";
    let mut words = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((text, number)) = rest.split_once(BEFORE) {
        words.push_str(text);
        let after = number.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = match after.strip_prefix(')') {
            Some(after) => after,
            None => {
                words.push_str(BEFORE);
                number
            }
        };
    }
    words.push_str(rest);
    words
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::Parser;

    use super::arguments::Cli;

    #[test]
    fn a_command_to_run_means_the_same_without_the_other_words() {
        for line in [
            "fence run -p base -- ls -la",
            "fence run ls --help -p x",
            "fence run -vc text -- a -b",
            "fence -q run --rule deny_tty --set a=b -C /tmp --color never --timings x",
            "fence run --artifact x --log y --shell=/bin/bash -c text",
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let alone = super::running(&arguments).unwrap();
            assert_eq!(format!("{alone:?}"), format!("{:?}", Cli::try_parse_from(arguments).unwrap()));
        }
        let implied = super::running(&["fence".into(), "-p".into(), "base".into(), "ls".into()]).unwrap();
        assert!(format!("{implied:?}").contains("policy: [\"base\"]"), "{implied:?}");
    }

    #[test]
    fn everything_else_is_left_to_the_whole_definition() {
        for line in [
            "fence",
            "fence run",
            "fence -v",
            "fence -V",
            "fence run --help",
            "fence check",
            "fence claude",
            "fence -p base check",
            "fence -q -v ls",
            "fence --nothing ls",
            "fence help run",
            "fence run --artifact x -p base ls",
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(super::running(&arguments).is_none(), "{line}");
        }
    }

    #[test]
    fn the_number_of_a_system_error_is_left_out() {
        for (message, words) in [
            ("cannot go to `x`: No such file (os error 2)", "cannot go to `x`: No such file"),
            ("a (os error 2): b (os error 13)", "a: b"),
            ("`(os error x)`, ` (os error y)`", "`(os error x)`, ` (os error y)`"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(super::in_words(message), words);
        }
    }
}
