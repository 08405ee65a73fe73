//! Which of fence's own words a command line begins with.
//!
//! The first word decides. Fence's own are reserved from the start, also those that this version does not
//! have; everything else is the first word of a command to run, and everything behind it is that command's.

use std::ffi::{OsStr, OsString};

/// Every word that is fence's own.
pub(super) const RESERVED: &[&str] = &[
    "artifact",
    "audit",
    "check",
    "claude",
    "codex",
    "compile",
    "completions",
    "copilot",
    "cursor-agent",
    "diff",
    "doctor",
    "fmt",
    "gemini",
    "help",
    "hooks",
    "import",
    "init",
    "learn",
    "lsp",
    "man",
    "opencode",
    "overlay",
    "policies",
    "run",
    "schema",
    "session",
    "show",
    "test",
    "trust",
    "why",
];

/// Those among them that this version does not have and that would run something.
const LATER_RUNNING: &[&str] = &["claude", "codex", "copilot", "cursor-agent", "gemini", "learn", "opencode"];

/// What a command line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Nothing at all.
    Nothing,
    /// One of fence's own commands, `run` among them: the arguments as they are.
    Own(Vec<OsString>),
    /// A command to run: the arguments with `run` put in front.
    Run(Vec<OsString>),
    /// A reserved word that this version does not have, and whether it would run something.
    NotYet(String, Kind),
    /// A reserved word behind options of `run`.
    Misplaced(String),
}

/// Whether a word runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It does: a failure of fence exits with 125.
    Runs,
    /// It does not: a failure of fence exits with 2.
    Answers,
}

/// Decides what a command line is. `cli` is the whole command line's definition, which knows the options.
pub(super) fn route(arguments: Vec<OsString>, cli: &clap::Command) -> Route {
    let Some(run) = cli.find_subcommand("run") else { return Route::Own(arguments) };
    let has = |word: &str| cli.find_subcommand(word).is_some();
    let mut before = Before::Nothing;
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        if text == "--" {
            before = Before::RunOptions;
            break;
        }
        if text.len() < 2 || !text.starts_with('-') {
            return first_word(&text, before, has, &arguments);
        }
        match option(&text, run, cli) {
            Seen::Help => return Route::Own(arguments),
            Seen::Global => before = before.max(Before::Globals),
            Seen::GlobalWithValue => {
                before = before.max(Before::Globals);
                rest.next();
            }
            Seen::OfRun => before = Before::RunOptions,
            Seen::OfRunWithValue => {
                before = Before::RunOptions;
                rest.next();
            }
            Seen::Text => return Route::Run(with_run(&arguments)),
        }
    }
    match before {
        Before::Nothing => Route::Nothing,
        Before::Globals | Before::RunOptions => Route::Run(with_run(&arguments)),
    }
}

/// What stands before the first word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    Nothing,
    Globals,
    RunOptions,
}

/// What an option is.
enum Seen {
    Help,
    Global,
    GlobalWithValue,
    OfRun,
    OfRunWithValue,
    /// `-c`, and what nobody knows: whatever follows, this is a command to run.
    Text,
}

fn first_word(word: &str, before: Before, has: impl Fn(&str) -> bool, arguments: &[OsString]) -> Route {
    if !RESERVED.contains(&word) {
        return Route::Run(with_run(arguments));
    }
    if before == Before::RunOptions {
        return Route::Misplaced(word.to_owned());
    }
    if has(word) {
        return Route::Own(arguments.to_vec());
    }
    let kind = if LATER_RUNNING.contains(&word) { Kind::Runs } else { Kind::Answers };
    Route::NotYet(word.to_owned(), kind)
}

