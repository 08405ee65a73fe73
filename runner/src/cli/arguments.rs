//! The command line's definition.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use super::teaching;
use crate::publish::Request;

/// Runs a command in a sandbox whose policy is a text you can read.
#[derive(Debug, Parser)]
#[command(
    name = "fence",
    bin_name = "fence",
    version = super::version(),
    about = "Runs a command in a sandbox whose policy is a text you can read",
    override_usage = "fence [OPTIONS] COMMAND [ARGUMENT]...\n       fence [OPTIONS] -c TEXT\n       fence WORD [ARGUMENT]...   one of the words below",
    after_help = teaching::OVERVIEW,
    disable_help_subcommand = true,
    subcommand_help_heading = "Words of fence's own",
    subcommand_value_name = "WORD",
    infer_long_args = false
)]
pub(super) struct Cli {
    /// What holds for every word.
    #[command(flatten)]
    pub global: Global,
    /// Which word.
    #[command(subcommand)]
    pub word: Word,
}

impl Cli {
    /// Defines `fence run` alone: what it accepts means the same in the whole definition.
    pub(super) fn run_alone() -> clap::Command {
        let run = Run::augment_args(clap::Command::new("run"));
        Global::augment_args(clap::Command::new("fence")).subcommand(run).subcommand_required(true)
    }
}

/// Options of every word.
#[derive(Clone, Debug, Args)]
pub(super) struct Global {
    /// When to use colours: auto (on a terminal, unless `NO_COLOR` is set), always, never
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub color: When,
    /// Tell more: what is enforced, by what, in which order
    #[arg(short, long, global = true, help_heading = "Output")]
    pub verbose: bool,
    /// Tell less: no summary, no notes; errors are always told
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The words of fence's own.
#[derive(Debug, Subcommand)]
pub(super) enum Word {
    /// Run a command under a policy (the word may be left out)
    Run(Run),
    /// Say what is wrong with a policy, and how faithfully this machine enforces it
    Check(Check),
    /// Say whether an action is allowed, and by which rule
    Why(Why),
    /// Sum up what a run was allowed and refused, from its log
    Audit(Audit),
    /// Show the resolved policy, each rule with where it comes from
    Show(Show),
    /// Run the tests that are written in a policy
    Test(Test),
    /// Write policies in their canonical form, or in another: text, YAML, JSON
    Fmt(Fmt),
    /// Compile a policy to an artifact
    Compile(Compile),
    /// List the policies that come with fence, or print one
    Policies(Policies),
    /// Trust the policy of a directory, list what is trusted, or revoke it
    Trust(Trust),
    /// Keep a sandbox for many commands: start it, run commands in it, list, stop
    #[cfg(target_os = "linux")]
    Session(Session),
    /// Show, carry over or drop what runs wrote to an overlay
    #[cfg(target_os = "linux")]
    Overlay(Overlay),
    /// Show what this machine offers to a sandbox, what it lacks, and how to mend it
    Doctor(Doctor),
    /// Print the JSON Schemas of policies and artifacts
    Schema(Schema),
    /// Print completions for a shell
    Completions(Completions),
    /// Explain a word, an action, or a code such as E0203
    Help(Help),
}

/// Which policy, and what is changed about it for once.
#[derive(Clone, Debug, Args)]
pub(super) struct Chosen {
    /// A policy: a file (with a `/` or ending in .fence), a built-in name, or `user`;
    /// several are a union. Without it: the nearest policy.fence, else your own, else `default`
    #[arg(short, long = "policy", value_name = "POLICY", help_heading = "Policy", value_hint = ValueHint::FilePath)]
    pub policy: Vec<OsString>,
    /// What is changed.
    #[command(flatten)]
    pub changes: Changes,
}

/// What is changed about a policy for once, and where.
#[derive(Clone, Debug, Args)]
pub(super) struct Changes {
    /// Add one statement for this once; it can lift no `never`
    #[arg(long, value_name = "STATEMENT", help_heading = "Policy")]
    pub rule: Vec<String>,
    /// Change a `let` of the policy
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Policy", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Work in this directory instead of the current one
    #[arg(short = 'C', long = "directory", value_name = "DIR", help_heading = "Policy", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok((name.trim_start_matches('$').to_owned(), value.to_owned()))
        }
        _ => Err("write `NAME=VALUE`".to_owned()),
    }
}

