//! Variables set for the command, secrets, limits, TLS and proxies.

use serde::{Deserialize, Serialize};

use super::findings::{Findings, place, written};
use super::graph::Graph;
use super::rule::State;
use super::scope::{Lets, Use};
use super::{limit, upstream};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{self, LimitKind as Kind, Spanned, TlsMode};
use crate::pattern::{ConnectPattern, HostPattern, PathPattern, PortRange, Value};
use crate::policy::{Acceptance, Item, Limit, LimitKind, Secret, SecretHolder, SetVariable, Tls, Upstream};
use crate::question::Platform;

/// The port a secret's value goes to where none is written.
const HTTPS: PortRange = PortRange { low: 443, high: 443 };

/// Everything of all texts that is neither rule nor test, each with its unit.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) sets: Vec<(usize, String, SetVariable)>,
    pub(super) secrets: Vec<(usize, Secret)>,
    pub(super) limits: Vec<(usize, Limit)>,
    pub(super) tls: Vec<(usize, Tls)>,
    pub(super) upstreams: Vec<(usize, Upstream)>,
}

impl Settings {
    /// Keeps those of one unit alone.
    pub(super) fn keep(&mut self, unit: usize) {
        self.sets.retain(|(of, ..)| *of == unit);
        self.secrets.retain(|(of, _)| *of == unit);
        self.limits.retain(|(of, _)| *of == unit);
        self.tls.retain(|(of, _)| *of == unit);
        self.upstreams.retain(|(of, _)| *of == unit);
    }

    /// Adds all of others, as those of a unit.
    pub(super) fn extend(&mut self, others: Settings, unit: usize) {
        self.sets.extend(others.sets.into_iter().map(|(_, name, set)| (unit, name, set)));
        self.secrets.extend(others.secrets.into_iter().map(|(_, secret)| (unit, secret)));
        self.limits.extend(others.limits.into_iter().map(|(_, limit)| (unit, limit)));
        self.tls.extend(others.tls.into_iter().map(|(_, tls)| (unit, tls)));
        self.upstreams.extend(others.upstreams.into_iter().map(|(_, upstream)| (unit, upstream)));
    }
}

/// Reads all settings of all texts.
pub(super) fn draft(graph: &Graph, lets: &Lets, findings: &mut Findings) -> Settings {
    let mut settings = Settings::default();
    for (number, unit) in graph.units.iter().enumerate() {
        let document = &unit.document;
        let mut reader = Reader { graph, lets, unit: number, findings: &mut *findings };
        for set in &document.set.0 {
            settings.sets.extend(reader.set(set).map(|(name, set)| (number, name, set)));
        }
        for secret in &document.secrets {
            settings.secrets.extend(reader.secret(secret).map(|secret| (number, secret)));
        }
        for (platform, limits) in [
            (None, &document.limits),
            (Some(Platform::Linux), &document.on.linux.limits),
            (Some(Platform::MacOs), &document.on.macos.limits),
        ] {
            for one in &limits.0 {
                settings.limits.extend(reader.limit(one, platform).map(|limit| (number, limit)));
            }
        }
        for one in &document.upstreams {
            settings.upstreams.extend(reader.upstream(one).map(|upstream| (number, upstream)));
        }
        settings.tls.extend(document.tls.as_ref().map(|mode| {
            let mode = match mode.node {
                TlsMode::Strict => Tls::Strict,
                TlsMode::Relaxed => Tls::Relaxed,
            };
            (number, mode)
        }));
    }
    settings
}

