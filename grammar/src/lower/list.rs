//! Lists of items.

use pest::iterators::Pair;

use super::kind::{Kind, meant_clause};
use super::parts::span;
use super::{Lowering, behind};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::name::Name;
use crate::syntax::Rule;
use crate::tree::{Quoting, Text};
use crate::{Span, Spanned};

/// One part of a list.
pub(super) enum Entry<'i> {
    /// An item, and what stands before it.
    Item(Pair<'i, Rule>, Joint),
    /// A comma with no item behind it, or none before the first.
    Comma(Span),
}

/// What stands before an item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// It is the first, or a comma stands before it.
    Comma,
    /// Only blanks.
    Nothing,
}

/// What a list holds; it decides how a missing comma is mended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Items {
    /// Items without blanks: a comma is missing.
    Words,
    /// Commands: a comma, or the quotes around one command, are missing.
    Commands,
}

/// The parts of a list.
pub(super) fn entries(list: Option<Pair<'_, Rule>>) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut joint = Joint::Comma;
    for pair in list.into_iter().flat_map(Pair::into_inner) {
        match pair.as_rule() {
            Rule::no_comma => joint = Joint::Nothing,
            Rule::extra_comma => entries.push(Entry::Comma(span(&pair))),
            _ => {
                entries.push(Entry::Item(pair, joint));
                joint = Joint::Comma;
            }
        }
    }
    entries
}

impl Lowering<'_> {
    /// Reads the items of a clause; there must be at least one.
    pub(super) fn items(
        &mut self,
        list: Option<Pair<'_, Rule>>,
        behind: Span,
        what: &str,
        items: Items,
    ) -> Vec<Text> {
        let entries = entries(list);
        if entries.is_empty() {
            self.missing(SyntaxErrorKind::MissingItem, behind, what);
        }
        self.item_entries(&entries, items).iter().filter_map(|pair| self.text(pair)).collect()
    }

    /// Reads the labels of a clause; there must be at least one.
    pub(super) fn labels(&mut self, list: Option<Pair<'_, Rule>>, behind: Span) -> Vec<Spanned<String>> {
        let entries = entries(list);
        if entries.is_empty() {
            self.missing(SyntaxErrorKind::MissingItem, behind, "a label");
        }
        let pairs = self.item_entries(&entries, Items::Words);
        pairs.iter().filter_map(|pair| self.name(pair, Name::Label)).collect()
    }

    /// The items of a list, with an error for each comma that is missing or too many.
    pub(super) fn item_entries<'i>(&mut self, entries: &[Entry<'i>], items: Items) -> Vec<Pair<'i, Rule>> {
        let mut pairs: Vec<Pair<'i, Rule>> = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            match entry {
                Entry::Comma(place) => self.extra_comma(*place, pairs.last().is_some()),
                Entry::Item(pair, joint) => {
                    let unjoined_next = matches!(entries.get(n + 1), Some(Entry::Item(_, Joint::Nothing)));
                    if pairs.last().is_some() && self.ends_list(pair, *joint, unjoined_next) {
                        break;
                    }
                    if let (Joint::Nothing, Some(before)) = (*joint, pairs.last()) {
                        self.missing_comma(span(before), span(pair), items);
                    }
                    pairs.push(pair.clone());
                }
            }
        }
        pairs
    }

    /// Whether a word in a list is the beginning of something else, which is then told.
    fn ends_list(&mut self, pair: &Pair<'_, Rule>, joint: Joint, unjoined_next: bool) -> bool {
        let place = span(pair);
        let word = self.source(place);
        if pair.as_rule() != Rule::word {
            return false;
        }
        if unjoined_next && Kind::STATEMENT_WORDS.contains(&word) {
            let start = Span { start: place.start, end: place.start };
            match joint {
                Joint::Nothing => self.own_line(place, start, "\n"),
                Joint::Comma => self.errors.push(SyntaxError::new(
                    SyntaxErrorKind::UnexpectedText,
                    place,
                    "a statement begins on a line of its own",
                )),
            }
            return true;
        }
        joint == Joint::Nothing && self.misspelt_clause(place)
    }

    /// Tells of a word that seems to be a misspelt clause, if it is one.
    pub(super) fn misspelt_clause(&mut self, place: Span) -> bool {
        let word = self.source(place);
        let Some(clause) = meant_clause(word) else { return false };
        let rest = self.text.get(place.range().end..).unwrap_or_default();
        let in_two_words = word == "best" && rest.starts_with(" effort");
        let place = if in_two_words { Span { end: place.end + 7, ..place } } else { place };
        self.errors.push(
            SyntaxError::new(
                SyntaxErrorKind::UnknownClause,
                place,
                format!("`{}` is no clause; did you mean `{clause}`?", self.shown(place)),
            )
            .repair(place, clause),
        );
        true
    }

    fn extra_comma(&mut self, place: Span, after_item: bool) {
        let message = if after_item {
            "an item must follow this comma"
        } else {
            "an item must stand before this comma"
        };
        self.errors.push(
            SyntaxError::new(SyntaxErrorKind::ExtraComma, place, message)
                .help("write the item, or remove the comma")
                .repair(place, ""),
        );
    }

    fn missing_comma(&mut self, before: Span, place: Span, items: Items) {
        let (first, second) = (self.shown(before), self.shown(place));
        let error = SyntaxError::new(
            SyntaxErrorKind::MissingComma,
            place,
            format!("a comma is missing between `{first}` and `{second}`"),
        );
        let error = match items {
            Items::Words => error.repair(behind(before), ","),
            Items::Commands if self.source(before).starts_with('"') && self.source(place).starts_with('"') => {
                error.repair(behind(before), ",")
            }
            Items::Commands => SyntaxError::new(
                SyntaxErrorKind::MissingComma,
                place,
                format!("neither a comma nor quotes join `{first}` and `{second}`"),
            )
            .help(format!(
                "one command of several words stands in quotes: `\"{} {}\"`; two commands stand with a comma between",
                first.trim_matches('"'),
                second.trim_matches('"'),
            )),
        };
        self.errors.push(error);
    }

    /// Tells of the items beyond the first where only one may stand.
    pub(super) fn only_one(&mut self, texts: Vec<Text>, message: &str, help: &str) -> Option<Text> {
        let mut texts = texts.into_iter();
        let first = texts.next();
        if let Some(second) = texts.next() {
            let place = texts.fold(second.span, |place, text| place.to(text.span));
            self.errors.push(SyntaxError::new(SyntaxErrorKind::UnexpectedText, place, message).help(help));
        }
        first
    }
}

/// Whether an item is a bare word of letters and hyphens, as the words of the language are.
pub(super) fn is_plain_word(text: &Text) -> bool {
    text.quoting == Quoting::Bare
        && text.text.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, '-' | '_'))
}
