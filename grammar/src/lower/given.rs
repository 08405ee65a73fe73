//! The lines of a test that make its world.

use super::Lowering;
use super::kind::Kind;
use super::list::Items;
use super::parts::{Parts, span};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::syntax::Rule;
use crate::tree::{Given, PlatformName};
use crate::{Span, Spanned, did_you_mean};

impl Lowering<'_> {
    /// Reads one line of a test's world.
    pub(super) fn given(&mut self, mut parts: Parts<'_>) -> Option<Given> {
        parts.take(Rule::k_given)?;
        let keyword = parts.last();
        let inner = parts.any()?;
        let rule = inner.as_rule();
        let mut inner = Parts::of(inner);
        let given = match rule {
            Rule::given_link => self.given_link(&mut inner),
            Rule::given_host => self.given_host(&mut inner),
            Rule::given_platform => self.given_platform(&mut inner),
            _ => self.given_variable(&mut inner, keyword),
        };
        // What could not be read has its error; text behind it would be told as a second one.
        let given = given?;
        self.clauses(&mut parts, Kind::Given, Items::Words);
        Some(given)
    }

    fn given_link(&mut self, parts: &mut Parts<'_>) -> Option<Given> {
        parts.take(Rule::k_link)?;
        let from = self.required_item(parts, SyntaxErrorKind::IncompleteStatement, "the path of the link")?;
        let place = span(&from);
        if parts.take(Rule::arrow).is_none() {
            self.no_arrow(place);
            return None;
        }
        let to = self.required_item(parts, SyntaxErrorKind::IncompleteStatement, "the target of the link")?;
        let (from, to) = (self.text(&from), self.text(&to));
        Some(Given::Link { from: from?, to: to? })
    }

    fn no_arrow(&mut self, from: Span) {
        let glued =
            self.source(from).split_once("->").filter(|(from, to)| !from.is_empty() && !to.is_empty());
        let kind = SyntaxErrorKind::IncompleteStatement;
        let error = match glued {
            Some((link, target)) => SyntaxError::new(kind, from, "blanks stand around `->`")
                .repair(from, format!("{link} -> {target}")),
            None => SyntaxError::new(
                kind,
                super::behind(from),
                format!("`->` must follow `{}`", self.shown(from)),
            ),
        };
        self.errors.push(error.help("write `given link PATH -> TARGET`"));
    }

    fn given_host(&mut self, parts: &mut Parts<'_>) -> Option<Given> {
        parts.take(Rule::k_host)?;
        let Some(name) = parts.take(Rule::left_side) else {
            self.missing(SyntaxErrorKind::IncompleteStatement, parts.last(), "a name, `=` and its addresses");
            return None;
        };
        if parts.take(Rule::equals).is_none() {
            self.right_side(parts);
            return None;
        }
        let equals = parts.last();
        let name = self.text(&name);
        let addresses = self.items(parts.take(Rule::list), equals, "an address", Items::Words);
        Some(Given::Host { name: name?, addresses })
    }

    fn given_platform(&mut self, parts: &mut Parts<'_>) -> Option<Given> {
        parts.take(Rule::k_platform)?;
        let item = self.right_side(parts)?;
        self.known(&item, "a platform", PlatformName::ALL, PlatformName::word).map(Given::Platform)
    }

    fn given_variable(&mut self, parts: &mut Parts<'_>, keyword: Span) -> Option<Given> {
        let Some(left) = parts.take(Rule::left_side) else {
            let what = "`$NAME = VALUE`, `link`, `host` or `platform`";
            self.missing(SyntaxErrorKind::IncompleteStatement, keyword, what);
            return None;
        };
        let place = span(&left);
        let written = self.source(place);
        if parts.next_is() != Some(Rule::equals) && !written.starts_with('$') {
            let text = self.text(&left)?;
            let words = ["link", "host", "platform"];
            match did_you_mean(written, words) {
                Some(_) => {
                    self.unknown_word(SyntaxErrorKind::UnknownWord, &text, "a part of a world", &words)
                }
                None => self.no_given(place),
            }
            return None;
        }
        let name = self.given_name(written, place);
        let value = self.right_side(parts)?;
        let value = self.text(&value);
        Some(Given::Variable { name: name?, value: value? })
    }

    fn no_given(&mut self, place: Span) {
        let message = format!("`{}` is no part of a world", self.shown(place));
        self.errors.push(
            SyntaxError::new(SyntaxErrorKind::UnknownWord, place, message)
                .help("write `$NAME = VALUE`, `link A -> B`, `host NAME = ADDRESS, …` or `platform = NAME`"),
        );
    }

    /// Reads `$name`: a variable of the language, or an environment variable.
    fn given_name(&mut self, written: &str, place: Span) -> Option<Spanned<String>> {
        let name = written.strip_prefix('$').unwrap_or(written);
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name && written.starts_with('$') {
            return Some(Spanned::new(name.to_owned(), place));
        }
        let message = format!("`{}` is no variable; write `$NAME`", self.shown(place));
        let error = SyntaxError::new(SyntaxErrorKind::InvalidName, place, message);
        let error = match (is_name, written) {
            (true, _) => error.repair(place, format!("${name}")),
            (false, "~") => error.repair(place, "$home"),
            (false, _) => error,
        };
        self.errors.push(error);
        None
    }
}