/// `fence run`
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "fence run [OPTIONS] [--] COMMAND [ARGUMENT]...\n       fence run [OPTIONS] -c TEXT [--] [ARGUMENT]...",
    after_help = teaching::RUN
)]
pub(super) struct Run {
    /// Which policy.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Run a line of shell text; words after `--` become $0, $1, …
    #[arg(short = 'c', value_name = "TEXT", help_heading = "Command")]
    pub text: Option<OsString>,
    /// The shell for -c
    #[arg(long, value_name = "PATH", default_value = "/bin/sh", requires = "text", help_heading = "Command")]
    pub shell: PathBuf,
    /// What applies it: auto (native, or else bwrap where the policy accepts that), native, bwrap, landlock
    #[arg(
        long,
        value_name = "BACKEND",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Policy"
    )]
    pub backend: BackendName,
    /// Take the policy from an artifact that `fence compile` made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "rule", "set", "backend"], help_heading = "Policy", value_hint = ValueHint::FilePath)]
    pub artifact: Option<PathBuf>,
    /// Offer a port inside on the host's loopback, where a `listen` rule allows it:
    /// [ADDRESS:]HOSTPORT[:PORT]
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    pub publish: Vec<Request>,
    /// Let --publish name an address that others can connect to
    #[arg(long, requires = "publish", help_heading = "Network")]
    pub publish_anywhere: bool,
    /// Add to a file, one JSON object a line: each refusal, each connection that was made, each program that was started, and
    /// what was written outside the workspace
    #[arg(long, value_name = "FILE", help_heading = "Output", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,
    /// Show each refusal as it happens, the kernel's too: the rule, and what would allow it
    #[arg(short, long, help_heading = "Output")]
    pub monitor: bool,
    /// Give the command a terminal of its own, which is relayed to the caller's
    #[cfg(target_os = "linux")]
    #[arg(long, help_heading = "Command")]
    pub pty: bool,
    /// Ask at the terminal before a connection or a command is refused, unless a `never` refuses it
    #[cfg(target_os = "linux")]
    #[arg(long, conflicts_with_all = ["artifact", "dry_run"], help_heading = "Command")]
    pub ask: bool,
    /// The descriptors to ask through: for starts, and for connections
    #[cfg(target_os = "linux")]
    #[arg(long, hide = true, value_name = "NUMBERS", value_parser = ends, conflicts_with = "artifact")]
    pub asked_through: Option<Ends>,
    /// Write to an overlay instead of the host's files: `tmp`, which is gone at the end, or one that is kept
    /// under a name (fence overlay)
    #[arg(long, value_name = "NAME", help_heading = "Command")]
    pub overlay: Option<String>,
    /// Run nothing: print what would be run, and what would hold for it
    #[arg(long, help_heading = "Command")]
    pub dry_run: bool,
    /// Print how long each phase of the launch took
    #[arg(long, help_heading = "Output")]
    pub timings: bool,
    /// The command, and everything that is its own
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present = "text", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// The descriptors that the person is asked through.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// About starts.
    pub starts: i32,
    /// About connections.
    pub connections: i32,
}

#[cfg(target_os = "linux")]
fn ends(text: &str) -> Result<Ends, String> {
    let numbers = text.split_once(',').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (starts, connections) = numbers.ok_or("two numbers are needed")?;
    Ok(Ends { starts, connections })
}

impl Run {
    /// The log, unless nothing is run.
    pub(super) fn written_log(&self) -> Option<&Path> {
        self.log.as_deref().filter(|_| !self.dry_run)
    }
}

/// What applies a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendName {
    /// The first that this machine offers and the policy accepts
    Auto,
    /// Fence itself
    Native,
    /// bubblewrap
    Bwrap,
    /// Landlock and seccomp alone
    Landlock,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a person
    Text,
    /// For a program; the form carries its version
    Json,
}

/// `fence check`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::CHECK)]
pub(super) struct Check {
    /// The policies, each by itself; without one, the one that `fence run` would find here
    #[arg(value_name = "POLICY", value_hint = ValueHint::FilePath)]
    pub policies: Vec<OsString>,
    /// What is changed.
    #[command(flatten)]
    pub changes: Changes,
    /// How the answer is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
}

/// `fence why`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::WHY)]
pub(super) struct Why {
    /// Which policy.
    #[command(flatten)]
    pub chosen: Chosen,
    /// How the answer is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
    /// Explain the refusal that came last, of whichever run
    #[arg(long, conflicts_with_all = ["policy", "rule", "set", "directory", "action"])]
    pub last: bool,
    /// The action: read, write, exec, run, connect, http, listen, socket, env, device, tty, ssh, syscall, …
    #[arg(value_name = "ACTION", required_unless_present = "last")]
    pub action: Option<String>,
    /// What it is about: a path, a command, HOST:PORT, a name; nothing for `tty`
    #[arg(value_name = "ITEM", trailing_var_arg = true)]
    pub item: Vec<OsString>,
}

