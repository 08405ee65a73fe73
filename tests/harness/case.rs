//! A case as its file says it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One file of cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Group {
    /// What the cases are about.
    pub about: String,
    /// The policy of each case that has none of its own.
    #[serde(default)]
    pub policy: String,
    /// The one rule under test of each case that has neither a rule nor a policy of its own.
    pub rule: Option<String>,
    /// What lies in each scene, beside what always does.
    #[serde(default)]
    pub fixture: Vec<Entry>,
    /// The cases.
    #[serde(default)]
    pub cases: Vec<Case>,
    /// System calls, each made inside and outside.
    #[serde(default)]
    pub calls: Vec<Call>,
}

/// One case. In its texts `{home}`, `{work}`, `{outside}`, `{bin}`, `{fence}`, `{port}`, `{port6}`, `{free}`,
/// `{abstract}`, `{bystander}`, `{state}` and `{uid}` stand for what they name in its scene.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// What holds, as a sentence.
    pub name: String,
    /// Who runs it: `root`, `user`.
    #[serde(default = "everybody", rename = "as")]
    pub persons: Vec<String>,
    /// Its policy, in place of the group's; `none`: no `-p` is given.
    pub policy: Option<String>,
    /// The one rule under test: in force in the case, taken out in the control.
    pub rule: Option<String>,
    /// A line that opens what the case shows to be closed: added in the control.
    pub unless: Option<String>,
    /// What lies in the scene beside the group's.
    #[serde(default)]
    pub fixture: Vec<Entry>,
    /// Other things of the host.
    #[serde(default)]
    pub host: Vec<Helper>,
    /// A path left open as descriptor 7.
    pub left_open: Option<String>,
    /// Further variables of the caller.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What stands on standard input.
    #[serde(default)]
    pub stdin: String,
    /// A file or directory that standard input is, opened for reading only.
    pub stdin_file: Option<String>,
    /// The directory it starts in; `{work}` if none is said.
    pub cwd: Option<String>,
    /// Options of `fence run` before `--`.
    #[serde(default)]
    pub options: Vec<String>,
    /// The command: a text for `/bin/sh`.
    pub sh: Option<String>,
    /// The command: its words.
    pub run: Option<Vec<String>>,
    /// The whole command line of fence, for the forms that are not `run -p`.
    pub fence: Option<Vec<String>>,
    /// A text for `/bin/sh` outside that starts fence itself, with `{policy}` for the policy's file.
    pub around: Option<String>,
    /// A text for `/bin/sh` outside that is run when fence has ended, whatever came of it. What it says and does counts; the code
    /// is that of the command. The state of fence lies in `{state}` then, beside what is compared.
    pub afterwards: Option<String>,
    /// What must come of it.
    pub expect: Expect,
    /// The exit code; 0 where it is allowed, not 0 where it is denied, 125 where it is refused.
    pub exit: Option<i32>,
    /// The whole standard output, less white space at its end.
    pub says: Option<String>,
    /// What standard output holds if it succeeds.
    pub shows: Option<String>,
    /// What standard error holds.
    #[serde(default)]
    pub tells: Vec<String>,
    /// The paths that change if it succeeds.
    #[serde(default)]
    pub changes: Vec<String>,
    /// The paths that may change even where it is denied.
    #[serde(default)]
    pub may_change: Vec<String>,
    /// Whether it kills the bystander if it succeeds.
    #[serde(default)]
    pub kills: bool,
    /// Whether a process survives it if it succeeds.
    #[serde(default)]
    pub survives: bool,
    /// The paths whose own time may change even where it is denied.
    #[serde(default)]
    pub may_touch: Vec<String>,
    /// How it is shown that the case proves something.
    #[serde(default, with = "serde_yaml::with::singleton_map_recursive")]
    pub control: Option<Control>,
    /// Who runs the control; whoever ran the case if nobody is said.
    pub control_as: Option<Vec<String>>,
    /// The programs that it needs.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What of all of a run's processes together a cgroup has to hold here (`memory`, `processes`, `cpu`): skipped with a line
    /// where none can, on CI too.
    #[serde(default)]
    pub together: Vec<String>,
    /// How many seconds it may take.
    pub within: Option<u64>,
    /// How many MiB fence may hold.
    pub memory: Option<u64>,
}

/// Root, and an ordinary person.
pub(super) fn everybody() -> Vec<String> {
    vec!["root".to_owned(), "user".to_owned()]
}

/// What must come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// It works.
    Allowed,
    /// It runs and does not get what it wants; the host is unchanged.
    Denied,
    /// Nothing runs; the host is unchanged.
    Refused,
}

/// What shows that a case proves something.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Control {
    /// Under the same policy less the rule (or with the line that opens it) it comes to the opposite. So it is
    /// where there is one.
    WithoutRule,
    /// Without fence it succeeds. So it is where there is no rule.
    Unfenced,
    /// Under this policy it comes to the opposite.
    Policy(String),
    /// Without fence this text for `/bin/sh` succeeds.
    Sh(String),
    /// There is none, for this reason.
    None(String),
}

/// Something that lies in a scene. A path may hold `\xHH` for any byte.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// The path, beginning with a place.
    pub path: String,
    /// What it is; a file if nothing is said.
    #[serde(default)]
    pub kind: Kind,
    /// A file's text, a link's target, the other name of a hard link.
    #[serde(default)]
    pub text: String,
    /// How often the text is repeated, `{n}` in it counting from 1.
    pub repeat: Option<u32>,
    /// Its mode, octal.
    pub mode: Option<String>,
    /// Who owns it: the person who runs the case, or `root`.
    pub owner: Option<String>,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file.
    #[default]
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// One more name of a file.
    HardLink,
    /// A copy of a program of the host.
    Copy,
    /// A FIFO.
    Fifo,
    /// A socket of a server of the host, which says `hello from the host`.
    Socket,
    /// A git repository with one commit of what lies there.
    Git,
}

/// Something else of the host that is there during a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Helper {
    /// A server on 127.0.0.1, at `{port}`.
    Tcp,
    /// A server on ::1, at `{port6}`.
    Tcp6,
    /// A datagram server on 127.0.0.1, at `{port}`.
    Udp,
    /// A port at which nobody listens and which no other test takes, `{free}`.
    Free,
    /// A server at the abstract name `{abstract}`.
    Abstract,
    /// A datagram server at the abstract name `{abstract}`.
    AbstractDatagram,
    /// A server at the Unix socket `{work}/service`.
    Socket,
    /// Shared memory of System V with the key `{shm}`.
    SharedMemory,
    /// A process of the same person and process group, `{bystander}`, with `BYSTANDER=its-secret` in its environment.
    Bystander,
}

/// A system call made inside and outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Call {
    /// The call and its arguments: numbers, `@text` for a pointer to a text, `!x32` or `!i386` before the name
    /// for another way into the kernel.
    pub call: String,
    /// What it answers inside: one of these.
    pub inside: Vec<String>,
    /// What it answers root outside: one of these.
    pub outside: Vec<String>,
    /// What it answers an ordinary person outside, where that is something else.
    pub outside_user: Option<Vec<String>>,
}
