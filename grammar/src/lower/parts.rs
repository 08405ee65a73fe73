//! The parts of a statement, taken one after another.

use std::iter::Peekable;

use pest::iterators::{Pair, Pairs};

use crate::Span;
use crate::syntax::Rule;

/// What is left of a statement.
pub(super) struct Parts<'i> {
    pairs: Peekable<Pairs<'i, Rule>>,
    /// The part taken last.
    last: Span,
}

impl<'i> Parts<'i> {
    /// The parts of a statement.
    pub(super) fn of(pair: Pair<'i, Rule>) -> Parts<'i> {
        let start = span(&pair).start;
        Parts { last: Span { start, end: start }, pairs: pair.into_inner().peekable() }
    }

    /// Takes the next part if it is this.
    pub(super) fn take(&mut self, rule: Rule) -> Option<Pair<'i, Rule>> {
        self.take_if(|next| next == rule)
    }

    /// Takes the next part if it is an item.
    pub(super) fn item(&mut self) -> Option<Pair<'i, Rule>> {
        self.take_if(is_item)
    }

    /// Takes the next part if it is what a test accepts.
    pub(super) fn take_if(&mut self, accepts: impl Fn(Rule) -> bool) -> Option<Pair<'i, Rule>> {
        let pair = self.pairs.next_if(|pair| accepts(pair.as_rule()))?;
        self.last = span(&pair);
        Some(pair)
    }

    /// Takes the next part, whatever it is.
    pub(super) fn any(&mut self) -> Option<Pair<'i, Rule>> {
        self.take_if(|_| true)
    }

    /// What the next part is.
    pub(super) fn next_is(&mut self) -> Option<Rule> {
        self.pairs.peek().map(Pair::as_rule)
    }

    /// Where the part stands that was taken last.
    pub(super) fn last(&self) -> Span {
        self.last
    }
}

/// Whether it is one of the shapes of an item.
pub(super) fn is_item(rule: Rule) -> bool {
    matches!(rule, Rule::word | Rule::string | Rule::mixed | Rule::unclosed)
}

/// Where a token stands.
pub(super) fn span(pair: &Pair<'_, Rule>) -> Span {
    let place = pair.as_span();
    Span::new(place.start()..place.end())
}

/// From the first token of a pair to its last, without the blanks and comments behind it.
pub(super) fn extent(pair: &Pair<'_, Rule>) -> Span {
    let whole = span(pair);
    let mut last = pair.clone();
    while let Some(inner) = last.clone().into_inner().next_back() {
        last = inner;
    }
    Span { start: whole.start, end: span(&last).end }
}

/// The tokens of a pair that have no parts.
pub(super) fn leaves<'i>(pair: &Pair<'i, Rule>) -> impl Iterator<Item = Pair<'i, Rule>> {
    pair.clone().into_inner().flatten().filter(|pair| pair.clone().into_inner().next().is_none())
}