/// `fence audit`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::AUDIT)]
pub(super) struct Audit {
    /// A file that `fence run --log FILE` wrote; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// How the answer is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
}

/// `fence show`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::SHOW)]
pub(super) struct Show {
    /// Which policy.
    #[command(flatten)]
    pub chosen: Chosen,
    /// The same as -p
    #[arg(value_name = "POLICY", value_hint = ValueHint::FilePath)]
    pub named: Vec<OsString>,
    /// Only the rules with this label
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// How it is written: fence or yaml (a policy that compiles to the same rules), or json, which
    /// carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "fence",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: ShowFormat,
}

/// How a policy is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ShowFormat {
    /// As a policy's text, which compiles to the same rules
    Fence,
    /// The same as YAML
    Yaml,
    /// For a program; the form carries its version
    Json,
}

/// `fence test`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::TEST)]
pub(super) struct Test {
    /// The policy; without it, the one that `fence run` would find here
    #[arg(value_name = "POLICY", value_hint = ValueHint::FilePath)]
    pub policy: Option<OsString>,
    /// What is changed.
    #[command(flatten)]
    pub changes: Changes,
    /// Name the rules that no test decided by
    #[arg(long)]
    pub coverage: bool,
    /// How the answer is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
}

/// `fence fmt`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::FMT)]
pub(super) struct Fmt {
    /// Policy files; `-` is standard input, and the answer goes to standard output
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<OsString>,
    /// Change nothing: name the files that are not in canonical form
    #[arg(long, conflicts_with = "to")]
    pub check: bool,
    /// Print the policy in this form instead of changing the file: fence, yaml, json
    #[arg(long, value_name = "FORM", hide_possible_values = true)]
    pub to: Option<FormName>,
    /// The form of standard input: fence, yaml, json
    #[arg(long, value_name = "FORM", default_value = "fence", hide_possible_values = true)]
    pub stdin_form: FormName,
}

/// A form of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FormName {
    /// The language's own
    Fence,
    /// YAML
    Yaml,
    /// JSON
    Json,
}

/// `fence compile`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::COMPILE)]
pub(super) struct Compile {
    /// The policy; without it, the one that `fence run` would find here
    #[arg(value_name = "POLICY", value_hint = ValueHint::FilePath)]
    pub policy: Option<OsString>,
    /// What is changed.
    #[command(flatten)]
    pub changes: Changes,
    /// What to compile for: native, bwrap, landlock, seatbelt
    #[arg(long, value_name = "TARGET", default_value = "native")]
    pub target: String,
    /// Take the facts about the machine from a file instead of this machine
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub host: Option<PathBuf>,
    /// Write to a file instead of standard output; for bwrap, a directory with a script that runs
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// How it is written: json, or text for a person; without it, json, and for bwrap the arguments
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, help_heading = "Output")]
    pub format: Option<Format>,
}

/// `fence policies`
#[derive(Clone, Debug, Args)]
pub(super) struct Policies {
    /// Print this one's text
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// How it is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
}

/// `fence trust`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = teaching::TRUST,
    override_usage = "fence trust [FILE]\n       fence trust list\n       fence trust revoke [FILE]"
)]
pub(super) struct Trust {
    /// A policy file, or `list`, or `revoke`; without it, the policy that is found here
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub first: Option<OsString>,
    /// The policy file to revoke
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, hide = true)]
    pub second: Option<OsString>,
    /// Look from this directory instead of the current one
    #[arg(short = 'C', long = "directory", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// How `list` is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
}

/// `fence session`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::SESSION, disable_help_subcommand = true, subcommand_value_name = "WORD", subcommand_help_heading = "Words")]
pub(super) struct Session {
    /// Which word.
    #[command(subcommand)]
    pub word: SessionWord,
}

impl Session {
    /// Whether it runs a command: then a failure of fence exits with 125.
    pub(super) fn runs(&self) -> bool {
        matches!(self.word, SessionWord::Start(_) | SessionWord::Run(_))
    }
}

/// The words of `fence session`.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum SessionWord {
    /// Make a sandbox that stays, and print its name
    Start(SessionStart),
    /// Run a command in it
    Run(SessionRun),
    /// Hold what starts from now on by the policy as it is now, which may allow less
    Reload(SessionReload),
    /// List your sessions: name, policy, directory, age
    List(SessionList),
    /// End sessions, and everything that runs in them
    Stop(SessionStop),
}

/// `fence session start`
#[derive(Clone, Debug, Args)]
pub(super) struct SessionStart {
    /// What it is called; without it, the first number that is free
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Which policy.
    #[command(flatten)]
    pub chosen: Chosen,
    /// End it when no command has run for so long (90s, 30m, 2h); `never` for until it is stopped
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = idle)]
    pub idle: Idle,
    /// Add to a file, one JSON object a line: each refusal, each connection that was made, each program that was started, and
    /// what was written outside the workspace
    #[arg(long, value_name = "FILE", help_heading = "Output", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,
}

