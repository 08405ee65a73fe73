//! What tells one run from another.

use std::collections::BTreeSet;

use crate::bytes::AbsolutePath;

/// What is known of one run before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// The ports that it offers (`--publish`).
    pub publish: BTreeSet<u16>,
}

/// The name of one run: it marks the run's lines in the system's log, and its `$tmp` is named for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunId(String);

/// A text that names no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by 16 digits of `0`-`9` and `a`-`f`")]
pub struct BadRunId;

impl Run {
    /// A run that offers no port.
    #[must_use]
    pub fn named(id: RunId) -> Run {
        Run { id, publish: BTreeSet::new() }
    }
}

impl RunId {
    /// Takes 16 hexadecimal digits in lower case.
    ///
    /// # Errors
    /// The text is something else.
    pub fn new(text: &str) -> Result<RunId, BadRunId> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && text.len() == 16 { Ok(RunId(text.to_owned())) } else { Err(BadRunId) }
    }

    /// The name that stands where no run is meant: in what `fence compile` prints.
    #[must_use]
    pub fn none() -> RunId {
        RunId("0".repeat(16))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The run's own `$tmp`. A short path: a Unix socket's has 104 bytes on macOS.
    #[must_use]
    pub fn tmp(&self) -> AbsolutePath {
        let parent = AbsolutePath::root().join(b"private").join(b"tmp");
        parent.join(format!("fence-{}", self.0).as_bytes())
    }

    /// What a line of the log ends in that a rule made: this run, and the rule.
    #[must_use]
    pub fn tag(&self, rule: &str) -> String {
        format!("fence:{}:{rule}", self.0)
    }
}
