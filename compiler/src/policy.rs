//! The typed policy: what is meant, the same for every platform, with its variables symbolic.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fence_grammar::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{
    CommandPattern, ConnectPattern, DomainName, HostPattern, HttpPattern, NamePattern, PathPattern,
    PortRange, SshPattern, Value,
};
use crate::question::{Platform, Question};
use crate::source::{Origin, Place, SourceId};

/// A policy, resolved: no include, no `let`, no label left to look up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The texts it is made of, the main one first.
    pub sources: Vec<SourceRecord>,
    /// Those among them that were asked for; the others are included, or hold above.
    #[serde(default)]
    pub mains: Vec<SourceId>,
    /// The rules, in the order of sources and lines. No decision depends on this order.
    pub rules: Vec<Rule>,
    /// The variables set for the command.
    pub set: BTreeMap<String, SetVariable>,
    /// The secrets that only the proxy puts in.
    pub secrets: Vec<Secret>,
    /// The limits as written; of several of one kind the smallest holds.
    pub limits: Vec<Limit>,
    /// Whether a TLS connection must show its name; `None` where no text says, which means strict.
    pub tls: Option<Tls>,
    /// The proxies of the host side.
    pub upstreams: Vec<Upstream>,
    /// The tests of the main text.
    pub tests: Vec<Test>,
    /// What `without` left out.
    pub left_out: Vec<LeftOut>,
    /// The `let` values that `--set` changed.
    pub changed: Vec<ChangedLet>,
}

/// A text that a policy is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceRecord {
    /// Where it comes from.
    pub origin: Origin,
    /// What messages call it.
    pub name: String,
    /// The SHA-256 of its text, in lower-case hexadecimal.
    pub sha256: String,
    /// What it includes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<IncludeRecord>,
}

/// An `include` that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IncludeRecord {
    /// The text that it brings in.
    pub source: SourceId,
    /// The labels of what it leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

/// A place in a text, as a document keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// Which of the policy's sources.
    pub source: SourceId,
    /// The first byte.
    pub start: u32,
    /// The byte behind the last.
    pub end: u32,
    /// The line it begins at, from 1.
    pub line: u32,
}

impl Written {
    /// The same for a diagnostic.
    #[must_use]
    pub fn place(self) -> Place {
        Place { source: self.source, span: Span { start: self.start, end: self.end } }
    }
}

/// A rule's number: its index in [`Policy::rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RuleId(pub u32);

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Opens.
    Allow,
    /// Closes.
    Deny,
    /// Closes, and nothing can drop it.
    Never,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// What it does.
    pub effect: Effect,
    /// What it is about.
    pub subject: Subject,
    /// What enforcement its author accepts.
    pub acceptance: Acceptance,
    /// Its label.
    pub label: Option<String>,
    /// Its reason.
    pub because: Option<String>,
    /// The platform it is for; `None`: every one.
    pub platform: Option<Platform>,
    /// The statement.
    pub written: Written,
}

/// What enforcement the author of a `deny` or `limit` accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acceptance {
    /// Only exact or stricter enforcement.
    Exact,
    /// `best-effort`: weaker enforcement where the target cannot do better.
    BestEffort,
    /// `cheaply`: the cheaper enforcement where exactness costs speed.
    Cheaply,
    /// Both clauses.
    BestEffortCheaply,
}

/// One item of a rule. An item with braces gives several, with the same text and place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Item<P> {
    /// The item as written, for messages.
    pub text: String,
    /// Where.
    pub written: Written,
    /// What it means.
    pub pattern: P,
}

/// What a rule is about: an action and its items. Each `except` only shrinks this rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// `read write exec socket device`
    Path {
        /// At least one, sorted, each once.
        actions: Vec<PathAction>,
        /// The items.
        items: Vec<Item<PathPattern>>,
        /// The `except` items.
        except: Vec<Item<PathPattern>>,
    },
    /// `run`
    Run {
        /// The items.
        items: Vec<Item<CommandPattern>>,
        /// The `except` items.
        except: Vec<Item<CommandPattern>>,
    },
    /// `connect`
    Connect {
        /// The items.
        items: Vec<Item<ConnectPattern>>,
        /// The `except` items.
        except: Vec<Item<ConnectPattern>>,
    },
    /// `http`
    Http {
        /// The items.
        items: Vec<Item<HttpPattern>>,
        /// The `except` items.
        except: Vec<Item<HttpPattern>>,
    },
    /// `listen`
    Listen {
        /// The items.
        items: Vec<Item<PortRange>>,
        /// The `except` items.
        except: Vec<Item<PortRange>>,
    },
    /// `env`, `syscall`, `mach-lookup`, `mach-register`, `iokit`
    Name {
        /// Which of them.
        action: NameAction,
        /// The items.
        items: Vec<Item<NamePattern>>,
        /// The `except` items.
        except: Vec<Item<NamePattern>>,
    },
    /// `ssh`
    Ssh {
        /// The items.
        items: Vec<Item<SshPattern>>,
        /// The `except` items.
        except: Vec<Item<SshPattern>>,
    },
    /// `tty`
    Tty,
}