/// How long a session may do nothing; `None`: without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle(pub Option<std::time::Duration>);

fn idle(text: &str) -> Result<Idle, String> {
    let wrong = || "write a number and s, m or h, such as `90s`, or `never`".to_owned();
    if text == "never" {
        return Ok(Idle(None));
    }
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u32 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    if number == 0 {
        return Err(wrong());
    }
    Ok(Idle(Some(std::time::Duration::from_secs(u64::from(number) * seconds))))
}

/// `fence session run`
#[derive(Clone, Debug, Args)]
#[command(
    override_usage = "fence session run NAME [OPTIONS] [--] COMMAND [ARGUMENT]...\n       fence session run NAME [OPTIONS] -c TEXT [--] [ARGUMENT]..."
)]
pub(super) struct SessionRun {
    /// The session
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Run a line of shell text; words after `--` become $0, $1, …
    #[arg(short = 'c', value_name = "TEXT")]
    pub text: Option<OsString>,
    /// The shell for -c
    #[arg(long, value_name = "PATH", default_value = "/bin/sh", requires = "text")]
    pub shell: PathBuf,
    /// Start in this directory instead of the current one
    #[arg(short = 'C', long = "directory", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Give it a terminal of its own, which is relayed to the caller's
    #[arg(short = 't', long = "pty")]
    pub terminal: bool,
    /// Add to a file, one JSON object a line: each refusal of this command, each program that was started, and
    /// what was written outside the workspace
    #[arg(long, value_name = "FILE", help_heading = "Output", value_hint = ValueHint::FilePath)]
    pub log: Option<PathBuf>,
    /// Show each refusal of this command as it happens, the kernel's too, but for connections
    #[arg(short, long, help_heading = "Output")]
    pub monitor: bool,
    /// The command, and everything that is its own
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present = "text", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// `fence session reload`
#[derive(Clone, Debug, Args)]
pub(super) struct SessionReload {
    /// The session
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// `fence session list`
#[derive(Clone, Debug, Args)]
pub(super) struct SessionList {}

/// `fence session stop`
#[derive(Clone, Debug, Args)]
pub(super) struct SessionStop {
    /// The sessions
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// `fence overlay`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::OVERLAY, disable_help_subcommand = true, subcommand_value_name = "WORD", subcommand_help_heading = "Words")]
pub(super) struct Overlay {
    /// Which word.
    #[command(subcommand)]
    pub word: OverlayWord,
}

/// The words of `fence overlay`.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum OverlayWord {
    /// List your overlays: name, when it was last used, what it is over
    List(OverlayList),
    /// Show what an overlay holds that the host has not
    Diff(OverlayDiff),
    /// Carry what an overlay holds over to the host
    Apply(OverlayApply),
    /// Drop overlays, with everything that was written to them
    Discard(OverlayDiscard),
}

/// `fence overlay diff`
#[derive(Clone, Debug, Args)]
pub(super) struct OverlayDiff {
    /// The overlay; without it, the only one that there is
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// How the answer is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
}

/// `fence overlay apply`
#[derive(Clone, Debug, Args)]
pub(super) struct OverlayApply {
    /// The overlay
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What of it; without any, everything
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// Replace what the host has changed since
    #[arg(long)]
    pub force: bool,
}

/// `fence overlay list`
#[derive(Clone, Debug, Args)]
pub(super) struct OverlayList {}

/// `fence overlay discard`
#[derive(Clone, Debug, Args)]
pub(super) struct OverlayDiscard {
    /// The overlays
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// `fence doctor`
#[derive(Clone, Debug, Args)]
pub(super) struct Doctor {
    /// How it is written: text, or json, which carries its version
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub format: Format,
}

/// `fence schema`
#[derive(Clone, Debug, Args)]
pub(super) struct Schema {
    /// Only this one
    #[arg(value_name = "WHICH")]
    pub which: Option<WhichSchema>,
}

/// A schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WhichSchema {
    /// Of policies written as YAML or JSON
    Policy,
    /// Of what `fence compile` writes
    Artifact,
}

/// `fence completions`
#[derive(Clone, Debug, Args)]
#[command(after_help = teaching::COMPLETIONS)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: CompletionShell,
}

/// A shell that there are completions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CompletionShell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

/// `fence help`
#[derive(Clone, Debug, Args)]
pub(super) struct Help {
    /// A word of fence's own, an action, or a code
    #[arg(value_name = "TOPIC")]
    pub topic: Option<String>,
}
