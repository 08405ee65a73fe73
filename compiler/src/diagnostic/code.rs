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
    /// A string without its closing quote.
    UnclosedString = "0102" Error,
    /// A backslash with something behind it that is no escape.
    BadEscape = "0103" Error,
    /// A text that needs quotes around the whole of it.
    MissingQuotes = "0104" Error,
    /// A line that begins with no statement's word.
    UnknownStatement = "0105" Error,
    /// A word where an action must stand, or none.
    UnknownAction = "0106" Error,
    /// Several actions of which one cannot be combined.
    CombinedActions = "0107" Error,
    /// A word behind the items that looks like a misspelt clause.
    UnknownClause = "0108" Error,
    /// A clause that this statement does not have, or one with no statement before it.
    MisplacedClause = "0109" Error,
    /// A clause that stands twice in one statement.
    RepeatedClause = "0110" Error,
    /// No item where one must stand.
    MissingItem = "0111" Error,
    /// Two items without a comma between them.
    MissingComma = "0112" Error,
    /// A comma with no item before or behind it.
    ExtraComma = "0113" Error,
    /// A `because` without a string, or something that needs one and has none.
    MissingReason = "0114" Error,
    /// A name, a label or a variable with characters that it may not have.
    InvalidName = "0115" Error,
    /// A word that is none of those that may stand there.
    UnknownWord = "0116" Error,
    /// A statement of which a part is missing.
    IncompleteStatement = "0117" Error,
    /// Something behind the end of a statement.
    UnexpectedText = "0118" Error,
    /// A block that is never closed, or a `}` that closes nothing.
    UnbalancedBlock = "0119" Error,
    /// A statement where it may not stand.
    MisplacedStatement = "0120" Error,
    /// A version of the language that this release does not know.
    UnknownVersion = "0121" Error,
    /// More mistakes than one run tells.
    TooManyErrors = "0122" Error,
    /// A text that is no YAML or JSON where it must be.
    NotData = "0130" Error,
    /// Something that YAML has and a policy has no use for: a tag, an anchor, an alias, a further document.
    ForeignFeature = "0131" Error,
    /// A key that stands twice in one map.
    DuplicateKey = "0132" Error,
    /// A key that means nothing where it stands.
    UnknownKey = "0133" Error,
    /// A list, a map or a text where another of them must stand.
    WrongShape = "0134" Error,
    /// A value that YAML reads as something other than the text it looks like.
    QuotesNeeded = "0135" Error,
    /// A limit's value that is no number with a unit of its kind.
    BadLimit = "0202" Error,
    /// A limit of nothing, or one too large to count.
    LimitOutOfRange = "0203" Error,
    /// An `upstream` that is no URL of a proxy.
    BadUpstream = "0204" Error,
    /// A name that no environment variable can have.
    BadVariableName = "0205" Error,
    /// A secret that may go to a host or a port that is not one.
    BadSecretTarget = "0206" Error,
    /// A secret file written as a pattern of several.
    BadSecretFile = "0207" Error,
    /// An item of `device` that does not lie below `/dev`.
    NotADevice = "0208" Error,
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
    /// An `include` of a policy that does not exist.
    UnknownPolicy = "0301" Error,
    /// An `include` of a file that cannot be read.
    UnreadablePolicy = "0302" Error,
    /// A policy that includes itself, over others or not.
    IncludeCycle = "0303" Error,
    /// A relative path in a text that lies in no directory.
    NoDirectory = "0304" Error,
    /// More included texts than one policy may have.
    TooManyTexts = "0305" Error,
    /// A `without` of a label that the included policy does not have.
    UnknownLabel = "0306" Error,
    /// A `without` of a label that a `never` carries.
    NeverLeftOut = "0307" Error,
    /// A rule left out here that another include brings in.
    StillInForce = "0308" Warning,
    /// A second `policy` statement.
    SecondPolicy = "0309" Error,
    /// An `allow` wholly inside a `never`.
    AllowInsideNever = "0401" Error,
    /// `best-effort` or `cheaply` on an `allow`.
    ClauseOnAllow = "0402" Error,
    /// `best-effort` or `cheaply` on a `never`.
    ClauseOnNever = "0403" Error,
    /// `cheaply` where there is nothing cheaper.
    NothingCheaper = "0404" Error,
    /// A port of loopback that belongs to both sides.
    LoopbackConflict = "0405" Error,
    /// Two different values for one variable of the command.
    SetTwice = "0406" Error,
    /// A variable that is set and denied.
    SetDenied = "0407" Error,
    /// A variable that fence itself sets.
    SetReserved = "0408" Error,
    /// A variable that is a secret and something else.
    SecretConflict = "0409" Error,
    /// An `except` on an `allow`, of something that another rule allows.
    ExceptForbidsNothing = "0410" Warning,
    /// An `except` on a `deny` or `never`, of something that nothing allows.
    ExceptAllowsNothing = "0411" Warning,
    /// A variable that no text declares.
    UnknownVariable = "0501" Error,
    /// A variable, or a `$`, where none can stand.
    VariablePlace = "0502" Error,
    /// A variable whose value cannot stand where it is used.
    VariableValue = "0503" Error,
    /// A variable that is declared twice.
    DuplicateLet = "0510" Error,
    /// Variables that are declared by one another.
    LetCycle = "0511" Error,
    /// A variable that nothing uses.
    UnusedLet = "0512" Warning,
    /// A `let` with the name of a variable of the language.
    ReservedLet = "0513" Error,
    /// A `--set` of a variable that the policy does not declare.
    UnknownSet = "0514" Error,
    /// A `--set` of a variable that a `never` uses.
    SetUsedByNever = "0515" Error,
    /// `$policy_dir` in a text that lies in no directory.
    NoPolicyDirectory = "0516" Error,
    /// A test that names a label that no rule has.
    UnknownTestLabel = "0602" Error,
    /// Something of a test's world that is given twice.
    GivenTwice = "0603" Error,
    /// A variable of a test's world that does not exist, or cannot be given.
    UnknownGiven = "0604" Error,
    /// A value of a test's world that cannot be one.
    BadGiven = "0605" Error,
    /// A test that expects nothing.
    EmptyTest = "0606" Error,
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
    /// A call that would change commands after they have been judged.
    CallAgainstCommands = "0709" Error,
    /// A name that no profile of Seatbelt can hold.
    NotInAProfile = "0720" Error,
    /// A profile of Seatbelt that is larger than it may be.
    ProfileTooLarge = "0721" Error,
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
