//! The table of `docs/fidelity.md`: how faithfully each target enforces each kind of rule.

use fence_compiler::artifact::{Target, compile_for};
use fence_compiler::fidelity::{Enforced, Enforcement, Level, Mechanism};
use fence_compiler::host::{FileFacts, Host};
use fence_compiler::lower::seatbelt::{Run, RunId};
use fence_compiler::lower::target::Finish;
use fence_compiler::policy::{Policy, Rule, RuleId};

use crate::machine::{RUN, files, host, policy};

#[path = "../../compiler/tests/lowering/machine.rs"]
#[allow(dead_code)]
pub mod linux;

/// What stands around each rule: work in a repository.
const AROUND: &str = "allow read write exec $cwd\nallow run *\n";

/// One row a kind of rule.
const ROWS: [(&str, &str); 38] = [
    ("a tree that can be read", "allow read /usr"),
    ("a tree that can be written", "allow write $cwd"),
    ("an `allow` with wildcards", "allow read /usr/share/*"),
    ("an `allow` with an `except`", "allow read /etc except /etc/shadow"),
    ("programs", "allow exec /usr"),
    ("a `deny` where nothing is allowed", "deny read write ~/.ssh"),
    ("a `never` where nothing is allowed", "never read ~/.aws except ~/.aws/config"),
    ("a `deny` of a file in a readable tree", "allow read /etc\ndeny read /etc/shadow"),
    ("a `deny` of writing what exists in a writable tree", "deny write $cwd/.git/hooks"),
    ("a `deny` of reading what exists in a writable tree", "deny read $cwd/.env"),
    ("a `deny` of both there", "deny read write $cwd/.env"),
    ("a `deny` of what does not exist there", "deny write $cwd/none/x"),
    ("the same, `best-effort`", "deny write $cwd/none/x best-effort"),
    ("a `deny` of names anywhere", "deny read write **/.env"),
    ("the same, `cheaply`", "deny read write **/.env cheaply"),
    ("a `deny` of names below others", "deny write **/.git/hooks"),
    ("the same, `best-effort cheaply`", "deny write **/.git/hooks best-effort cheaply"),
    ("a `deny exec` in a writable tree", "deny exec $cwd/bin"),
    ("any command", "allow run *"),
    ("a `deny run` of one word", "deny run sudo"),
    ("a `deny run` with arguments", "deny run \"git push\""),
    ("a connection to a name", "allow connect example.com:443"),
    ("a connection to the host's loopback", "allow connect localhost:5432"),
    ("a `deny connect`", "deny connect 10.0.0.0/8"),
    ("a request", "allow connect example.com:443\nallow http \"GET example.com/x\""),
    ("a port to offer", "allow listen 3000"),
    ("a socket by its path", "allow socket /run/docker.sock"),
    ("sockets in a directory that can be read", "deny socket $cwd"),
    ("the same, `best-effort cheaply`", "deny socket $cwd best-effort cheaply"),
    ("an environment variable", "allow env HOME"),
    ("a device", "allow device /dev/null"),
    ("the terminal", "allow tty"),
    ("what an ssh may be asked", "allow ssh *"),
    ("a system call", "allow syscall perf_event_open"),
    ("a service of macOS", "allow mach-lookup com.apple.trustd.agent"),
    ("services of macOS by a wildcard", "allow mach-lookup com.apple.*"),
    ("`limit time`", "limit time 30m"),
    ("`limit memory`", "limit memory 1GiB"),
];

/// A column of the table: a target, and a machine that offers everything it knows.
struct Column {
    name: &'static str,
    /// What the page says of it.
    about: &'static str,
    target: fn() -> Target,
    machine: fn() -> (Host, FileFacts),
}

const COLUMNS: [Column; 4] = [
    Column {
        name: "native",
        about: "fence's own runner on Linux",
        target: || Target::Native,
        machine: || (linux::host("/home/ada/work"), linux::files(linux::DEBIAN)),
    },
    Column {
        name: "bwrap",
        about: "`fence run --backend bwrap`: bubblewrap, which fence finishes before the command starts",
        target: || Target::Bwrap(Finish::ByFence),
        machine: || (linux::host("/home/ada/work"), linux::files(linux::DEBIAN)),
    },
    Column {
        name: "landlock",
        about: "`fence run --backend landlock`: Landlock and seccomp alone, where a person chooses that",
        target: || Target::Landlock(RunId::new(RUN).unwrap()),
        machine: || (linux::host("/home/ada/work"), linux::files(linux::DEBIAN)),
    },
    Column {
        name: "seatbelt",
        about: "a profile of macOS, checked against a documented model and not on a Mac (see [macos.md](macos.md))",
        target: || Target::Seatbelt(Run::named(RunId::new(RUN).unwrap())),
        machine: || (host(), files()),
    },
];

#[test]
fn the_table_on_disk_is_what_the_targets_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/fidelity.md");
    let fresh = table();
    if std::env::var_os("FENCE_UPDATE").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).is_ok_and(|written| written == fresh),
        "docs/fidelity.md is stale: `FENCE_UPDATE=1 cargo test -p fence-compiler --test seatbelt fidelity` renews it"
    );
}

