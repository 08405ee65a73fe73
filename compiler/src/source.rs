//! The texts that a policy is made of.

use std::sync::OnceLock;

use fence_grammar::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One text among those that a policy is made of: an index into [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SourceId(pub u32);

/// A place in one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which text.
    pub source: SourceId,
    /// Where in it.
    pub span: Span,
}

/// Where a policy's text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A policy that comes with fence, by its name.
    BuiltIn(String),
    /// A file, by the path it was opened as.
    File(crate::bytes::AbsolutePath),
    /// The person's own policy (`user`), by the path it was opened as.
    User(crate::bytes::AbsolutePath),
    /// The `/etc/fence/policy.fence` of the machine.
    Machine(crate::bytes::AbsolutePath),
    /// Text given on the command line (`--rule`), or made by a program; the string says which.
    Given(String),
}

/// One text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it comes from.
    pub origin: Origin,
    /// What messages call it: `policy.fence`, `<built-in base>`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// All texts of one compilation.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
    /// For each text, the offset of the first byte of each line; found when first asked for.
    lines: Vec<OnceLock<Vec<u32>>>,
}

impl PartialEq for Sources {
    fn eq(&self, other: &Sources) -> bool {
        self.list == other.list
    }
}

impl Eq for Sources {}

impl Sources {
    /// Adds a text.
    pub fn add(&mut self, source: Source) -> SourceId {
        let id = SourceId(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        self.lines.push(OnceLock::new());
        self.list.push(source);
        id
    }

    /// The text with this number.
    #[must_use]
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.list.get(id.0 as usize)
    }

    /// All of them, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        (0..).map(SourceId).zip(self.list.iter())
    }

    fn lines(&self, id: SourceId) -> Option<&[u32]> {
        let text = &self.get(id)?.text;
        let found = || {
            let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            let starts = ends.map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX));
            std::iter::once(0).chain(starts).collect()
        };
        self.lines.get(id.0 as usize).map(|lines| lines.get_or_init(found).as_slice())
    }

    /// The line (from 1) and the column (from 1, in characters) at which a place begins.
    #[must_use]
    pub fn line_column(&self, place: Place) -> Option<(u32, u32)> {
        let text = &self.get(place.source)?.text;
        let lines = self.lines(place.source)?;
        let line = lines.partition_point(|start| *start <= place.span.start);
        let start = *lines.get(line.checked_sub(1)?)?;
        let column = text.get(start as usize..place.span.start as usize)?.chars().count() + 1;
        Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
    }

    /// The bytes of a line (from 1), its line end included; the last line's may be empty.
    #[must_use]
    pub fn line(&self, source: SourceId, line: u32) -> Option<std::ops::Range<usize>> {
        let lines = self.lines(source)?;
        let start = *lines.get((line as usize).checked_sub(1)?)? as usize;
        let end = lines.get(line as usize).map_or(self.get(source)?.text.len(), |next| *next as usize);
        Some(start..end)
    }
}

/// What an `include` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A bare name: a built-in policy, or `user`.
    Name(&'a str),
    /// A path relative to the file that includes it.
    Path(&'a str),
}

/// Why a text could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// No policy has that name; these do.
    #[error("no such policy")]
    UnknownName {
        /// All names that exist, `user` included where the person has one.
        known: Vec<String>,
    },
    /// The file could not be read.
    #[error("{reason}")]
    Unreadable {
        /// What failed, in words: `no such file`, `permission denied`, `larger than 16 MiB`, `not UTF-8 at byte 12`.
        reason: String,
    },
    /// A text that lies nowhere (a built-in policy, a `--rule`) names a path.
    #[error("a relative path has no meaning here")]
    NoDirectory,
}

/// Finds the text an `include` names. The only door through which policy files come in.
pub trait Loader {
    /// Finds the text that `reference` names from within `from`.
    ///
    /// # Errors
    /// Says why there is none; the compiler makes the diagnostic.
    fn load(&self, reference: Reference<'_>, from: &Origin) -> Result<Source, LoadError>;

    /// What [`prepare`](crate::resolve::prepare) made of a text, where it was read ahead of time: then it is not read
    /// again. It must be of this very text.
    fn prepared(&self, source: &Source) -> Option<&'static [u8]> {
        let _ = source;
        None
    }
}
