//! The statements of one line, but for rules.

use pest::iterators::Pair;

use super::clause::Clauses;
use super::kind::{Block, Kind};
use super::list::Items;
use super::parts::{Parts, extent, is_item, span};
use super::{Lowering, behind, shown};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::escape::quote;
use crate::name::Name;
use crate::syntax::Rule;
use crate::tree::{
    Header, Include, Let, Limit, LimitKind, Quoting, Secret, SecretHolder, Set, Statement, Text, TlsMode,
    Upstream,
};
use crate::{Span, Spanned};

/// The version of the language that this crate knows.
const VERSION: u32 = 1;

impl Lowering<'_> {
    /// Lowers a statement of one line.
    pub(super) fn line_statement(
        &mut self,
        pair: Pair<'_, Rule>,
        block: Block,
    ) -> Option<Spanned<Statement>> {
        match pair.as_rule() {
            Rule::policy_rule => self.whole(pair, |this, parts| this.rule(parts).map(Statement::Rule)),
            Rule::limit => self.whole(pair, |this, parts| this.limit(parts).map(Statement::Limit)),
            Rule::include => self.whole(pair, |this, parts| this.include(parts).map(Statement::Include)),
            Rule::let_ => self.whole(pair, |this, parts| this.let_(parts).map(Statement::Let)),
            Rule::secret => self.whole(pair, |this, parts| this.secret(parts).map(Statement::Secret)),
            Rule::set => self.whole(pair, |this, parts| this.set(parts).map(Statement::Set)),
            Rule::version => self.whole(pair, |this, parts| this.version(parts).map(Statement::Version)),
            Rule::policy => self.whole(pair, |this, parts| this.policy(parts).map(Statement::Policy)),
            Rule::tls => self.whole(pair, |this, parts| this.tls(parts).map(Statement::Tls)),
            Rule::upstream => self.whole(pair, |this, parts| this.upstream(parts).map(Statement::Upstream)),
            Rule::stray_clause => {
                self.stray_clause(&pair);
                None
            }
            _ => {
                self.unknown(pair, block);
                None
            }
        }
    }

    fn version(&mut self, mut parts: Parts<'_>) -> Option<Spanned<u32>> {
        parts.take(Rule::k_fence)?;
        let item =
            self.required_item(&mut parts, SyntaxErrorKind::IncompleteStatement, "the number of a version")?;
        let text = self.text(&item)?;
        self.clauses(&mut parts, Kind::Version, Items::Words);
        let number = text.text.parse::<u32>().ok().filter(|_| text.text.bytes().all(|b| b.is_ascii_digit()));
        let (message, help) = match number {
            Some(VERSION) if text.quoting == Quoting::Bare => return Some(Spanned::new(VERSION, text.span)),
            Some(number) if number > VERSION => (
                format!(
                    "version {number} of the language is not known; this release knows version {VERSION}"
                ),
                "a newer release of fence may read this policy",
            ),
            _ => (
                format!(
                    "`{}` is no version of the language; this release knows version {VERSION}",
                    shown(&text.text)
                ),
                "write `fence 1`",
            ),
        };
        self.errors.push(SyntaxError::new(SyntaxErrorKind::UnknownVersion, text.span, message).help(help));
        None
    }

    fn policy(&mut self, mut parts: Parts<'_>) -> Option<Header> {
        parts.take(Rule::k_policy)?;
        let item = self.required_item(&mut parts, SyntaxErrorKind::IncompleteStatement, "a name");
        let name = item.and_then(|item| self.name(&item, Name::Policy));
        let description = parts.take(Rule::string).and_then(|string| self.text(&string));
        self.clauses(&mut parts, Kind::Policy, Items::Words);
        Some(Header { name: name?, description })
    }

    fn include(&mut self, mut parts: Parts<'_>) -> Option<Include> {
        parts.take(Rule::k_include)?;
        let item = self.required_item(
            &mut parts,
            SyntaxErrorKind::IncompleteStatement,
            "the name of a policy, or a path in quotes,",
        );
        let target = item.and_then(|item| self.include_target(&item));
        let clauses = self.clauses(&mut parts, Kind::Include, Items::Words);
        self.reason_for_without(&clauses);
        let Clauses { without, note, .. } = clauses;
        Some(Include { target: target?, without, note })
    }

    fn include_target(&mut self, item: &Pair<'_, Rule>) -> Option<Text> {
        let text = self.text(item)?;
        if text.quoting == Quoting::Quoted {
            return Some(text);
        }
        if text.text.contains(['/', '.', '~', '$']) {
            self.errors.push(
                SyntaxError::new(
                    SyntaxErrorKind::MissingQuotes,
                    text.span,
                    format!(
                        "the path `{}` needs quotes; a bare word is the name of a policy",
                        shown(&text.text)
                    ),
                )
                .repair(text.span, quote(&text.text)),
            );
            return None;
        }
        self.name(item, Name::Policy)?;
        Some(text)
    }

    fn let_(&mut self, mut parts: Parts<'_>) -> Option<Let> {
        parts.take(Rule::k_let)?;
        let Some(left) = parts.take(Rule::left_side) else {
            self.missing(SyntaxErrorKind::IncompleteStatement, parts.last(), "a name, `=` and a value");
            self.rest(&mut parts);
            return None;
        };
        let name = self.name(&left, Name::Variable);
        let value = self.value(&mut parts, Kind::Let)?;
        Some(Let { name: name?, value })
    }

    /// Reads `= VALUE` to the end of a statement that has no clauses.
    pub(super) fn value(&mut self, parts: &mut Parts<'_>, kind: Kind) -> Option<Text> {
        let item = self.right_side(parts)?;
        let text = self.text(&item);
        self.clauses(parts, kind, Items::Words);
        text
    }

    /// Takes `=` and what stands behind it; where one is missing, the rest is not judged.
    pub(super) fn right_side<'i>(&mut self, parts: &mut Parts<'i>) -> Option<Pair<'i, Rule>> {
        if parts.take(Rule::equals).is_none() {
            let before = parts.last();
            let error = SyntaxError::new(
                SyntaxErrorKind::IncompleteStatement,
                behind(before),
                format!("`=` must follow `{}`", self.shown(before)),
            );
            let has_value = parts.next_is().is_some_and(|next| is_item(next) || next == Rule::list);
            self.errors.push(if has_value { error.repair(behind(before), " =") } else { error });
            self.rest(parts);
            return None;
        }
        self.required_item(parts, SyntaxErrorKind::IncompleteStatement, "a value")
    }

    fn secret(&mut self, mut parts: Parts<'_>) -> Option<Secret> {
        let keyword = span(&parts.take(Rule::k_secret)?);
        let holder = parts.take_if(|rule| matches!(rule, Rule::k_env | Rule::k_file));
        let Some(holder) = holder else {
            self.no_holder(&mut parts, keyword, &["env", "file"]);
            return None;
        };
        let what = if holder.as_rule() == Rule::k_env { "the name of a variable" } else { "a path" };
        let item = self.required_item(&mut parts, SyntaxErrorKind::MissingItem, what);
        let text = item.and_then(|item| self.text(&item));
        let behind_item = parts.last();
        let clauses = self.clauses(&mut parts, Kind::Secret, Items::Words);
        if clauses.place(Rule::to).is_none() {
            self.errors.push(
                SyntaxError::new(
                    SyntaxErrorKind::IncompleteStatement,
                    behind(behind_item),
                    "a `secret` needs `to` and the hosts that may see it",
                )
                .help("write `secret env NAME to HOST, …`"),
            );
        }
        let text = text?;
        let holder = match holder.as_rule() {
            Rule::k_env => SecretHolder::Env(text),
            _ => SecretHolder::File(text),
        };
        Some(Secret { holder, to: clauses.to, note: clauses.note })
    }

    fn set(&mut self, mut parts: Parts<'_>) -> Option<Set> {
        let keyword = span(&parts.take(Rule::k_set)?);
        if parts.take(Rule::k_env).is_none() {
            self.no_holder(&mut parts, keyword, &["env"]);
            return None;
        }
        let Some(left) = parts.take_if(|rule| matches!(rule, Rule::left_side | Rule::string)) else {
            self.missing(SyntaxErrorKind::IncompleteStatement, parts.last(), "a name, `=` and a value");
            self.rest(&mut parts);
            return None;
        };
        let name = self.text(&left);
        let value = self.right_side(&mut parts)?;
        let value = self.text(&value);
        let clauses = self.clauses(&mut parts, Kind::Set, Items::Words);
        Some(Set { name: name?, value: value?, note: clauses.note })
    }

    /// Tells that the word is missing or misspelt that says what a `secret` or `set` is about.
    fn no_holder(&mut self, parts: &mut Parts<'_>, keyword: Span, words: &[&str]) {
        let first = parts.any();
        let second = parts.next_is();
        let rest = self.rest(parts);
        let expected = words.join("` or `");
        let Some(first) =
            first.filter(|pair| !matches!(pair.as_rule(), Rule::to | Rule::label | Rule::because))
        else {
            self.missing(SyntaxErrorKind::IncompleteStatement, keyword, &format!("`{expected}`"));
            return;
        };
        let place = span(&first);
        let is_name = matches!(second, None | Some(Rule::equals | Rule::to | Rule::label | Rule::because));
        if rest.is_some() && !is_name {
            let text = Text { text: self.source(place).to_owned(), quoting: Quoting::Bare, span: place };
            let statement = self.shown(keyword);
            self.unknown_word(
                SyntaxErrorKind::UnknownWord,
                &text,
                &format!("a kind of `{statement}`"),
                words,
            );
            return;
        }
        let error = SyntaxError::new(
            SyntaxErrorKind::IncompleteStatement,
            behind(keyword),
            format!("`{expected}` must stand between `{}` and `{}`", self.shown(keyword), self.shown(place)),
        );
        let is_path = self.source(place).starts_with(['/', '~', '$']);
        let repair = match words {
            [_, file] if is_path => format!(" {file}"),
            [env, ..] => format!(" {env}"),
            [] => String::new(),
        };
        self.errors.push(error.repair(behind(keyword), repair));
    }

    fn limit(&mut self, mut parts: Parts<'_>) -> Option<Limit> {
        parts.take(Rule::k_limit)?;
        let kind = self.required_item(&mut parts, SyntaxErrorKind::IncompleteStatement, "a kind of limit");
        let Some(kind) = kind else {
            self.rest(&mut parts);
            return None;
        };
        let kind = self.known(&kind, "a kind of limit", LimitKind::ALL, LimitKind::word);
        let value = self.required_item(&mut parts, SyntaxErrorKind::IncompleteStatement, "a value");
        let value = value.and_then(|value| self.text(&value));
        let clauses = self.clauses(&mut parts, Kind::Limit, Items::Words);
        Some(Limit { kind: kind?, value: value?, best_effort: clauses.best_effort, note: clauses.note })
    }

    fn tls(&mut self, mut parts: Parts<'_>) -> Option<Spanned<TlsMode>> {
        parts.take(Rule::k_tls)?;
        let mode =
            self.required_item(&mut parts, SyntaxErrorKind::IncompleteStatement, "`strict` or `relaxed`");
        let mode = mode.and_then(|mode| self.known(&mode, "a mode of `tls`", TlsMode::ALL, TlsMode::word));
        self.clauses(&mut parts, Kind::Tls, Items::Words);
        mode
    }

    fn upstream(&mut self, mut parts: Parts<'_>) -> Option<Upstream> {
        parts.take(Rule::k_upstream)?;
        let url = self.required_item(&mut parts, SyntaxErrorKind::IncompleteStatement, "the URL of a proxy");
        let url = url.and_then(|url| self.text(&url));
        let hosts = match parts.take(Rule::for_) {
            Some(pair) => {
                let mut inner = Parts::of(pair);
                let keyword = inner.take(Rule::k_for).map_or_else(|| parts.last(), |pair| extent(&pair));
                self.items(inner.take(Rule::list), keyword, "a host", Items::Words)
            }
            None => Vec::new(),
        };
        self.clauses(&mut parts, Kind::Upstream, Items::Words);
        Some(Upstream { url: url?, hosts })
    }
}