fn table() -> String {
    let mut out = String::from(
        "# Fidelity\n\n\
        How faithfully each target enforces each kind of rule, on a machine that offers everything: *exact*, *stricter* or\n\
        *weaker* than it is written, by what, and where it differs. Each rule stands beside `allow read write exec $cwd` and\n\
        `allow run *`. What a policy of yours comes to on this machine is told by `fence check`. Below stands every rule of every\n\
        built-in policy, beside `base` and the same work.\n\n",
    );
    for column in &COLUMNS {
        out.push_str(&format!("- `{}`: {}.\n", column.name, column.about));
    }
    out.push_str(
        "\nThe table is made by a test from what the compiler says: `FENCE_UPDATE=1 cargo test -p fence-compiler --test seatbelt\n\
        fidelity` renews it.\n\n| | rule |",
    );
    COLUMNS.iter().for_each(|column| out.push_str(&format!(" {} |", column.name)));
    out.push_str(&format!("\n| --- | --- |{}\n", " --- |".repeat(COLUMNS.len())));
    for (what, text) in ROWS {
        let whole = format!("{AROUND}{text}");
        let shown: Vec<String> = text.lines().map(|line| format!("`{}`", line.replace('|', "\\|"))).collect();
        out.push_str(&format!("| {what} | {} |", shown.join("<br>")));
        for column in &COLUMNS {
            let (host, files) = (column.machine)();
            out.push_str(&format!(" {} |", cell(&whole, &(column.target)(), host, files)));
        }
        out.push('\n');
    }
    fence_policies::ALL.iter().for_each(|(name, _)| out.push_str(&built_in(name)));
    out
}

/// Every rule of a built-in policy's own text, beside `base` and work in a repository, on every target.
fn built_in(name: &str) -> String {
    let text = format!("include base\ninclude {name}\n{AROUND}");
    let own = |policy: &Policy| {
        let source = format!("<built-in {name}>");
        let at = policy.sources.iter().position(|known| known.name == source).unwrap();
        let is_own = |rule: &&(RuleId, Rule)| rule.1.written.source.0 as usize == at;
        let rules = (0..).map(RuleId).zip(policy.rules.clone());
        rules.collect::<Vec<_>>().iter().filter(is_own).cloned().collect::<Vec<_>>()
    };
    let mut columns = Vec::new();
    for column in &COLUMNS {
        let (host, mut files) = (column.machine)();
        let compiled = compile_for(&(column.target)(), policy(&text), host, &mut files, "0").value;
        columns.push(compiled.fidelity);
    }
    let policy = policy(&text);
    let mut out = format!("\n## `{name}`\n\n| line | label | effect |");
    COLUMNS.iter().for_each(|column| out.push_str(&format!(" {} |", column.name)));
    out.push_str(&format!("\n| --- | --- | --- |{}\n", " --- |".repeat(COLUMNS.len())));
    for (id, rule) in own(&policy) {
        let label = rule.label.as_deref().unwrap_or("-");
        let effect = format!("{:?}", rule.effect).to_lowercase();
        out.push_str(&format!("| {} | {label} | {effect} |", rule.written.line));
        for fidelity in &columns {
            let told = fidelity.iter().find(|told| told.what == Enforced::Rule(id)).unwrap();
            out.push_str(&format!(" {} |", in_short(told)));
        }
        out.push('\n');
    }
    out
}

/// The level and what holds it.
fn in_short(told: &Enforcement) -> String {
    let whole = shown(told);
    whole.split("<br>").next().unwrap().to_owned()
}

/// How the last rule, or the limit, of a policy is enforced.
fn cell(text: &str, target: &Target, host: Host, mut files: FileFacts) -> String {
    let policy = policy(text);
    let last = u32::try_from(policy.rules.len() - 1).unwrap();
    let what = if policy.limits.is_empty() { Enforced::Rule(RuleId(last)) } else { Enforced::Limit(0) };
    let compiled = compile_for(target, policy, host, &mut files, "0").value;
    let told = compiled.fidelity.iter().find(|told| told.what == what).unwrap();
    shown(told)
}

fn shown(told: &Enforcement) -> String {
    let level = match told.level {
        Level::Exact => "exact",
        Level::Stricter => "*stricter*",
        Level::Weaker => "**weaker**",
    };
    let by: Vec<&str> = told.by.iter().map(|mechanism| name(*mechanism)).collect();
    let mut cell = format!("{level}, by {}", by.join(", "));
    for why in told.why.iter().chain(&told.notes) {
        cell.push_str("<br>");
        cell.push_str(&why.replace('|', "\\|"));
    }
    cell
}

fn name(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Nothing => "nothing",
        Mechanism::Absence => "absence",
        Mechanism::Namespace => "a namespace",
        Mechanism::Mount => "a mount",
        Mechanism::Landlock => "Landlock",
        Mechanism::Seccomp => "seccomp",
        Mechanism::Seatbelt => "the profile",
        Mechanism::Rlimit => "a resource limit",
        Mechanism::Cgroup => "a cgroup",
        Mechanism::Timer => "a timer",
        Mechanism::Environment => "the environment",
        Mechanism::Preflight => "a check before the start",
        Mechanism::Proxy => "the proxy",
        Mechanism::Mediator => "the mediator",
    }
}