/// An action on paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathAction {
    /// Reading contents, listing directories, reading metadata.
    Read,
    /// Creating, changing, deleting, renaming, linking, changing metadata.
    Write,
    /// Being executed, or loaded as code.
    Exec,
    /// Connecting to a Unix socket of the host.
    Socket,
    /// Opening a device below `/dev`.
    Device,
}

/// An action on plain names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NameAction {
    /// Passing on the caller's variable.
    Env,
    /// A system call that the default filter refuses.
    Syscall,
    /// Looking up a macOS service.
    MachLookup,
    /// Registering one.
    MachRegister,
    /// Opening an IOKit user client.
    IoKit,
}

/// `set env NAME = VALUE`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetVariable {
    /// The value.
    pub value: Value,
    /// Its label.
    pub label: Option<String>,
    /// Its reason.
    pub because: Option<String>,
    /// Where.
    pub written: Written,
}

/// `secret env NAME to HOST, …`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// What holds it.
    pub holder: SecretHolder,
    /// The hosts its value may go to, port 443 where none is written.
    pub to: Vec<Item<ConnectPattern>>,
    /// Its label.
    pub label: Option<String>,
    /// Its reason.
    pub because: Option<String>,
    /// Where.
    pub written: Written,
}

/// What holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretHolder {
    /// An environment variable.
    Env(String),
    /// A file: a path without wildcards.
    File(PathPattern),
}

/// `limit KIND VALUE`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// What is limited.
    pub kind: LimitKind,
    /// Milliseconds for times, bytes for sizes, a count for the rest.
    pub amount: u64,
    /// What enforcement its author accepts.
    pub acceptance: Acceptance,
    /// The platform it is for; `None`: every one.
    pub platform: Option<Platform>,
    /// Its label.
    pub label: Option<String>,
    /// Its reason.
    pub because: Option<String>,
    /// Where.
    pub written: Written,
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
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

/// `tls strict`, `tls relaxed`: strict holds where both are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// A TLS connection to a name must show that name.
    Strict,
    /// One that shows none passes.
    Relaxed,
}

/// `upstream URL [for HOST, …]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upstream {
    /// `http`, `https` or `socks5`.
    pub scheme: String,
    /// The proxy's host.
    pub host: String,
    /// The proxy's port.
    pub port: u16,
    /// The hosts dialled through it; empty: all.
    pub hosts: Vec<Item<HostPattern>>,
    /// Where.
    pub written: Written,
}

/// A statement that an `include … without` left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The label that was named.
    pub label: String,
    /// The statement, with its place in the text that holds it.
    pub statement: LeftOutStatement,
    /// The include that left it out.
    pub written: Written,
    /// The reason given there.
    pub because: String,
}

/// A statement that was left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LeftOutStatement {
    /// A rule.
    Rule(Rule),
    /// A limit.
    Limit(Limit),
    /// A secret.
    Secret(Secret),
    /// A variable set for the command.
    Set {
        /// The variable.
        name: String,
        /// The rest.
        set: SetVariable,
    },
    /// An `include` with everything in it.
    Include {
        /// What it names.
        policy: String,
        /// Where.
        written: Written,
    },
}

/// A `let` that `--set` changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangedLet {
    /// Its name.
    pub name: String,
    /// The value it has now.
    pub value: String,
}

/// `test "name" { … }`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// The worlds it is asked in: one a platform, unless `given platform` says which.
    pub platforms: Vec<Platform>,
    /// The values of variables that are given.
    pub variables: BTreeMap<String, Value>,
    /// The links that are given: where each stands, and the text it holds (both may begin with a variable).
    pub links: Vec<(Value, Value)>,
    /// The addresses of names that are given.
    pub hosts: BTreeMap<DomainName, Vec<IpAddr>>,
    /// What it expects.
    pub expect: Vec<Expectation>,
    /// Where.
    pub written: Written,
}

/// One line of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// Whether it expects to be allowed.
    pub verdict: ExpectedVerdict,
    /// The question, its variables still symbolic.
    pub question: SymbolicQuestion,
    /// The labels of rules that must be among those that decided.
    pub by: Vec<String>,
    /// Where.
    pub written: Written,
}

/// What a test expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedVerdict {
    /// `allow`
    Allow,
    /// `deny`
    Deny,
}

/// A question whose path may begin with a variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SymbolicQuestion {
    /// A path with an action.
    Path {
        /// The action.
        action: PathAction,
        /// The path.
        path: Value,
    },
    /// Any question without a variable.
    Plain(Question),
}
