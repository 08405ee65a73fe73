//! Where answers and messages go.

use std::io::{self, IsTerminal, Write};

use fence_compiler::diagnostic::render::Color;

use super::arguments::{Global, When};

/// Standard output and standard error, and how much is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Of standard output.
    pub out: Color,
    /// Of standard error.
    pub err: Color,
    /// How much is told.
    pub verbosity: Verbosity,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verbosity {
    /// Errors.
    Quiet,
    /// What a person should know.
    Normal,
    /// Everything.
    Verbose,
}

impl Screen {
    /// As the options, the terminal and `NO_COLOR` say.
    pub(super) fn new(global: &Global) -> Screen {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let color = |terminal: bool| match global.color {
            When::Always => Color::Styled,
            When::Auto if terminal && !refused => Color::Styled,
            When::Auto | When::Never => Color::Plain,
        };
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        };
        Screen { out: color(io::stdout().is_terminal()), err: color(io::stderr().is_terminal()), verbosity }
    }

    /// Writes an answer to standard output. A reader that has gone away wants no more of it: that is no error.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Writes a message to standard error, in whole lines. Nothing can be told of one that cannot be written.
    pub(super) fn tell(&self, text: &str) {
        let mut text = text.to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Writes `fence: message` to standard error.
    pub(super) fn say(&self, message: &str) {
        self.tell(&format!("{} {message}", self.painted("fence:", "1")));
    }

    /// Writes `fence: message` unless `-q` is given.
    pub(super) fn note(&self, message: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.say(message);
        }
    }

    fn painted(&self, text: &str, code: &str) -> String {
        paint(self.err, text, code)
    }
}

/// A text in a colour, if there are colours.
pub(super) fn paint(color: Color, text: &str, code: &str) -> String {
    match color {
        Color::Styled => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        Color::Plain => text.to_owned(),
    }
}
