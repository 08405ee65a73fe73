//! Prints a typed policy as text that compiles to the same rules.

use std::fmt::Display;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::fidelity::limit_name;
use fence_compiler::pattern::{Component, ConnectPattern, PathPattern, Root, Value, ValuePart, Variable};
use fence_compiler::policy::{
    Acceptance, Effect, Item, LeftOut, LeftOutStatement, Limit, LimitKind, NameAction, PathAction, Policy,
    Rule, Secret, SecretHolder, SetVariable, Subject, Tls, Upstream, Written,
};
use fence_compiler::question::Platform;
use fence_compiler::source::Origin;

use crate::audit::visible;
use crate::host::PLATFORM;

/// The widest that a statement is before its items go onto lines of their own.
const WIDTH: usize = 100;

/// A policy as a text: every rule with the place it comes from, and what was left out, and why. It compiles to
/// the same rules, limits, secrets and settings; tests stay where they are written.
#[must_use]
pub fn policy(policy: &Policy) -> String {
    let printer = Printer { policy };
    let mut text = String::from("fence 1\n");
    if let Some(name) = &policy.name {
        text.push_str(&format!("policy {name}"));
        if let Some(description) = &policy.description {
            text.push_str(&format!(" {}", string(description)));
        }
        text.push('\n');
    }
    for changed in &policy.changed {
        text.push_str(&format!(
            "\n# --set changed `{}` to {}\n",
            visible(&changed.name),
            string(&changed.value)
        ));
    }
    printer.statements(&mut text);
    for left_out in &policy.left_out {
        text.push_str(&printer.left_out(left_out));
    }
    text
}

/// A rule as one statement, without its platform.
#[must_use]
pub fn rule(policy: &Policy, rule: &Rule) -> String {
    Printer { policy }.rule(rule)
}

/// A limit as one statement, without its platform.
#[must_use]
pub fn limit(limit: &Limit) -> String {
    let clause = match limit.acceptance {
        Acceptance::Exact => "",
        Acceptance::BestEffort => " best-effort",
        Acceptance::Cheaply => " cheaply",
        Acceptance::BestEffortCheaply => " best-effort cheaply",
    };
    let note = note(limit.label.as_deref(), limit.because.as_deref());
    format!("limit {} {}{clause}{note}", limit_name(limit.kind), amount(limit.kind, limit.amount))
}

/// The smallest limit of a kind that holds here, as a statement, and where it stands.
pub(crate) fn limit_in_force(policy: &Policy, kind: LimitKind) -> Option<(String, String)> {
    let here = |limit: &&Limit| limit.platform.is_none_or(|only| only == PLATFORM);
    let limits = policy.limits.iter().filter(here).filter(|limit| limit.kind == kind);
    let smallest = limits.min_by_key(|limit| limit.amount)?;
    Some((limit(smallest), place(policy, smallest.written)))
}

/// `policy.fence:12`: where something stands.
#[must_use]
pub fn place(policy: &Policy, written: Written) -> String {
    let name = policy.sources.get(written.source.0 as usize).map_or("?", |source| source.name.as_str());
    format!("{}:{}", visible(name), written.line)
}

struct Printer<'a> {
    policy: &'a Policy,
}

/// A statement with what decides where it is printed.
struct Statement {
    written: Written,
    platform: Option<Platform>,
    text: String,
}