/// Looks an option up: among those of `run`, which include those of every command.
fn option(text: &str, run: &clap::Command, cli: &clap::Command) -> Seen {
    let known = |found: &dyn Fn(&clap::Arg) -> bool| {
        let global = cli.get_arguments().find(|argument| found(argument));
        global.map(|argument| (argument, Before::Globals)).or_else(|| {
            run.get_arguments()
                .find(|argument| found(argument))
                .map(|argument| (argument, Before::RunOptions))
        })
    };
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        return match name {
            "help" | "version" => Seen::Help,
            _ => match known(&|argument| argument.get_long() == Some(name)) {
                Some((argument, whose)) => seen(whose, takes_value(argument) && !value),
                None => Seen::Text,
            },
        };
    }
    let mut whose = Before::Globals;
    let mut shorts = text.chars().skip(1).peekable();
    while let Some(short) = shorts.next() {
        match short {
            'h' | 'V' => return Seen::Help,
            'c' => return Seen::Text,
            _ => match known(&|argument| argument.get_short() == Some(short)) {
                Some((argument, found)) => {
                    whose = whose.max(found);
                    if takes_value(argument) {
                        return seen(whose, shorts.peek().is_none());
                    }
                }
                None => return Seen::Text,
            },
        }
    }
    seen(whose, false)
}

fn seen(whose: Before, value_follows: bool) -> Seen {
    match (whose, value_follows) {
        (Before::RunOptions, true) => Seen::OfRunWithValue,
        (Before::RunOptions, false) => Seen::OfRun,
        (_, true) => Seen::GlobalWithValue,
        (_, false) => Seen::Global,
    }
}

fn takes_value(argument: &clap::Arg) -> bool {
    argument.get_action().takes_values()
}

fn with_run(arguments: &[OsString]) -> Vec<OsString> {
    let (program, rest) = arguments
        .split_first()
        .map_or((OsStr::new("fence"), [].as_slice()), |(program, rest)| (program.as_os_str(), rest));
    let mut routed = vec![program.to_owned(), OsString::from("run")];
    routed.extend(rest.iter().cloned());
    routed
}

