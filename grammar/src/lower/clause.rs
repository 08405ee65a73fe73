//! The clauses of a statement, and what no part of it has taken.

use pest::iterators::Pair;

use super::Lowering;
use super::item::one_of;
use super::kind::Kind;
use super::list::Items;
use super::parts::{Parts, extent, span};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::escape::quote;
use crate::name::Name;
use crate::syntax::Rule;
use crate::tree::{Note, Text};
use crate::{Span, Spanned};

/// The clauses of one statement.
#[derive(Default)]
pub(super) struct Clauses {
    pub except: Vec<Text>,
    pub without: Vec<Spanned<String>>,
    pub to: Vec<Text>,
    pub by: Vec<Spanned<String>>,
    pub best_effort: Option<Span>,
    pub cheaply: Option<Span>,
    pub note: Note,
    seen: Vec<(Rule, Span)>,
}

impl Clauses {
    /// Where a clause's word stands, if the clause does.
    pub(super) fn place(&self, rule: Rule) -> Option<Span> {
        self.seen.iter().find(|(seen, _)| *seen == rule).map(|&(_, place)| place)
    }
}

enum After {
    GoOn,
    Stop,
}

impl Lowering<'_> {
    /// Reads what is left of a statement: clauses, and what does not belong to it.
    pub(super) fn clauses(&mut self, parts: &mut Parts<'_>, kind: Kind, items: Items) -> Clauses {
        self.clause_pairs(std::iter::from_fn(|| parts.any()), kind, items)
    }

    /// The same of parts that were already taken.
    pub(super) fn clause_pairs<'i>(
        &mut self,
        pairs: impl IntoIterator<Item = Pair<'i, Rule>>,
        kind: Kind,
        items: Items,
    ) -> Clauses {
        let mut clauses = Clauses::default();
        for pair in pairs {
            let after = match pair.as_rule() {
                Rule::surplus => self.surplus(&pair, kind),
                Rule::skipped_block => {
                    let place = span(&pair);
                    self.errors.push(
                        SyntaxError::new(
                            SyntaxErrorKind::UnexpectedText,
                            Span { start: place.start, end: place.start + 1 },
                            format!("{} has no block", kind.noun()),
                        )
                        .help("braces that belong to an item need quotes around it"),
                    );
                    After::Stop
                }
                _ => self.clause(pair, kind, items, &mut clauses),
            };
            if matches!(after, After::Stop) {
                break;
            }
        }
        clauses
    }

    fn clause(&mut self, pair: Pair<'_, Rule>, kind: Kind, items: Items, clauses: &mut Clauses) -> After {
        let rule = pair.as_rule();
        let mut inner = Parts::of(pair);
        let Some(keyword) = inner.any() else { return After::GoOn };
        let word = keyword.as_str();
        let place = span(&keyword);
        if !kind.clauses().contains(&word) {
            self.misplaced_clause(place, word, kind);
            return After::GoOn;
        }
        if clauses.place(rule).is_some() {
            self.repeated_clause(place, word);
            return After::GoOn;
        }
        clauses.seen.push((rule, place));
        match rule {
            Rule::except => clauses.except = self.items(inner.take(Rule::list), place, "an item", items),
            Rule::to => clauses.to = self.items(inner.take(Rule::list), place, "a host", Items::Words),
            Rule::without => clauses.without = self.labels(inner.take(Rule::list), place),
            Rule::by => clauses.by = self.labels(inner.take(Rule::list), place),
            Rule::best_effort => clauses.best_effort = Some(place),
            Rule::cheaply => clauses.cheaply = Some(place),
            Rule::label => {
                let item = self.required_item(&mut inner, SyntaxErrorKind::MissingItem, "a label");
                clauses.note.label = item.and_then(|item| self.name(&item, Name::Label));
            }
            _ => return self.because(&mut inner, clauses),
        }
        After::GoOn
    }

    fn because(&mut self, inner: &mut Parts<'_>, clauses: &mut Clauses) -> After {
        let place = inner.last();
        if let Some(string) = inner.take(Rule::string) {
            clauses.note.because = self.text(&string);
            return After::GoOn;
        }
        let Some(words) = inner.any() else {
            self.missing(SyntaxErrorKind::MissingReason, place, "a reason in quotes");
            return After::GoOn;
        };
        // The words of a reason are not clauses, whatever they look like: it reaches to the end of the line.
        let start = span(&words).start as usize;
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let line = line.split(['}', '{']).next().unwrap_or_default();
        let text = line.split(" #").next().unwrap_or_default().trim_end();
        let place = Span::new(start..start + text.len());
        let error = SyntaxError::new(
            SyntaxErrorKind::MissingReason,
            place,
            "a reason stands in quotes: `because \"…\"`",
        );
        let inside = text.trim_matches('\'');
        self.errors.push(if text.contains(['"', '\\']) { error } else { error.repair(place, quote(inside)) });
        After::Stop
    }

    fn misplaced_clause(&mut self, place: Span, word: &str, kind: Kind) {
        let error = SyntaxError::new(
            SyntaxErrorKind::MisplacedClause,
            place,
            format!("{} has no `{word}`", kind.noun()),
        );
        let help = match kind.clauses() {
            [] => format!("{} has no clauses", kind.noun()),
            clauses => {
                format!("{} may have {}", kind.noun(), one_of(clauses).trim_start_matches("write one of "))
            }
        };
        self.errors.push(error.help(help.replace("write ", "")));
    }

    fn repeated_clause(&mut self, place: Span, word: &str) {
        let help = match word {
            "except" | "without" | "to" | "by" => "put everything into one list, with commas between",
            "as" => "a statement has one label",
            "because" => "put everything into one reason",
            _ => "remove one of them",
        };
        self.errors.push(
            SyntaxError::new(
                SyntaxErrorKind::RepeatedClause,
                place,
                format!("`{word}` stands twice in one statement"),
            )
            .help(help),
        );
    }

    /// Tells of text that no part of a statement has taken.
    fn surplus(&mut self, pair: &Pair<'_, Rule>, kind: Kind) -> After {
        let place = span(pair);
        let text = self.source(place);
        let word = text.split([' ', '\t', ',', '"']).next().unwrap_or_default();
        let first = Span::new(place.start as usize..place.start as usize + word.len());
        let more = !text.get(word.len()..).unwrap_or_default().trim().is_empty();
        if self.misspelt_clause(first) {
            return After::GoOn;
        }
        if more && Kind::STATEMENT_WORDS.contains(&word) {
            self.own_line(place, Span { start: place.start, end: place.start }, "\n");
            return After::Stop;
        }
        let error = if text.chars().all(|c| matches!(c, ',' | ' ' | '\t')) {
            SyntaxError::new(SyntaxErrorKind::ExtraComma, place, "no item stands around this comma")
                .help("remove it")
                .repair(place, "")
        } else {
            let message = format!("`{}` does not belong to {}", self.shown(place), kind.noun());
            SyntaxError::new(SyntaxErrorKind::UnexpectedText, place, message).help(kind.surplus_help())
        };
        self.errors.push(error);
        After::GoOn
    }

    /// Lowers a clause that stands behind no statement.
    pub(super) fn stray_clause(&mut self, pair: &Pair<'_, Rule>) {
        let place = self.head(pair);
        let word = self.shown(place);
        self.errors.push(
            SyntaxError::new(
                SyntaxErrorKind::MisplacedClause,
                place,
                format!("`{word}` belongs to a statement, and none stands before it"),
            )
            .help("a clause stands behind the statement that it belongs to, or on the next line"),
        );
        self.leave_out(pair);
    }

    /// Tells that `without` needs a reason, if it has none.
    pub(super) fn reason_for_without(&mut self, clauses: &Clauses) {
        if clauses.place(Rule::because).is_some() {
            return;
        }
        if let Some(place) = clauses.place(Rule::without) {
            self.errors.push(
                SyntaxError::new(SyntaxErrorKind::MissingReason, place, "`without` needs a reason")
                    .help("it weakens what is included: say why, with `because \"…\"`"),
            );
        }
    }

    /// The words of a statement's rest as one place, if there are any.
    pub(super) fn rest(&self, parts: &mut Parts<'_>) -> Option<Span> {
        let mut place = None;
        while let Some(pair) = parts.any() {
            let part = extent(&pair);
            place = Some(place.map_or(part, |place: Span| place.to(part)));
        }
        place
    }
}
