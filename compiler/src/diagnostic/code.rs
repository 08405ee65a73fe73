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