struct Reader<'a> {
    graph: &'a Graph,
    lets: &'a Lets,
    unit: usize,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn set(&mut self, set: &document::Set) -> Option<(String, SetVariable)> {
        let name = self.variable(&set.name)?;
        if is_reserved(&name) {
            let found = Diagnostic::new(Code::SetReserved, format!("`{name}` is set by fence itself")).help(
                "leave it out: what fence puts in leads to its own proxy, directories and certificates",
            );
            self.tell(&set.name, found);
            return None;
        }
        let value =
            self.lets.read(self.graph, self.unit, &set.value, Use::Plain, self.findings, Value::parse)?;
        let variable = SetVariable {
            value,
            label: text(&set.note.label),
            because: text(&set.note.because),
            written: self.written(set.span)?,
        };
        Some((name, variable))
    }

    fn secret(&mut self, secret: &document::Secret) -> Option<Secret> {
        let holder = match &secret.holder {
            document::SecretHolder::Env(name) => self.variable(name).map(SecretHolder::Env),
            document::SecretHolder::File(path) => self.secret_file(path).map(SecretHolder::File),
        };
        let mut to = Vec::new();
        let mut state = State::Complete;
        for host in &secret.to {
            match self.target(host) {
                Some(item) => to.push(item),
                None => state = State::Partial,
            }
        }
        let (holder, State::Complete) = (holder?, state) else { return None };
        let (label, because) = (text(&secret.note.label), text(&secret.note.because));
        Some(Secret { holder, to, label, because, written: self.written(secret.span)? })
    }

    fn secret_file(&mut self, path: &Spanned<String>) -> Option<PathPattern> {
        let read = |text: &str, scope: &dyn crate::pattern::Scope| PathPattern::parse(text, scope);
        let patterns = self.lets.read(self.graph, self.unit, path, Use::Plain, self.findings, read)?;
        match patterns.as_slice() {
            [one] if one.is_literal() => Some(one.clone()),
            _ => {
                let found = Diagnostic::new(
                    Code::BadSecretFile,
                    format!("a secret is one file, and `{}` is a pattern", path.node),
                )
                .help("write a `secret file` for each file");
                self.tell(path, found);
                None
            }
        }
    }

    fn target(&mut self, host: &Spanned<String>) -> Option<Item<ConnectPattern>> {
        let mut pattern =
            self.lets.read(self.graph, self.unit, host, Use::Plain, self.findings, ConnectPattern::parse)?;
        let every = match &pattern.host {
            HostPattern::Any => true,
            HostPattern::Block(block) => block.prefix_len() == 0,
            _ => false,
        };
        if every {
            let found = Diagnostic::new(
                Code::BadSecretTarget,
                "a secret goes to hosts that are named, not to every host",
            )
            .help("name the hosts that need the value: `to api.example.com`");
            self.tell(host, found);
            return None;
        }
        pattern.ports.get_or_insert(HTTPS);
        Some(Item { text: host.node.clone(), written: self.written(host.span)?, pattern })
    }

    /// The name of one environment variable.
    fn variable(&mut self, name: &Spanned<String>) -> Option<String> {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let fits =
            name.node.starts_with(first) && name.node.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if fits {
            return Some(name.node.clone());
        }
        let found = Diagnostic::new(
            Code::BadVariableName,
            format!("`{}` is no name of an environment variable", name.node),
        )
        .help("a name holds letters, digits and `_`, and begins with no digit");
        self.tell(name, found);
        None
    }

    fn limit(&mut self, one: &document::Limit, platform: Option<Platform>) -> Option<Limit> {
        let kind = one.kind.node;
        let amount =
            self.lets.read(self.graph, self.unit, &one.value, Use::Plain, self.findings, |text, scope| {
                if !text.contains('$') {
                    return limit::amount(kind, text);
                }
                let value = Value::parse(text, scope)?;
                match value.plain() {
                    Some(plain) => limit::amount(kind, plain).map_err(|error| error.about_all(text)),
                    None => limit::amount(kind, text),
                }
            });
        let mut acceptance = Acceptance::Exact;
        for clause in &one.accept {
            match clause.node {
                document::Clause::BestEffort => acceptance = Acceptance::BestEffort,
                document::Clause::Cheaply => {
                    let found = Diagnostic::new(Code::NothingCheaper, "`cheaply` changes nothing on a limit")
                        .help("leave it out; a limit may be `best-effort`");
                    self.tell(clause, found);
                }
            }
        }
        Some(Limit {
            kind: limit_kind(kind),
            amount: amount?,
            acceptance,
            platform,
            label: text(&one.note.label),
            because: text(&one.note.because),
            written: self.written(one.span)?,
        })
    }

    fn upstream(&mut self, one: &document::Upstream) -> Option<Upstream> {
        let address =
            self.lets.read(self.graph, self.unit, &one.url, Use::Plain, self.findings, |text, scope| {
                if !text.contains('$') {
                    return upstream::address(text);
                }
                let value = Value::parse(text, scope)?;
                upstream::address(value.plain().unwrap_or(text)).map_err(|error| error.about_all(text))
            });
        let mut hosts = Vec::new();
        for host in &one.hosts.0 {
            let pattern =
                self.lets.read(self.graph, self.unit, host, Use::Plain, self.findings, HostPattern::parse);
            if let (Some(pattern), Some(written)) = (pattern, self.written(host.span)) {
                hosts.push(Item { text: host.node.clone(), written, pattern });
            }
        }
        let address = address?;
        let written = self.written(one.span)?;
        Some(Upstream { scheme: address.scheme, host: address.host, port: address.port, hosts, written })
    }

    fn written(&self, span: fence_grammar::Span) -> Option<crate::policy::Written> {
        Some(written(&self.graph.sources, self.graph.units.get(self.unit)?.source, span))
    }

    fn tell<T>(&mut self, at: &Spanned<T>, found: Diagnostic) {
        let Some(unit) = self.graph.units.get(self.unit) else { return };
        self.findings.push(found.at(place(unit.source, at.span)));
    }
}

/// Whether fence sets this variable itself: its proxies, its private directory, its certificates, its own marks.
fn is_reserved(name: &str) -> bool {
    const UPPER: [&str; 18] = [
        "ALL_PROXY",
        "AWS_CA_BUNDLE",
        "CARGO_HTTP_CAINFO",
        "CURL_CA_BUNDLE",
        "DENO_CERT",
        "FENCE",
        "FENCE_POLICY",
        "FTP_PROXY",
        "GIT_SSL_CAINFO",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NODE_EXTRA_CA_CERTS",
        "NO_PROXY",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
    ];
    UPPER.contains(&name) || (name.ends_with("_proxy") && UPPER.contains(&name.to_ascii_uppercase().as_str()))
}

fn limit_kind(kind: Kind) -> LimitKind {
    match kind {
        Kind::Time => LimitKind::Time,
        Kind::Cpu => LimitKind::Cpu,
        Kind::Memory => LimitKind::Memory,
        Kind::Processes => LimitKind::Processes,
        Kind::Files => LimitKind::Files,
        Kind::FileSize => LimitKind::FileSize,
        Kind::ConnectTime => LimitKind::ConnectTime,
        Kind::IdleTime => LimitKind::IdleTime,
    }
}

fn text(text: &Option<Spanned<String>>) -> Option<String> {
    text.as_ref().map(|text| text.node.clone())
}
