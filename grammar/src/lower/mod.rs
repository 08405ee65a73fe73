//! From the parser's pairs to the tree, telling what is wrong on the way.

mod block;
mod clause;
mod errors;
mod given;
mod item;
mod kind;
mod list;
mod parts;
mod rule;
mod statement;
mod unknown;

use pest::iterators::{Pair, Pairs};

use self::errors::Errors;
use self::kind::Kind;
use self::parts::{Parts, extent, leaves, span};
use crate::characters::Cleaned;
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::suggestion::did_you_mean;
use crate::syntax::Rule;
use crate::tree::{File, Statement};
use crate::{LeftOut, Parsed, Span, Spanned};

/// Makes the tree of a whole text.
pub(crate) fn file(text: &str, cleaned: &Cleaned<'_>, pairs: Pairs<'_, Rule>) -> Parsed {
    let mut lowering = Lowering { text, errors: Errors::new(cleaned), left_out: LeftOut::default() };
    let mut statements = Vec::new();
    let mut line = Line::default();
    for pair in pairs.flat_map(Pair::into_inner) {
        if pair.as_rule() == Rule::EOI {
            break;
        }
        let flaws = lowering.errors.flaws();
        if pair.as_rule() == Rule::stray_close {
            if line.brace != Brace::Unclear {
                lowering.stray_close(&pair);
            }
            line.end = Some(span(&pair).end);
            line.flawed = true;
            continue;
        }
        let brace = block::brace(&pair);
        let end = extent(&pair).end;
        match lowering.line_of(&line, &pair) {
            Beginning::OnItsOwnLine => {
                let before_any = line.end.is_none();
                statements.extend(lowering.statement(pair, before_any));
            }
            Beginning::BehindAnother => lowering.leave_out(&pair),
        }
        line = Line { end: Some(end), flawed: lowering.errors.flaws() > flaws, brace };
    }
    let mut errors = lowering.errors.told();
    errors.extend(cleaned.errors.iter().cloned());
    errors.sort_by_key(|error| (error.span.start, error.span.end));
    Parsed { file: File { statements }, errors, left_out: lowering.left_out }
}

/// What is known of the text before a statement.
#[derive(Default)]
struct Line {
    /// Where the statement before ended.
    end: Option<u32>,
    /// Whether something was wrong with it.
    flawed: bool,
    /// How it ended.
    brace: Brace,
}

/// Whether it is clear which brace closes a statement's block.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Brace {
    /// There is no block, or its next brace closes it.
    #[default]
    Clear,
    /// Its block is unclosed or holds others.
    Unclear,
}

enum Beginning {
    OnItsOwnLine,
    BehindAnother,
}

/// The state of one lowering.
struct Lowering<'t> {
    /// The text as it was written.
    text: &'t str,
    /// What is wrong with it so far.
    errors: Errors<'t>,
    /// The names in what was left out.
    left_out: LeftOut,
}

impl<'t> Lowering<'t> {
    /// Tells of a statement that begins on the line on which another ended.
    fn line_of(&mut self, line: &Line, pair: &Pair<'_, Rule>) -> Beginning {
        let start = span(pair).start;
        let Some(end) = line.end else { return Beginning::OnItsOwnLine };
        if self.source(Span { start: end, end: start }).contains('\n') {
            return Beginning::OnItsOwnLine;
        }
        if !line.flawed {
            self.own_line(extent(pair), Span { start, end: start }, "\n");
        }
        Beginning::BehindAnother
    }

    fn own_line(&mut self, statement: Span, repaired: Span, replacement: &str) {
        self.errors.push(
            SyntaxError::new(
                SyntaxErrorKind::UnexpectedText,
                statement,
                "a statement begins on a line of its own",
            )
            .repair(repaired, replacement),
        );
    }

    fn stray_close(&mut self, pair: &Pair<'_, Rule>) {
        let place = extent(pair);
        self.errors.push(
            SyntaxError::new(SyntaxErrorKind::UnbalancedBlock, place, "this `}` closes nothing")
                .help("remove it, or open the block with `on PLATFORM {` or `test \"name\" {`"),
        );
    }

