//! Lines that begin with no statement's word.

use pest::iterators::Pair;

use super::item::{Strings, one_of};
use super::kind::{Block, Kind, meant_clause};
use super::list::{Entry, Joint, entries, is_plain_word};
use super::parts::{Parts, span};
use super::{Lowering, shown};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::syntax::Rule;
use crate::tree::{Action, Effect, Quoting, Text};
use crate::{Span, did_you_mean};

impl Lowering<'_> {
    /// Tells what is wrong with a line that is no statement.
    pub(super) fn unknown(&mut self, pair: Pair<'_, Rule>, block: Block) {
        self.leave_out(&pair);
        if self.tell_unclosed(&pair) == Strings::Unclosed {
            return;
        }
        let mut parts = Parts::of(pair);
        let Some(list) = parts.take(Rule::list) else {
            self.lone_block(&mut parts);
            return;
        };
        let entries = entries(Some(list));
        let Some((Entry::Item(first, _), behind)) = entries.split_first() else {
            self.leading_comma(&entries);
            return;
        };
        let place = span(first);
        let text = Text { text: self.source(place).to_owned(), quoting: Quoting::Bare, span: place };
        if first.as_rule() != Rule::word || !is_plain_word(&text) {
            self.item_alone(&text, block);
            return;
        }
        let follows_action = matches!(behind.first(), Some(Entry::Item(pair, Joint::Nothing))
            if is_like_an_action(self.source(span(pair))));
        let Some(meant) = meant_word(&text.text, &mut parts, block) else {
            self.no_statement(&text, follows_action, block);
            return;
        };
        let is_clause = meant_clause(&text.text) == Some(meant);
        let kind = if is_clause { SyntaxErrorKind::UnknownClause } else { SyntaxErrorKind::UnknownStatement };
        let what = if is_clause { "clause" } else { "statement" };
        self.errors.push(
            SyntaxError::new(
                kind,
                place,
                format!("`{}` is no {what}; did you mean `{meant}`?", shown(&text.text)),
            )
            .repair(place, meant),
        );
        if Effect::from_word(meant).is_some() && follows_action {
            let kind = if block == Block::Test { Kind::Expectation } else { Kind::Rule };
            self.body_of_unknown(place, behind, parts, kind);
        }
    }

    fn no_statement(&mut self, text: &Text, follows_action: bool, block: Block) {
        let word = shown(&text.text);
        let effects: Vec<&str> = match block {
            Block::Test => vec!["allow", "deny"],
            Block::File | Block::Platform => Effect::ALL.iter().map(|effect| effect.word()).collect(),
        };
        let (message, help) = if Action::from_word(&text.text).is_some() {
            (format!("no effect stands before `{word}`"), format!("{} before it", one_of(&effects)))
        } else if follows_action {
            (format!("`{word}` is no effect"), one_of(&effects))
        } else {
            (format!("`{word}` begins no statement"), one_of(block.words()))
        };
        self.errors.push(SyntaxError::new(SyntaxErrorKind::UnknownStatement, text.span, message).help(help));
    }

    fn item_alone(&mut self, text: &Text, block: Block) {
        let message = format!("`{}` begins no statement", shown(&text.text));
        let help = format!(
            "if it belongs to the list above, a comma is missing there; to begin a statement, {}",
            one_of(block.words())
        );
        self.errors.push(SyntaxError::new(SyntaxErrorKind::UnknownStatement, text.span, message).help(help));
    }

    fn leading_comma(&mut self, entries: &[Entry<'_>]) {
        let place = entries.iter().fold(Span::NONE, |place, entry| match entry {
            Entry::Comma(comma) => place.to(*comma),
            Entry::Item(..) => place,
        });
        self.errors.push(
            SyntaxError::new(SyntaxErrorKind::ExtraComma, place, "a statement cannot begin with a comma")
                .help("the comma of a list that goes on stands at the end of the line before"),
        );
    }

    fn lone_block(&mut self, parts: &mut Parts<'_>) {
        let place = parts.any().map_or(Span::NONE, |block| span(&block));
        let brace = Span { start: place.start, end: place.start + 1 };
        self.errors.push(
            SyntaxError::new(SyntaxErrorKind::UnexpectedText, brace, "this block has no head")
                .help("a block begins with `on PLATFORM {` or `test \"name\" {`"),
        );
    }
}

/// The word that a line of a block was likely meant to begin with.
fn meant_word(word: &str, parts: &mut Parts<'_>, block: Block) -> Option<&'static str> {
    if parts.next_is() == Some(Rule::skipped_block)
        && let Some(meant) = did_you_mean(word, ["on", "test"])
    {
        return Some(meant);
    }
    did_you_mean(word, block.words().iter().copied().chain(meant_clause(word)))
}

/// Whether a word is an action, or seems to be a misspelling of one.
fn is_like_an_action(word: &str) -> bool {
    let words = || Action::ALL.iter().map(|action| action.word());
    words().any(|action| action == word) || did_you_mean(word, words()).is_some()
}