impl Printer<'_> {
    /// All statements, by text and line; those for one platform in a block of it.
    fn statements(&self, text: &mut String) {
        let mut statements: Vec<Statement> = Vec::new();
        let mut add = |written, platform, text| statements.push(Statement { written, platform, text });
        for rule in &self.policy.rules {
            add(rule.written, rule.platform, self.rule(rule));
        }
        for (name, set) in &self.policy.set {
            add(set.written, None, self.set(name, set));
        }
        for secret in &self.policy.secrets {
            add(secret.written, None, self.secret(secret));
        }
        for written in &self.policy.limits {
            add(written.written, written.platform, limit(written));
        }
        for upstream in &self.policy.upstreams {
            add(upstream.written, None, self.upstream(upstream));
        }
        statements.sort_by_key(|statement| (statement.written.source, statement.written.start));
        let mut source = None;
        for statement in &statements {
            if source != Some(statement.written.source) {
                source = Some(statement.written.source);
                let from = self.policy.sources.get(statement.written.source.0 as usize);
                text.push_str(&format!("\n# {}\n", from.map_or("?".into(), |from| visible(&from.name))));
            }
            let place = place(self.policy, statement.written);
            match statement.platform {
                None => text.push_str(&format!("{}  # {place}\n", statement.text)),
                Some(platform) => text.push_str(&format!(
                    "on {} {{\n  {}  # {place}\n}}\n",
                    platform_name(platform),
                    statement.text.replace('\n', "\n  ")
                )),
            }
        }
        match self.policy.tls {
            Some(Tls::Strict) => text.push_str("\ntls strict\n"),
            Some(Tls::Relaxed) => text.push_str("\ntls relaxed\n"),
            None => {}
        }
    }

    fn rule(&self, rule: &Rule) -> String {
        let effect = match rule.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
            Effect::Never => "never",
        };
        let (actions, items, except) = self.subject(&rule.subject);
        let clause = match rule.acceptance {
            Acceptance::Exact => "",
            Acceptance::BestEffort => " best-effort",
            Acceptance::Cheaply => " cheaply",
            Acceptance::BestEffortCheaply => " best-effort cheaply",
        };
        let mut text = format!("{effect} {actions}");
        list(&mut text, &items);
        if !except.is_empty() {
            text.push_str("\n      except");
            list(&mut text, &except);
        }
        let end = format!("{clause}{}", note(rule.label.as_deref(), rule.because.as_deref()));
        if text.lines().last().unwrap_or_default().chars().count() + end.chars().count() > WIDTH {
            text.push_str("\n     ");
        }
        text.push_str(&end);
        text
    }

    fn subject(&self, subject: &Subject) -> (String, Vec<String>, Vec<String>) {
        match subject {
            Subject::Path { actions, items, except } => {
                let actions = actions.iter().map(|action| path_action(*action)).collect::<Vec<_>>().join(" ");
                let paths = |items: &[Item<PathPattern>]| {
                    items.iter().map(|item| word(&self.path(&item.pattern))).collect()
                };
                (actions, paths(items), paths(except))
            }
            Subject::Run { items, except } => ("run".to_owned(), words(items), words(except)),
            Subject::Connect { items, except } => ("connect".to_owned(), words(items), words(except)),
            Subject::Http { items, except } => ("http".to_owned(), words(items), words(except)),
            Subject::Listen { items, except } => ("listen".to_owned(), words(items), words(except)),
            Subject::Name { action, items, except } => {
                (name_action(*action).to_owned(), words(items), words(except))
            }
            Subject::Ssh { items, except } => ("ssh".to_owned(), words(items), words(except)),
            Subject::Tty => ("tty".to_owned(), Vec::new(), Vec::new()),
        }
    }

    /// A path pattern; `$policy_dir` is written out, for the text may be read elsewhere.
    fn path(&self, pattern: &PathPattern) -> String {
        let Some(directory) = self.policy_dir(&pattern.root) else { return pattern.to_string() };
        let mut components: Vec<Component> = directory
            .components()
            .map(|name| Component::Literal(String::from_utf8_lossy(name).into_owned()))
            .collect();
        components.extend(pattern.components.iter().cloned());
        PathPattern { root: Root::Slash, components }.to_string()
    }

    fn policy_dir(&self, root: &Root) -> Option<AbsolutePath> {
        match root {
            Root::Variable(Variable::PolicyDir(id)) => {
                match &self.policy.sources.get(id.0 as usize)?.origin {
                    Origin::File(path) | Origin::User(path) | Origin::Machine(path) => path.parent(),
                    Origin::BuiltIn(_) | Origin::Given(_) => None,
                }
            }
            _ => None,
        }
    }

    fn value(&self, value: &Value) -> String {
        let parts = value.0.iter().map(|part| match part {
            ValuePart::Variable(variable) => match self.policy_dir(&Root::Variable(variable.clone())) {
                Some(directory) => {
                    ValuePart::Text(String::from_utf8_lossy(directory.as_bytes()).into_owned())
                }
                None => part.clone(),
            },
            ValuePart::Text(_) => part.clone(),
        });
        Value(parts.collect()).to_string()
    }

    fn set(&self, name: &str, set: &SetVariable) -> String {
        let note = note(set.label.as_deref(), set.because.as_deref());
        format!("set env {name} = {}{note}", string(&self.value(&set.value)))
    }

    fn secret(&self, secret: &Secret) -> String {
        let holder = match &secret.holder {
            SecretHolder::Env(name) => format!("env {name}"),
            SecretHolder::File(path) => format!("file {}", word(&self.path(path))),
        };
        let mut text = format!("secret {holder} to");
        let hosts: Vec<String> =
            secret.to.iter().map(|item: &Item<ConnectPattern>| word(&item.pattern.to_string())).collect();
        list(&mut text, &hosts);
        text.push_str(&note(secret.label.as_deref(), secret.because.as_deref()));
        text
    }

    fn upstream(&self, upstream: &Upstream) -> String {
        let host =
            if upstream.host.contains(':') { format!("[{}]", upstream.host) } else { upstream.host.clone() };
        let mut text = format!("upstream {}://{host}:{}", upstream.scheme, upstream.port);
        if !upstream.hosts.is_empty() {
            text.push_str(" for");
            list(&mut text, &words(&upstream.hosts));
        }
        text
    }

    fn left_out(&self, left_out: &LeftOut) -> String {
        let (statement, written) = match &left_out.statement {
            LeftOutStatement::Rule(rule) => (self.rule(rule), rule.written),
            LeftOutStatement::Limit(written) => (limit(written), written.written),
            LeftOutStatement::Secret(secret) => (self.secret(secret), secret.written),
            LeftOutStatement::Set { name, set } => (self.set(name, set), set.written),
            LeftOutStatement::Include { policy, written } => (format!("include {}", word(policy)), *written),
        };
        let statement = statement.replace('\n', "\n#   ");
        format!(
            "\n# left out by {} without {} because {}:\n#   {statement}  # {}\n",
            place(self.policy, left_out.written),
            visible(&left_out.label),
            string(&left_out.because),
            place(self.policy, written)
        )
    }
}

