//! `fence help`

use anyhow::anyhow;
use clap::CommandFactory;
use fence_compiler::diagnostic::{Code, Severity};
use fence_grammar::tree::Action;

use super::arguments::{Cli, Help};
use super::screen::Screen;
use super::words::RESERVED;
use crate::audit::visible;

/// The pages of codes: `docs/errors`.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Explains a word of fence's own, an action, or a code; without a topic, everything at a glance.
pub(super) fn help(arguments: &Help, screen: Screen) -> anyhow::Result<u8> {
    let mut cli = Cli::command();
    let Some(topic) = &arguments.topic else {
        screen.print(&rendered(&cli.render_long_help(), screen))?;
        return Ok(0);
    };
    cli.build();
    if let Some(word) = cli.find_subcommand_mut(topic) {
        let text = rendered(&word.render_long_help(), screen);
        screen.print(&text)?;
    } else if let Some(action) = Action::from_word(topic) {
        screen.print(&about(action))?;
    } else if let Ok(code) = topic.parse::<Code>() {
        screen.print(&page(code))?;
    } else if RESERVED.contains(&topic.as_str()) {
        return Err(anyhow!("`fence {topic}` is not in this version"));
    } else {
        return Err(unknown(topic));
    }
    Ok(0)
}

fn rendered(text: &clap::builder::StyledStr, screen: Screen) -> String {
    match screen.out {
        fence_compiler::diagnostic::render::Color::Styled => text.ansi().to_string(),
        fence_compiler::diagnostic::render::Color::Plain => text.to_string(),
    }
}

/// Everything that `fence help` can explain.
pub(super) fn topics() -> Vec<String> {
    let cli = Cli::command();
    let words = cli.get_subcommands().map(|word| word.get_name().to_owned());
    let actions = Action::ALL.iter().map(|action| action.word().to_owned());
    let codes = Code::ALL.iter().map(|code| code.name().to_owned());
    words.chain(actions).chain(codes).collect()
}

fn unknown(topic: &str) -> anyhow::Error {
    let near = topics()
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&topic.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    let topic = visible(topic);
    match near {
        Some((_, near)) => anyhow!("there is no page `{topic}`; did you mean `{near}`"),
        None => anyhow!(
            "there is no page `{topic}`; there are fence's own words, the actions, and codes such as E0203"
        ),
    }
}

/// The page of a code.
fn page(code: Code) -> String {
    if let Some((_, page)) = PAGES.iter().find(|(name, _)| *name == code.name()) {
        return (*page).to_owned();
    }
    let severity = match code.severity() {
        Severity::Error => "an error: a policy that has it runs nothing",
        Severity::Warning => "a warning: the policy is valid, and a reader may take it for something else",
        Severity::Note => "a note",
    };
    format!(
        "{code} ({code:?}) is {severity}.\nIts message says what is wrong and how to mend it: fence check\n"
    )
}

/// What an action is about, with examples.
fn about(action: Action) -> String {
    let (items, covers, example) = match action {
        Action::Read => {
            ("paths", "reading contents, listing directories, reading metadata", "allow read ~/notes")
        }
        Action::Write => (
            "paths",
            "creating, changing, deleting, renaming, linking, changing mode, owner and times; not reading",
            "allow read write $workspace",
        ),
        Action::Exec => ("paths", "being executed, or loaded as code", "allow exec $workspace/node_modules"),
        Action::Run => ("commands", "starting a command, by program and arguments", "deny run \"git push\""),
        Action::Connect => (
            "HOST, HOST:PORT, HOST:LOW-HIGH",
            "an outgoing TCP connection, whether or not the program knows of a proxy",
            "allow connect api.example.org:443",
        ),
        Action::Http => (
            "\"METHOD HOST/PATH\"",
            "an HTTP request, where `connect` allows the host",
            "allow http \"GET api.example.org/v1\"",
        ),
        Action::Listen => ("PORT, LOW-HIGH", "what may be offered to the host", "allow listen 3000-3999"),
        Action::Socket => ("paths", "connecting to a Unix socket of the host", "allow socket $SSH_AUTH_SOCK"),
        Action::Env => ("names, `*` anywhere", "passing on a variable of the caller", "allow env LC_*"),
        Action::Device => {
            ("paths below /dev", "opening a device beyond the plain ones", "allow device /dev/kvm")
        }
        Action::Tty => ("none", "the controlling terminal", "allow tty"),
        Action::Ssh => (
            "\"HOST\", \"HOST COMMAND\"",
            "what an ssh started inside may be asked to do",
            "allow ssh git.example.org",
        ),
        Action::Syscall => {
            ("names", "a system call that the default filter refuses", "allow syscall perf_event_open")
        }
        Action::MachLookup => {
            ("names", "looking up a service of macOS", "allow mach-lookup com.apple.trustd.agent")
        }
        Action::MachRegister => {
            ("names", "registering a service of macOS", "allow mach-register org.example.agent")
        }
        Action::IoKit => {
            ("names", "opening an IOKit user client of macOS", "allow iokit IOSurfaceRootUserClient")
        }
    };
    let word = action.word();
    format!(
        "{word}: {covers}\n\nItems:    {items}\nExample:  {example}\nAsk:      fence why {word}{}\n",
        if action == Action::Tty { "" } else { " ITEM" }
    )
}
