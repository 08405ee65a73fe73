//! The kinds of findings.

use std::fmt;
use std::str::FromStr;

use super::Severity;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $severity:ident,)*) => {
        /// A kind of finding. `E0203` is its name everywhere: in messages, in JSON, and as the page `docs/errors/E0203.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code there is, by number.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// `E0203`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => concat!("E", $number),)* }
            }

            /// How bad a finding of this kind is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }
        }
    };
}

// 01 text and syntax · 02 words and items · 03 policies and includes · 04 rules against one another
// 05 variables · 06 tests · 07 fidelity · 08 running
codes! {
    /// A character that may not stand in a policy.
    ForbiddenCharacter = "0101" Error,
    /// Something that is not a statement.
    Syntax = "0102" Error,
    /// A path that is not absolute.
    RelativePath = "0220" Error,
    /// A path pattern that cannot be read.
    BadPathPattern = "0221" Error,
    /// Braces that stand for more than 1,000 paths.
    TooManyAlternatives = "0222" Error,
    /// `..` after a variable or a wildcard.
    ParentDirectory = "0223" Error,
    /// Something that names no host.
    BadHost = "0224" Error,
    /// An address in a form that programs read differently, such as `127.1` or `010.0.0.1`.
    LegacyAddress = "0225" Error,
    /// A block of addresses with bits set behind its length, or a length that no address has.
    BadBlock = "0226" Error,
    /// A port that is none: 0, beyond 65535, a range upside down.
    BadPort = "0227" Error,
    /// A URL, a user, a zone or a path where only a host belongs.
    NotOnlyAHost = "0228" Error,
    /// An item of `http` that is not `METHOD HOST/PATH`.
    BadHttpItem = "0229" Error,
    /// A command that cannot be read.
    BadCommand = "0230" Error,
    /// A name that cannot be read.
    BadName = "0231" Error,
    /// A variable that no text declares.
    UnknownVariable = "0501" Error,
    /// A variable, or a `$`, where none can stand.
    VariablePlace = "0502" Error,
    /// A variable whose value cannot stand where it is used.
    VariableValue = "0503" Error,
    /// A question that is not about one concrete thing.
    BadQuestion = "0610" Error,
    /// A test whose expectation does not hold.
    TestFailed = "0611" Error,
    /// A test's `deny` that holds only because nothing allows it.
    UnexplainedDeny = "0612" Warning,
    /// A test whose world cannot be made, or a question that has no meaning in it.
    BadWorld = "0613" Error,
    /// A rule or limit that this machine would enforce more weakly than its author accepts.
    WeakerThanWritten = "0701" Error,
    /// A rule that needs what this version does not have.
    NotInThisVersion = "0702" Error,
    /// A machine that lacks what every policy needs.
    MechanismMissing = "0703" Error,
    /// A system call that no policy can open or close.
    UnknownCall = "0704" Error,
    /// A `/proc` that shows processes outside.
    HostProc = "0705" Warning,
    /// A closing item whose variable has no value here.
    NoValueToClose = "0706" Error,
    /// A file of fence's own that could be made from inside.
    ProtectedMissing = "0707" Error,
    /// A variable of the command whose value cannot be had here.
    NoValueToSet = "0708" Error,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Code, ()> {
        Code::ALL.iter().copied().find(|code| code.name().eq_ignore_ascii_case(text)).ok_or(())
    }
}