/// Adds items to a statement, and goes to a new line after a comma where it grows too wide.
fn list(text: &mut String, items: &[String]) {
    let mut width = text.lines().last().unwrap_or_default().chars().count();
    for (at, item) in items.iter().enumerate() {
        let more = item.chars().count() + 2;
        if at > 0 {
            text.push(',');
        }
        if at > 0 && width + more > WIDTH {
            text.push_str("\n      ");
            width = 6;
        } else {
            text.push(' ');
        }
        text.push_str(item);
        width += more;
    }
}

fn words<P: Display>(items: &[Item<P>]) -> Vec<String> {
    items.iter().map(|item| word(&item.pattern.to_string())).collect()
}

/// An item as a word where it can be one, else as a string.
fn word(item: &str) -> String {
    const CLAUSES: [&str; 10] =
        ["except", "without", "to", "best-effort", "cheaply", "as", "because", "by", "for", "="];
    let plain = !item.is_empty()
        && !item.starts_with('#')
        && !CLAUSES.contains(&item)
        && !item.contains([' ', '\t', '\n', ',', '"', '{', '}', '\\'])
        && visible(item) == item;
    if plain { item.to_owned() } else { string(item) }
}

/// A string of the language.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c => quoted.push_str(&visible(c.encode_utf8(&mut [0; 4]))),
        }
    }
    quoted.push('"');
    quoted
}

fn note(label: Option<&str>, because: Option<&str>) -> String {
    let label = label.map(|label| format!(" as {label}")).unwrap_or_default();
    let because = because.map(|because| format!(" because {}", string(because))).unwrap_or_default();
    format!("{label}{because}")
}

fn amount(kind: LimitKind, amount: u64) -> String {
    let units: &[(u64, &str)] = match kind {
        LimitKind::Time | LimitKind::Cpu | LimitKind::ConnectTime | LimitKind::IdleTime => {
            &[(3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        }
        LimitKind::Memory | LimitKind::FileSize => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")],
        LimitKind::Processes | LimitKind::Files => &[],
    };
    let unit = units.iter().find(|(size, _)| amount > 0 && amount.is_multiple_of(*size));
    unit.map_or_else(|| amount.to_string(), |(size, name)| format!("{}{name}", amount / size))
}

/// The word of a platform.
#[must_use]
pub fn platform_name(platform: Platform) -> &'static str {
    match platform {
        Platform::Linux => "linux",
        Platform::MacOs => "macos",
    }
}

/// The word of an action on paths.
#[must_use]
pub fn path_action(action: PathAction) -> &'static str {
    match action {
        PathAction::Read => "read",
        PathAction::Write => "write",
        PathAction::Exec => "exec",
        PathAction::Socket => "socket",
        PathAction::Device => "device",
    }
}

