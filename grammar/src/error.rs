//! What is wrong with the shape of a text.

use crate::Span;

/// One mistake in a policy's text, in whichever form it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The kind of mistake.
    pub kind: SyntaxErrorKind,
    /// Where it is; empty where something is missing.
    pub span: Span,
    /// One lower-case sentence without a full stop, user text in backticks.
    pub message: String,
    /// What stands under the marked place, where that says more than the message.
    pub label: Option<String>,
    /// How to mend it.
    pub help: Option<String>,
    /// The change of the text that mends it, where there is just one; an empty span inserts.
    pub repair: Option<(Span, String)>,
}

impl SyntaxError {
    /// Makes an error that only says what is wrong and where.
    pub(crate) fn new(kind: SyntaxErrorKind, span: Span, message: impl Into<String>) -> SyntaxError {
        SyntaxError { kind, span, message: message.into(), label: None, help: None, repair: None }
    }

    /// Says what the marked place is.
    pub(crate) fn label(mut self, label: impl Into<String>) -> SyntaxError {
        self.label = Some(label.into());
        self
    }

    /// Says how to mend it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> SyntaxError {
        self.help = Some(help.into());
        self
    }

    /// Adds the change that mends it.
    pub(crate) fn repair(mut self, span: Span, replacement: impl Into<String>) -> SyntaxError {
        self.repair = Some((span, replacement.into()));
        self
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The kinds of mistakes, each with a page of its own in the manual.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum SyntaxErrorKind { $($(#[$doc])* $name,)* }

        impl SyntaxErrorKind {
            /// Every kind there is.
            pub const ALL: &'static [SyntaxErrorKind] = &[$(SyntaxErrorKind::$name,)*];
        }
    };
}

kinds! {
    /// A character that may not stand in a policy: control, invisible, or white space other than blank and tab.
    ForbiddenCharacter,
    /// A string without its closing quote.
    UnclosedString,
    /// A backslash with something behind it that is no escape.
    BadEscape,
    /// A text that needs quotes around the whole of it: braces without any, or quotes around a part.
    MissingQuotes,
    /// A line that begins with no statement's word.
    UnknownStatement,
    /// A word where an action must stand, or none.
    UnknownAction,
    /// Several actions of which one cannot be combined.
    CombinedActions,
    /// A word behind the items that looks like a misspelt clause.
    UnknownClause,
    /// A clause that this statement does not have, or one with no statement before it.
    MisplacedClause,
    /// A clause that stands twice in one statement.
    RepeatedClause,
    /// No item where one must stand.
    MissingItem,
    /// Two items without a comma between them.
    MissingComma,
    /// A comma with no item before or behind it.
    ExtraComma,
    /// A `because` without a string, or something that needs one and has none.
    MissingReason,
    /// A name, a label or a variable with characters that it may not have.
    InvalidName,
    /// A word that is none of those that may stand there.
    UnknownWord,
    /// A statement of which a part is missing.
    IncompleteStatement,
    /// Something behind the end of a statement.
    UnexpectedText,
    /// A block that is never closed, or a `}` that closes nothing.
    UnbalancedBlock,
    /// A statement where it may not stand: in a block that has no such statements, a block in a block, a late version.
    MisplacedStatement,
    /// A version of the language that this release does not know.
    UnknownVersion,
    /// More mistakes than one run tells.
    TooManyErrors,
    /// A text that is no YAML or JSON where it must be.
    NotData,
    /// Something that YAML has and a policy has no use for: a tag, an anchor, an alias, a further document.
    ForeignFeature,
    /// A key that stands twice in one map.
    DuplicateKey,
    /// A key that means nothing where it stands.
    UnknownKey,
    /// A list, a map or a text where another of them must stand.
    WrongShape,
    /// A value that YAML reads as something other than the text it looks like, unless quotes stand around it.
    QuotesNeeded,
}
