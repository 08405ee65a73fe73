//! A whole policy: its keys, and the statements that each holds.

use fence_grammar::tree::{File, Header, PlatformBlock, PlatformName, Statement, TlsMode};
use fence_grammar::{Name, Span, Spanned, SyntaxErrorKind};

use super::node::{Kind, Node, Style};
use super::reader::{Fields, Reader};
use super::shown;

/// The version of the language that can be read.
const VERSION: &str = "1";

impl Reader<'_> {
    /// Reads a policy.
    pub(super) fn file(&mut self, root: &Node) -> File {
        let mut statements = Vec::new();
        let Some(fields) = self.fields(
            root,
            "a policy",
            &[
                "fence",
                "policy",
                "description",
                "include",
                "let",
                "rules",
                "secrets",
                "set",
                "limits",
                "tls",
                "upstreams",
                "on",
                "tests",
            ],
        ) else {
            self.left_out.unlisted = Some(root.span);
            return File::default();
        };
        if let Some(field) = fields.get("fence")
            && let Some(version) = self.version(field.value)
        {
            statements.push(Spanned::new(Statement::Version(version), field.at.to(field.value.span)));
        }
        for field in &fields.list {
            let whole = field.at.to(field.value.span);
            match field.key {
                "policy" => statements.extend(self.header(&fields)),
                "description" if fields.get("policy").is_none() => self.tell(
                    SyntaxErrorKind::IncompleteStatement,
                    field.at,
                    "a `description` needs a `policy` beside it, the name",
                    "add `policy: NAME`",
                ),
                "include" => {
                    for node in self.list(field.value, "policies") {
                        let include = self.whole(node, |reader| reader.include(node));
                        if include.is_none() {
                            self.left_out.unlisted.get_or_insert(node.span);
                        }
                        statements
                            .extend(include.map(|one| Spanned::new(Statement::Include(one), node.span)));
                    }
                }
                "let" => statements.extend(self.lets(field.value)),
                "rules" => statements.extend(self.rules(field.value)),
                "secrets" => {
                    for node in self.list(field.value, "secrets") {
                        let secret = self.whole(node, |reader| reader.secret(node));
                        statements.extend(secret.map(|one| Spanned::new(Statement::Secret(one), node.span)));
                    }
                }
                "set" => statements.extend(self.sets(field.value)),
                "limits" => statements.extend(self.limits(field.value)),
                "tls" => {
                    let what = (SyntaxErrorKind::UnknownWord, "mode of `tls`");
                    let mode = self.known(field.value, what, TlsMode::ALL, TlsMode::word);
                    statements.extend(mode.map(|mode| Spanned::new(Statement::Tls(mode), whole)));
                }
                "upstreams" => {
                    for node in self.list(field.value, "proxies") {
                        let upstream = self.whole(node, |reader| reader.upstream(node));
                        statements
                            .extend(upstream.map(|one| Spanned::new(Statement::Upstream(one), node.span)));
                    }
                }
                "on" => statements.extend(self.platforms(field.value)),
                "tests" => {
                    for node in self.list(field.value, "tests") {
                        statements
                            .extend(self.test(node).map(|one| Spanned::new(Statement::Test(one), node.span)));
                    }
                }
                _ => {}
            }
        }
        File { statements }
    }

    fn version(&mut self, node: &Node) -> Option<Spanned<u32>> {
        let (text, style) = match &node.kind {
            Kind::Text(text, style) => (text, *style),
            _ => {
                self.shape(node, "the number of the language's version", "write `fence: 1`");
                return None;
            }
        };
        let number = text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let (message, help) = match (number, style) {
            (Some(number), Style::Plain) if text == VERSION => return Some(Spanned::new(number, node.span)),
            (Some(_), Style::Quoted) if text == VERSION => {
                ("the version is a number, without quotes".to_owned(), "write `fence: 1`")
            }
            (Some(number), _) if number > 1 => (
                format!(
                    "version {number} of the language is not known; this release knows version {VERSION}"
                ),
                "a newer release of fence may read this policy",
            ),
            _ => (
                format!(
                    "`{}` is no version of the language; this release knows version {VERSION}",
                    shown(text)
                ),
                "write `fence: 1`",
            ),
        };
        self.tell(SyntaxErrorKind::UnknownVersion, node.span, message, help);
        None
    }

    fn header(&mut self, fields: &Fields<'_>) -> Option<Spanned<Statement>> {
        let policy = fields.get("policy")?;
        let before = self.errors.len();
        let name = self.string(policy.value).and_then(|text| self.name(text, Name::Policy));
        let description = fields.get("description");
        let text = description.and_then(|field| self.string(field.value));
        let whole = policy.at.to(policy.value.span);
        // The place of a description that stands right behind belongs to it.
        let whole = match (&text, description) {
            (Some(text), Some(field)) if field.at.start >= whole.end && self.next_to(whole, field.at) => {
                whole.to(text.span)
            }
            _ => whole,
        };
        (self.errors.len() == before).then_some(())?;
        Some(Spanned::new(Statement::Policy(Header { name: name?, description: text }), whole))
    }

    /// Whether nothing but blanks and line ends stands between two places.
    fn next_to(&self, first: Span, second: Span) -> bool {
        let between = self.text.get(first.end as usize..second.start as usize);
        between.is_some_and(|between| between.chars().all(|c| c.is_whitespace() || c == ','))
    }

    fn rules(&mut self, node: &Node) -> Vec<Spanned<Statement>> {
        let mut statements = Vec::new();
        for node in self.list(node, "rules") {
            let rule = self.whole(node, |reader| reader.rule(node));
            statements.extend(rule.map(|rule| Spanned::new(Statement::Rule(rule), node.span)));
        }
        statements
    }

    fn platforms(&mut self, node: &Node) -> Vec<Spanned<Statement>> {
        let mut blocks = Vec::new();
        let Some(fields) = self.fields(node, "`on`", &["linux", "macos"]) else { return blocks };
        for field in &fields.list {
            let Some(platform) = PlatformName::from_word(field.key) else { continue };
            let Some(inner) = self.fields(field.value, "a platform", &["rules", "limits"]) else { continue };
            let mut statements = Vec::new();
            for part in &inner.list {
                match part.key {
                    "rules" => statements.extend(self.rules(part.value)),
                    _ => statements.extend(self.limits(part.value)),
                }
            }
            let block = PlatformBlock { platform: Spanned::new(platform, field.at), statements };
            blocks.push(Spanned::new(Statement::Platform(block), field.at.to(field.value.span)));
        }
        blocks
    }
}