/// The word of an action on names.
#[must_use]
pub fn name_action(action: NameAction) -> &'static str {
    match action {
        NameAction::Env => "env",
        NameAction::Syscall => "syscall",
        NameAction::MachLookup => "mach-lookup",
        NameAction::MachRegister => "mach-register",
        NameAction::IoKit => "iokit",
    }
}

#[cfg(test)]
mod tests {
    use fence_compiler::policy::{Policy, Rule};
    use fence_compiler::resolve::{Request, resolve};
    use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

    use super::policy;
    use crate::load::built_in;

    struct BuiltIns;

    impl Loader for BuiltIns {
        fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            match reference {
                Reference::Name(name) => built_in(name).ok_or(LoadError::UnknownName { known: Vec::new() }),
                Reference::Path(_) => Err(LoadError::NoDirectory),
            }
        }
    }

    fn resolved(main: Source) -> Policy {
        let request = Request { mains: vec![main], set: Vec::new(), above: Vec::new() };
        let resolved = resolve(&request, &BuiltIns);
        let errors: Vec<_> = resolved
            .diagnostics
            .iter()
            .filter(|found| found.severity == fence_compiler::diagnostic::Severity::Error)
            .map(|found| found.message.clone())
            .collect();
        assert_eq!(errors, Vec::<String>::new());
        resolved.policy
    }

    fn given(text: &str) -> Source {
        Source {
            origin: Origin::User(fence_compiler::bytes::AbsolutePath::new(b"/t/test.fence").unwrap()),
            name: "<test>".into(),
            text: text.into(),
        }
    }

    /// What a policy means, without where it was written.
    fn meaning(policy: &Policy) -> serde_json::Value {
        let nowhere = |value: &mut serde_json::Value| forget(value);
        let rules: Vec<Rule> = policy.rules.clone();
        let mut meaning = serde_json::json!({
            "rules": rules, "set": policy.set, "secrets": policy.secrets, "limits": policy.limits,
            "tls": policy.tls, "upstreams": policy.upstreams, "name": policy.name, "description": policy.description,
        });
        nowhere(&mut meaning);
        meaning
    }

    /// Takes places and the text as written out of a document.
    fn forget(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                map.remove("written");
                if map.contains_key("pattern") {
                    map.remove("text");
                }
                map.values_mut().for_each(forget);
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(forget),
            _ => {}
        }
    }

    fn same(again: &Policy, original: &Policy) {
        let (again, original) = (meaning(again), meaning(original));
        for (key, value) in original.as_object().unwrap() {
            if let (Some(before), Some(after)) = (value.as_array(), again[key].as_array()) {
                for (before, after) in before.iter().zip(after) {
                    assert_eq!(after, before);
                }
            }
            assert_eq!(&again[key], value, "{key}");
        }
    }

    #[test]
    fn every_built_in_policy_comes_back_the_same() {
        for (name, _) in fence_policies::ALL {
            let original = resolved(built_in(name).unwrap());
            let printed = policy(&original);
            same(&resolved(given(&printed)), &original);
        }
    }

    #[test]
    fn every_statement_comes_back_the_same() {
        let original = resolved(given(
            r#"fence 1
policy all "every \"statement\""
let state = ~/.local/state
include system-commands without power because "a test"
allow read write $state/x, "/a b", "/c,d", "/e{f,g}", /[*]/[[]/x, **/y?[a-c], "/\"q\"", "/back\\slash"
  except $state/x/y
allow read /d$$literal/x
deny write $cwd/z*/** best-effort cheaply as zed because "it is \"z\""
never read /n except /n/m
deny run "git push", "dd if=", mkfs.*, "a 'b c' d", "x ..."
  except "git push origin docs"
allow connect example.org:443, [::1]:80, 10.0.0.0/8, *.example.net, localhost:5432
allow http "GET example.org/a/*", "* example.org/b"
allow listen 3000-3999
allow socket $SSH_AUTH_SOCK
allow ssh "git.example.org git-upload-pack"
allow env PATH, LC_*
allow tty
allow syscall ptrace
set env CI = "1 $home/x $$"
secret env TOKEN to example.org:443
limit time 90s
limit memory 4GiB best-effort
limit processes 512
limit files 1000
tls relaxed
upstream http://proxy.example.org:3128 for *.example.com
on macos {
  allow mach-lookup com.apple.x
  limit cpu 2h
}
"#,
        ));
        let printed = policy(&original);
        same(&resolved(given(&printed)), &original);
        assert!(printed.contains("# left out by <test>:4 without power because \"a test\""), "{printed}");
    }
}