/// The word of fence's own that somebody may have meant.
pub(super) fn near(word: &str) -> Option<&'static str> {
    let allowed = if word.chars().count() <= 4 { 1 } else { 2 };
    RESERVED
        .iter()
        .map(|own| (strsim::damerau_levenshtein(word, own), *own))
        .filter(|(distance, _)| (1..=allowed).contains(distance))
        .min()
        .map(|(_, own)| own)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::super::arguments::{Cli, Word};
    use super::{Kind, RESERVED, Route, near, route};

    fn routed(line: &str) -> Route {
        route(line.split(' ').map(OsString::from).collect(), &Cli::command())
    }

    /// What a command line comes down to, in a few words.
    fn meant(line: &str) -> String {
        match routed(line) {
            Route::Nothing => "nothing".into(),
            Route::NotYet(word, Kind::Runs) => format!("not yet, runs: {word}"),
            Route::NotYet(word, Kind::Answers) => format!("not yet: {word}"),
            Route::Misplaced(word) => format!("misplaced: {word}"),
            Route::Own(arguments) | Route::Run(arguments) => {
                use clap::Parser;
                match Cli::try_parse_from(arguments) {
                    Ok(Cli { word: Word::Run(run), .. }) => format!(
                        "run{}{}{}",
                        run.chosen.policy.iter().map(|p| format!(" -p {}", p.display())).collect::<String>(),
                        run.text.map(|text| format!(" -c {}", text.display())).unwrap_or_default(),
                        run.command.iter().map(|word| format!(" [{}]", word.display())).collect::<String>()
                    ),
                    Ok(Cli { word: Word::Why(why), .. }) => {
                        format!("why {} {:?}", why.action.unwrap_or_default(), why.item)
                    }
                    Ok(Cli { word, .. }) => format!("{word:?}").split('(').next().unwrap().to_lowercase(),
                    Err(error) => format!("{:?}", error.kind()),
                }
            }
        }
    }

    #[test]
    fn every_form_of_a_command_line_means_one_thing() {
        for (line, meaning) in [
            ("fence", "nothing"),
            ("fence run", "MissingRequiredArgument"),
            ("fence -v", "MissingRequiredArgument"),
            ("fence --", "MissingRequiredArgument"),
            ("fence ls", "run [ls]"),
            ("fence ls -la --help -p x", "run [ls] [-la] [--help] [-p] [x]"),
            ("fence run ls -la", "run [ls] [-la]"),
            ("fence -- ls -la", "run [ls] [-la]"),
            ("fence run -- ls -la", "run [ls] [-la]"),
            ("fence -p base ls", "run -p base [ls]"),
            ("fence -pbase ls", "run -p base [ls]"),
            ("fence --policy=base -p ./x.fence -- ls", "run -p base -p ./x.fence [ls]"),
            ("fence run -p base -- ls -- x", "run -p base [ls] [--] [x]"),
            ("fence ls -- x", "run [ls] [--] [x]"),
            ("fence -c text", "run -c text"),
            ("fence -vc text", "run -c text"),
            ("fence run -c text", "run -c text"),
            ("fence -c text -- a -b", "run -c text [a] [-b]"),
            ("fence -c text check", "run -c text [check]"),
            ("fence --shell /bin/bash ls", "MissingRequiredArgument"),
            ("fence -v run ls", "run [ls]"),
            ("fence --color never ls", "run [ls]"),
            ("fence --color never check", "check"),
            ("fence -C /tmp ls", "run [ls]"),
            ("fence --nothing ls", "UnknownArgument"),
            ("fence -q -v ls", "ArgumentConflict"),
            ("fence --artifact x -p base ls", "ArgumentConflict"),
            ("fence -h", "DisplayHelp"),
            ("fence --help", "DisplayHelp"),
            ("fence -V", "DisplayVersion"),
            ("fence run --help", "DisplayHelp"),
            ("fence check", "check"),
            ("fence -v check base", "check"),
            ("fence -p base check", "misplaced: check"),
            ("fence -p base claude", "misplaced: claude"),
            ("fence -p base -- check", "run -p base [check]"),
            ("fence run -- check", "run [check]"),
            ("fence run check", "run [check]"),
            ("fence -- claude", "run [claude]"),
            ("fence claude", "not yet, runs: claude"),
            ("fence diff x", "not yet: diff"),
            ("fence fmt x", "fmt"),
            ("fence chek", "run [chek]"),
            ("fence ./check", "run [./check]"),
            ("fence why read /x", "why read [\"/x\"]"),
            ("fence why run git -C x push", "why run [\"git\", \"-C\", \"x\", \"push\"]"),
            ("fence why tty", "why tty []"),
            ("fence policies", "policies"),
            ("fence trust revoke x", "trust"),
            ("fence completions fish", "completions"),
            ("fence help E0203", "help"),
            ("fence doctor", "doctor"),
            ("fence session list", "session"),
            ("fence session run x -- ls --help", "session"),
            ("fence schema policy", "schema"),
            ("fence show -p base --format json", "show"),
            ("fence test base --coverage", "test"),
            ("fence compile base -o x", "compile"),
        ] {
            assert_eq!(meant(line), meaning, "{line}");
        }
    }

    #[test]
    fn every_reserved_word_is_fences_own() {
        for word in RESERVED {
            assert!(!matches!(routed(&format!("fence {word}")), Route::Run(_)), "{word}");
        }
        let definition = Cli::command();
        for word in definition.get_subcommands() {
            assert!(RESERVED.contains(&word.get_name()), "{}", word.get_name());
        }
        definition.debug_assert();
    }

    #[test]
    fn a_near_word_is_offered() {
        for (word, own) in [("chek", Some("check")), ("polices", Some("policies")), ("shw", Some("show"))] {
            assert_eq!(near(word), own, "{word}");
        }
        for word in ["git", "check", "cargo", "python3"] {
            assert_eq!(near(word), None, "{word}");
        }
    }
}
