//! The syntax tree: what was written, word by word, with its place.
//!
//! Nothing here is interpreted: an action is still a word of the closed set that the grammar knows, but an
//! item is only the text that stood there (a string's escapes already read).

use crate::{Span, Spanned};

/// One policy text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct File {
    /// The statements, in the order of the text. A statement that could not be understood is left out
    /// (its error is told), never guessed.
    pub statements: Vec<Spanned<Statement>>,
}

/// A word or a string of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Text {
    /// The text meant: a string's quotes are gone and its escapes are read.
    pub text: String,
    /// Whether quotes stood around it.
    pub quoting: Quoting,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// Whether quotes stood around a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Quoting {
    /// A bare word.
    Bare,
    /// A string in `"…"`.
    Quoted,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Statement {
    /// `fence 1`
    Version(Spanned<u32>),
    /// `policy NAME ["description"]`
    Policy(Header),
    /// `include …`
    Include(Include),
    /// `let NAME = VALUE`
    Let(Let),
    /// `allow …`, `deny …`, `never …`
    Rule(Rule),
    /// `secret env …`, `secret file …`
    Secret(Secret),
    /// `set env NAME = VALUE`
    Set(Set),
    /// `limit KIND VALUE`
    Limit(Limit),
    /// `tls strict`, `tls relaxed`
    Tls(Spanned<TlsMode>),
    /// `upstream URL [for HOST, …]`
    Upstream(Upstream),
    /// `on linux { … }`
    Platform(PlatformBlock),
    /// `test "name" { … }`
    Test(Test),
}

/// `policy NAME ["description"]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Header {
    /// The policy's name.
    pub name: Spanned<String>,
    /// What it is for.
    pub description: Option<Text>,
}

/// `include NAME` or `include "./path.fence"`, with what is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Include {
    /// A built-in name or `user` (bare), or a path (quoted).
    pub target: Text,
    /// The labels left out.
    pub without: Vec<Spanned<String>>,
    /// `as` and `because`.
    pub note: Note,
}

/// `let NAME = VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Let {
    /// The variable's name, without `$`.
    pub name: Spanned<String>,
    /// Its value.
    pub value: Text,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Effect {
    /// Opens.
    Allow,
    /// Closes.
    Deny,
    /// Closes, and nothing can drop it.
    Never,
}

/// Everything a rule can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// `read`
    Read,
    /// `write`
    Write,
    /// `exec`
    Exec,
    /// `run`
    Run,
    /// `connect`
    Connect,
    /// `http`
    Http,
    /// `listen`
    Listen,
    /// `socket`
    Socket,
    /// `env`
    Env,
    /// `device`
    Device,
    /// `tty`
    Tty,
    /// `ssh`
    Ssh,
    /// `syscall`
    Syscall,
    /// `mach-lookup`
    MachLookup,
    /// `mach-register`
    MachRegister,
    /// `iokit`
    IoKit,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rule {
    /// `allow`, `deny` or `never`.
    pub effect: Spanned<Effect>,
    /// One action, or several of `read write exec socket device`; never empty.
    pub actions: Vec<Spanned<Action>>,
    /// What it is about; empty for `tty` only.
    pub items: Vec<Text>,
    /// What it is not about.
    pub except: Vec<Text>,
    /// Where `best-effort` stands, if it does.
    pub best_effort: Option<Span>,
    /// Where `cheaply` stands, if it does.
    pub cheaply: Option<Span>,
    /// `as` and `because`.
    pub note: Note,
}

/// `as LABEL` and `because "…"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Note {
    /// The label.
    pub label: Option<Spanned<String>>,
    /// The reason.
    pub because: Option<Text>,
}

/// `secret env NAME to HOST, …` or `secret file PATH to HOST, …`
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Secret {
    /// What the command sees a placeholder in.
    pub holder: SecretHolder,
    /// Where the value may go.
    pub to: Vec<Text>,
    /// `as` and `because`.
    pub note: Note,
}

/// What holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SecretHolder {
    /// An environment variable.
    Env(Text),
    /// A file.
    File(Text),
}

/// `set env NAME = VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Set {
    /// The variable.
    pub name: Text,
    /// Its value.
    pub value: Text,
    /// `as` and `because`.
    pub note: Note,
}

/// `limit KIND VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limit {
    /// What is limited.
    pub kind: Spanned<LimitKind>,
    /// The number with its unit, as written.
    pub value: Text,
    /// Where `best-effort` stands, if it does.
    pub best_effort: Option<Span>,
    /// `as` and `because`.
    pub note: Note,
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LimitKind {
    /// Wall-clock time of the whole sandbox.
    Time,
    /// Processor time of the whole sandbox.
    Cpu,
    /// Memory of the whole sandbox.
    Memory,
    /// Processes of the whole sandbox.
    Processes,
    /// Open files of each process.
    Files,
    /// Size of a file that a process writes.
    FileSize,
    /// Time until a connection stands.
    ConnectTime,
    /// Time a connection may be silent.
    IdleTime,
}

/// `tls strict` or `tls relaxed`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TlsMode {
    /// A TLS connection to a name must show that name.
    Strict,
    /// One that shows none passes.
    Relaxed,
}

/// `upstream URL [for HOST, …]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Upstream {
    /// The proxy's address.
    pub url: Text,
    /// The names dialled through it; empty: all.
    pub hosts: Vec<Text>,
}

/// A platform that a block or a test names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PlatformName {
    /// `linux`
    Linux,
    /// `macos`
    MacOs,
}

/// `on linux { … }`: rules and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PlatformBlock {
    /// Which platform.
    pub platform: Spanned<PlatformName>,
    /// Rules and limits; nothing else stands here.
    pub statements: Vec<Spanned<Statement>>,
}

/// `test "name" { … }`
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Test {
    /// The test's name.
    pub name: Text,
    /// The world it is asked in.
    pub given: Vec<Spanned<Given>>,
    /// What it expects.
    pub expect: Vec<Spanned<Expect>>,
}

/// One line of a test's world.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Given {
    /// `given $x = VALUE`
    Variable {
        /// The variable's name, without `$`.
        name: Spanned<String>,
        /// Its value.
        value: Text,
    },
    /// `given link A -> B`
    Link {
        /// Where the link stands.
        from: Text,
        /// What it holds.
        to: Text,
    },
    /// `given host NAME = ADDRESS, …`
    Host {
        /// The name.
        name: Text,
        /// Its addresses.
        addresses: Vec<Text>,
    },
    /// `given platform = macos`
    Platform(Spanned<PlatformName>),
}

/// One expectation of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Expect {
    /// `allow` or `deny`.
    pub verdict: Spanned<Verdict>,
    /// The action asked for.
    pub action: Spanned<Action>,
    /// The concrete item; none for `tty`.
    pub item: Option<Text>,
    /// The labels of the rules that must have decided.
    pub by: Vec<Spanned<String>>,
}

/// What a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Verdict {
    /// `allow`
    Allow,
    /// `deny`
    Deny,
}
