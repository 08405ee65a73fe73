//! Everything else that a policy states: includes, variables, secrets, settings, limits, proxies.

use fence_grammar::tree::{
    Include, Let, Limit, LimitKind, Note, Secret, SecretHolder, Set, Statement, Text, Upstream,
};
use fence_grammar::{Name, Span, Spanned, SyntaxErrorKind, did_you_mean};

use super::node::{Kind, Node};
use super::reader::Reader;
use super::{error, helped, shown};
use crate::resolve::is_path;

impl Reader<'_> {
    /// Reads an included policy: its name or path, or that with what is left out of it.
    pub(super) fn include(&mut self, node: &Node) -> Option<Include> {
        if matches!(node.kind, Kind::Text(..) | Kind::Told) {
            let target = self.target(node)?;
            return Some(Include { target, without: Vec::new(), note: Note::default() });
        }
        let fields = self.fields(node, "an included policy", &["policy", "without", "as", "because"])?;
        let Some(policy) = fields.value("policy") else {
            self.tell(
                SyntaxErrorKind::IncompleteStatement,
                node.span,
                "an included policy needs its name",
                "add `policy: NAME`",
            );
            return None;
        };
        let target = self.target(policy);
        let without = self.labels(fields.value("without"));
        let note = self.note(&fields);
        if let (Some(field), None) = (fields.get("without"), &note.because) {
            self.tell(
                SyntaxErrorKind::MissingReason,
                field.at,
                "`without` needs a reason",
                "add `because: …`: it weakens what is included",
            );
        }
        Some(Include { target: target?, without, note })
    }

    fn target(&mut self, node: &Node) -> Option<Text> {
        let text = self.string(node)?;
        if !is_path(&text.text) {
            self.name(text.clone(), Name::Policy)?;
        }
        Some(text)
    }

    /// Reads the variables.
    pub(super) fn lets(&mut self, node: &Node) -> Vec<Spanned<Statement>> {
        let mut statements = Vec::new();
        for (key, node) in self.entries(node, "`let`") {
            let (place, known) = (key.span.to(node.span), key.text.clone());
            let value = self.string(node);
            match (self.name(key, Name::Variable), value) {
                (Some(name), Some(value)) => {
                    statements.push(Spanned::new(Statement::Let(Let { name, value }), place));
                }
                _ => {
                    self.left_out.variables.insert(known);
                }
            }
        }
        statements
    }

    /// Reads a secret.
    pub(super) fn secret(&mut self, node: &Node) -> Option<Secret> {
        let fields = self.fields(node, "a secret", &["env", "file", "to", "as", "because"])?;
        let holder = match (fields.value("env"), fields.value("file")) {
            (Some(name), None) => self.string(name).map(SecretHolder::Env),
            (None, Some(path)) => self.string(path).map(SecretHolder::File),
            _ => {
                self.tell(
                    SyntaxErrorKind::WrongShape,
                    node.span,
                    "a secret has exactly one of `env` and `file`",
                    "write a secret for each",
                );
                None
            }
        };
        if fields.get("to").is_none() {
            self.tell(
                SyntaxErrorKind::IncompleteStatement,
                node.span,
                "a secret needs `to` and the hosts that may see it",
                "add `to: HOST`",
            );
        }
        let to = self.strings(fields.value("to"), "hosts");
        let note = self.note(&fields);
        Some(Secret { holder: holder?, to, note })
    }

    /// Reads the variables that are set: each its value, that with a note, or several of these.
    pub(super) fn sets(&mut self, node: &Node) -> Vec<Spanned<Statement>> {
        let mut statements = Vec::new();
        for (name, node) in self.entries(node, "`set`") {
            for (place, node) in self.several(name.span, node) {
                let set = self.whole(node, |reader| reader.set(&name, node));
                statements.extend(set.map(|set| Spanned::new(Statement::Set(set), place)));
            }
        }
        statements
    }

    fn set(&mut self, name: &Text, node: &Node) -> Option<Set> {
        if matches!(node.kind, Kind::Text(..) | Kind::Told) {
            return Some(Set { name: name.clone(), value: self.string(node)?, note: Note::default() });
        }
        let fields = self.fields(node, "a variable that is set", &["value", "as", "because"])?;
        let value = self.required(fields.value("value"), node);
        let note = self.note(&fields);
        Some(Set { name: name.clone(), value: value?, note })
    }

    /// Reads the limits: each its value, that with what goes with it, or several of these.
    pub(super) fn limits(&mut self, node: &Node) -> Vec<Spanned<Statement>> {
        let mut statements = Vec::new();
        for (key, node) in self.entries(node, "`limits`") {
            let Some(kind) = LimitKind::from_word(&key.text) else {
                self.unknown_limit(&key);
                continue;
            };
            let kind = Spanned::new(kind, key.span);
            for (place, node) in self.several(key.span, node) {
                let limit = self.whole(node, |reader| reader.limit(&kind, node));
                statements.extend(limit.map(|limit| Spanned::new(Statement::Limit(limit), place)));
            }
        }
        statements
    }

    fn unknown_limit(&mut self, key: &Text) {
        let words: Vec<&str> = LimitKind::ALL.iter().map(|kind| kind.word()).collect();
        let message = format!("`{}` is no kind of limit", shown(&key.text));
        let told = match did_you_mean(&key.text, words.iter().copied()) {
            Some(near) => {
                let kind = SyntaxErrorKind::UnknownWord;
                let mut told = error(kind, key.span, format!("{message}; did you mean `{near}`?"));
                told.repair = Some((key.span, near.to_owned()));
                told
            }
            None => {
                let help = format!("write one of `{}`", words.join("`, `"));
                helped(SyntaxErrorKind::UnknownWord, key.span, message, help)
            }
        };
        self.errors.push(told);
    }

    fn limit(&mut self, kind: &Spanned<LimitKind>, node: &Node) -> Option<Limit> {
        if matches!(node.kind, Kind::Text(..) | Kind::Told) {
            let value = self.string(node)?;
            return Some(Limit { kind: kind.clone(), value, best_effort: None, note: Note::default() });
        }
        let fields = self.fields(node, "a limit", &["value", "accept", "as", "because"])?;
        let value = self.required(fields.value("value"), node);
        let accepted = self.accepted(fields.value("accept"));
        if let Some(place) = accepted.cheaply {
            self.tell(
                SyntaxErrorKind::MisplacedClause,
                place,
                "a limit has no `cheaply`",
                "leave it out; a limit may be `best-effort`",
            );
        }
        let note = self.note(&fields);
        Some(Limit { kind: kind.clone(), value: value?, best_effort: accepted.best_effort, note })
    }

    /// Reads a proxy that fence itself dials through.
    pub(super) fn upstream(&mut self, node: &Node) -> Option<Upstream> {
        let fields = self.fields(node, "a proxy", &["url", "for"])?;
        if fields.get("url").is_none() {
            self.tell(
                SyntaxErrorKind::IncompleteStatement,
                node.span,
                "a proxy needs its `url`",
                "add `url: http://HOST:PORT`",
            );
        }
        let url = fields.value("url").and_then(|node| self.string(node));
        let hosts = self.strings(fields.value("for"), "names");
        Some(Upstream { url: url?, hosts })
    }

    fn required(&mut self, value: Option<&Node>, whole: &Node) -> Option<Text> {
        match value {
            Some(value) => self.string(value),
            None => {
                self.tell(
                    SyntaxErrorKind::IncompleteStatement,
                    whole.span,
                    "the `value` is missing",
                    "add `value: …`",
                );
                None
            }
        }
    }

    /// The values of one key, each with the place of its statement.
    fn several<'n>(&mut self, key: Span, node: &'n Node) -> Vec<(Span, &'n Node)> {
        match &node.kind {
            Kind::List(_) => self.one_or_many(node, "values").iter().map(|node| (node.span, node)).collect(),
            _ => vec![(key.to(node.span), node)],
        }
    }
}