    /// Lowers one statement that stands in no block.
    fn statement(&mut self, pair: Pair<'_, Rule>, first: bool) -> Option<Spanned<Statement>> {
        match pair.as_rule() {
            Rule::platform => self.platform(pair),
            Rule::test => self.test(pair),
            Rule::given => {
                self.misplaced(&pair, "`given` stands in a `test` block only", None);
                None
            }
            Rule::version if !first => {
                self.misplaced(&pair, "the version is the first statement of a policy", None);
                None
            }
            _ => self.line_statement(pair, kind::Block::File),
        }
    }

    /// Reads a statement; where anything in it is wrong it is left out as a whole.
    fn whole<T>(
        &mut self,
        pair: Pair<'_, Rule>,
        read: impl FnOnce(&mut Self, Parts<'_>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let flaws = self.errors.flaws();
        let copy = pair.clone();
        let place = extent(&pair);
        let value = match self.tell_unclosed(&pair) {
            item::Strings::Closed => read(self, Parts::of(pair)),
            item::Strings::Unclosed => None,
        };
        if self.errors.flaws() > flaws {
            self.leave_out(&copy);
            return None;
        }
        value.map(|value| Spanned::new(value, place))
    }

    /// Tells of a statement that may not stand where it does.
    fn misplaced(&mut self, pair: &Pair<'_, Rule>, message: &str, help: Option<&str>) {
        let mut error = SyntaxError::new(SyntaxErrorKind::MisplacedStatement, self.head(pair), message);
        error.help = help.map(str::to_owned);
        self.errors.push(error);
        self.leave_out(pair);
    }

    /// The first word of a statement, or what stands there.
    fn head(&self, pair: &Pair<'_, Rule>) -> Span {
        leaves(pair).next().map_or_else(|| extent(pair), |leaf| span(&leaf))
    }

    /// Remembers the names that a statement would have made known.
    fn leave_out(&mut self, pair: &Pair<'_, Rule>) {
        let mut suggestion = None;
        for part in std::iter::once(pair.clone()).chain(pair.clone().into_inner().flatten()) {
            match part.as_rule() {
                Rule::unknown => {
                    let first = self.head(&part);
                    suggestion = did_you_mean(self.source(first), Kind::STATEMENT_WORDS.iter().copied());
                    let second = leaves(&part).nth(1).map(|leaf| self.source(span(&leaf)).to_owned());
                    match suggestion {
                        Some("let") => self.left_out.variables.extend(second),
                        Some("include") => self.unlisted(&part),
                        _ => {}
                    }
                }
                Rule::skipped_block if suggestion != Some("test") => self.unlisted(&part),
                Rule::include => self.unlisted(&part),
                Rule::let_ => {
                    let name = part.into_inner().find(|p| p.as_rule() == Rule::left_side);
                    self.left_out.variables.extend(name.map(|p| self.source(span(&p)).to_owned()));
                }
                Rule::label => {
                    let name = part.into_inner().nth(1);
                    let text = name.map(|p| self.source(span(&p)).trim_matches('"').to_owned());
                    self.left_out.labels.extend(text);
                }
                _ => {}
            }
        }
    }

    fn unlisted(&mut self, pair: &Pair<'_, Rule>) {
        let place = extent(pair);
        self.left_out.unlisted.get_or_insert(place);
    }

    /// The text at a place, as it was written.
    fn source(&self, place: Span) -> &'t str {
        self.text.get(place.range()).unwrap_or_default()
    }

    /// The text at a place for a message: in one line, and not longer than a reader can use.
    fn shown(&self, place: Span) -> String {
        shown(self.source(place))
    }

    /// Tells that something must follow a place.
    fn missing(&mut self, kind: SyntaxErrorKind, after: Span, what: &str) {
        let message = format!("{what} must follow `{}`", self.shown(after));
        self.errors.push(SyntaxError::new(kind, behind(after), message));
    }
}

/// The empty place behind another.
fn behind(place: Span) -> Span {
    Span { start: place.end, end: place.end }
}

/// A text for a message, with what no terminal should see escaped.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == MOST {
            out.push('…');
            break;
        }
        if crate::characters::is_forbidden(c) || matches!(c, '\n' | '\r' | '\t') {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}
