//! What is known of each kind of statement: its name, its clauses, and what usually goes wrong in it.

/// A kind of statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Version,
    Policy,
    Include,
    Let,
    Rule,
    Secret,
    Set,
    Limit,
    Tls,
    Upstream,
    Platform,
    Test,
    Given,
    Expectation,
}

impl Kind {
    /// The words that begin a statement outside of blocks.
    pub(super) const STATEMENT_WORDS: &'static [&'static str] = &[
        "allow", "deny", "never", "include", "let", "secret", "set", "limit", "policy", "fence", "tls",
        "upstream", "on", "test",
    ];

    /// What it is called in a message.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::Version => "the version",
            Kind::Policy => "a `policy` line",
            Kind::Include => "an `include`",
            Kind::Let => "a `let`",
            Kind::Rule => "a rule",
            Kind::Secret => "a `secret`",
            Kind::Set => "a `set`",
            Kind::Limit => "a `limit`",
            Kind::Tls => "a `tls` line",
            Kind::Upstream => "an `upstream`",
            Kind::Platform => "the head of an `on` block",
            Kind::Test => "the head of a `test`",
            Kind::Given => "a `given`",
            Kind::Expectation => "an expectation",
        }
    }

    /// The clauses it takes.
    pub(super) fn clauses(self) -> &'static [&'static str] {
        match self {
            Kind::Include => &["without", "as", "because"],
            Kind::Rule => &["except", "best-effort", "cheaply", "as", "because"],
            Kind::Secret => &["to", "as", "because"],
            Kind::Set => &["as", "because"],
            Kind::Limit => &["best-effort", "as", "because"],
            Kind::Expectation => &["by"],
            Kind::Version
            | Kind::Policy
            | Kind::Let
            | Kind::Tls
            | Kind::Upstream
            | Kind::Platform
            | Kind::Test
            | Kind::Given => &[],
        }
    }

    /// What to do about text that is too much in it.
    pub(super) fn surplus_help(self) -> &'static str {
        match self {
            Kind::Version => "write `fence 1`, and nothing else on that line",
            Kind::Policy => {
                "write `policy NAME`, or `policy NAME \"description\"` with the description in quotes"
            }
            Kind::Include => "an `include` names one policy; give each a line of its own",
            Kind::Let => "write `let NAME = VALUE`; a value with blanks or commas stands in quotes",
            Kind::Rule => {
                "behind its clauses a rule has nothing more; a label is one word, a reason stands in quotes"
            }
            Kind::Secret => "a `secret` is one variable or file: `secret env NAME to HOST, …`",
            Kind::Set => "write `set env NAME = VALUE`; a value with blanks or commas stands in quotes",
            Kind::Limit => "write `limit KIND VALUE`, with the unit next to the number: `30m`",
            Kind::Tls => "write `tls strict` or `tls relaxed`",
            Kind::Upstream => "write `upstream URL`, or `upstream URL for HOST, …`",
            Kind::Platform => "write `on linux {` or `on macos {`; each platform has a block of its own",
            Kind::Test => "write `test \"name\" {`",
            Kind::Given => {
                "write one thing a line: `given $NAME = VALUE`; a value with blanks or commas stands in quotes"
            }
            Kind::Expectation => "an expectation asks for one action and one item; write one a line",
        }
    }
}

/// Where a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// In no block.
    File,
    /// In `on … { }`.
    Platform,
    /// In `test … { }`.
    Test,
}

impl Block {
    /// The words that begin a line of it.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Block::File => Kind::STATEMENT_WORDS,
            Block::Platform => &["allow", "deny", "never", "limit"],
            Block::Test => &["given", "allow", "deny"],
        }
    }
}

/// The clause words that are long enough to be misspelt recognisably.
pub(super) const LONG_CLAUSE_WORDS: &[&str] = &["except", "without", "best-effort", "cheaply", "because"];

/// The clause word that a word seems to be a misspelling of.
pub(super) fn meant_clause(word: &str) -> Option<&'static str> {
    if word == "best" {
        return Some("best-effort");
    }
    let long_enough = word.chars().count() >= 4;
    if !long_enough || !word.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_')) {
        return None;
    }
    crate::did_you_mean(word, LONG_CLAUSE_WORDS.iter().copied())
}
