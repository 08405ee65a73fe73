//! Blocks: `on PLATFORM { … }` and `test "name" { … }`.

use pest::iterators::Pair;

use super::item::Strings;
use super::kind::{Block, Kind};
use super::list::Items;
use super::parts::{Parts, extent, span};
use super::{Brace, Lowering, behind};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::escape::quote;
use crate::syntax::Rule;
use crate::tree::{Expect, Given, PlatformBlock, PlatformName, Quoting, Statement, Test, Text};
use crate::{Span, Spanned};

/// One line of a test.
enum TestLine {
    Given(Spanned<Given>),
    Expect(Spanned<Expect>),
}

impl Lowering<'_> {
    /// Lowers `on PLATFORM { … }`.
    pub(super) fn platform(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<Statement>> {
        self.block(pair, Kind::Platform, Lowering::platform_head, |this, platform, body| {
            let statements = this.lines(body, |this, line| this.platform_line(line));
            platform.map(|platform| Statement::Platform(PlatformBlock { platform, statements }))
        })
    }

    /// Lowers `test "name" { … }`.
    pub(super) fn test(&mut self, pair: Pair<'_, Rule>) -> Option<Spanned<Statement>> {
        self.block(pair, Kind::Test, Lowering::test_head, |this, name, body| {
            let (mut given, mut expect) = (Vec::new(), Vec::new());
            for line in this.lines(body, |this, line| this.test_line(line)) {
                match line {
                    TestLine::Given(line) => given.push(line),
                    TestLine::Expect(line) => expect.push(line),
                }
            }
            name.map(|name| Statement::Test(Test { name, given, expect }))
        })
    }

    /// Reads a block: its head and its braces count for the block as a whole, its lines each for itself.
    fn block<H>(
        &mut self,
        pair: Pair<'_, Rule>,
        kind: Kind,
        read_head: fn(&mut Self, &mut Parts<'_>) -> Option<H>,
        read_body: impl FnOnce(&mut Self, Option<H>, Pair<'_, Rule>) -> Option<Statement>,
    ) -> Option<Spanned<Statement>> {
        let flaws = self.errors.flaws();
        let copy = pair.clone();
        let place = extent(&pair);
        let mut body = None;
        let mut unclosed = Strings::Closed;
        for part in pair.clone().into_inner() {
            match part.as_rule() {
                Rule::closed_body | Rule::open_body => body = Some(part),
                Rule::unclosed | Rule::surplus if self.tell_unclosed_token(&part) == Strings::Unclosed => {
                    unclosed = Strings::Unclosed;
                }
                _ => {}
            }
        }
        let mut parts = Parts::of(pair);
        let head = if unclosed == Strings::Unclosed { None } else { read_head(self, &mut parts) };
        if unclosed == Strings::Closed {
            self.head_rest(&mut parts, kind, body.as_ref());
        }
        let Some(body) = body else {
            self.leave_out(&copy);
            return None;
        };
        self.unclosed_block(&body);
        let flawed = self.errors.flaws() > flaws;
        let statement = read_body(self, head, body);
        if flawed {
            self.leave_out(&copy);
            return None;
        }
        statement.map(|statement| Spanned::new(statement, place))
    }

    fn platform_head(&mut self, parts: &mut Parts<'_>) -> Option<Spanned<PlatformName>> {
        parts.take(Rule::k_on)?;
        let item = self.required_item(parts, SyntaxErrorKind::IncompleteStatement, "`linux` or `macos`")?;
        self.known(&item, "a platform", PlatformName::ALL, PlatformName::word)
    }

    fn test_head(&mut self, parts: &mut Parts<'_>) -> Option<Text> {
        parts.take(Rule::k_test)?;
        let item = self.required_item(parts, SyntaxErrorKind::IncompleteStatement, "a name in quotes")?;
        let text = self.text(&item)?;
        if text.quoting == Quoting::Bare {
            // What follows may be more of the name.
            let mut name = text.span;
            while let Some(more) = parts.take(Rule::surplus) {
                name = name.to(span(&more));
            }
            let written = self.source(name);
            let error =
                SyntaxError::new(SyntaxErrorKind::MissingQuotes, name, "the name of a test stands in quotes");
            self.errors.push(if written.contains('"') { error } else { error.repair(name, quote(written)) });
            return None;
        }
        Some(text)
    }

    /// Judges what stands between the head of a block and its brace.
    fn head_rest(&mut self, parts: &mut Parts<'_>, kind: Kind, body: Option<&Pair<'_, Rule>>) {
        let mut before = parts.last();
        let is_body = |rule| matches!(rule, Rule::closed_body | Rule::open_body);
        let mut rest = Vec::new();
        while let Some(part) = parts.take_if(|rule| !is_body(rule)) {
            before = extent(&part);
            rest.push(part);
        }
        self.clause_pairs(rest, kind, Items::Words);
        let Some(body) = body else {
            let message = format!("a block `{{ … }}` must follow `{}`", self.shown(before));
            self.errors.push(SyntaxError::new(SyntaxErrorKind::IncompleteStatement, behind(before), message));
            return;
        };
        let gap = Span { start: before.end, end: span(body).start };
        let between = self.source(gap);
        if between.contains('\n') {
            let brace = Span { start: gap.end, end: gap.end + 1 };
            let error = SyntaxError::new(
                SyntaxErrorKind::UnexpectedText,
                brace,
                "the `{` of a block stands on the line of its head",
            );
            let only_blank = between.trim().is_empty();
            self.errors.push(if only_blank { error.repair(gap, " ") } else { error });
        }
    }

    fn unclosed_block(&mut self, body: &Pair<'_, Rule>) {
        if body.clone().into_inner().any(|part| part.as_rule() == Rule::close) {
            return;
        }
        let start = span(body).start;
        let end = extent(body).end.max(start + 1);
        self.errors.push(
            SyntaxError::new(
                SyntaxErrorKind::UnbalancedBlock,
                Span { start, end: start + 1 },
                "this block is never closed",
            )
            .label("opened here")
            .help("write `}` on a line of its own behind the last line of the block")
            .repair(Span { start: end, end }, "\n}"),
        );
    }

    /// Lowers the lines of a block.
    fn lines<T>(
        &mut self,
        body: Pair<'_, Rule>,
        mut read: impl FnMut(&mut Self, Pair<'_, Rule>) -> Option<T>,
    ) -> Vec<T> {
        let mut lines = Vec::new();
        for line in body.into_inner().filter(|part| part.as_rule() != Rule::close) {
            lines.extend(read(self, line));
        }
        lines
    }

    fn platform_line(&mut self, line: Pair<'_, Rule>) -> Option<Spanned<Statement>> {
        match line.as_rule() {
            Rule::policy_rule | Rule::limit | Rule::stray_clause | Rule::unknown => {
                self.line_statement(line, Block::Platform)
            }
            _ => {
                self.not_in_block(&line, "rules and limits stand in an `on` block");
                None
            }
        }
    }

    fn test_line(&mut self, line: Pair<'_, Rule>) -> Option<TestLine> {
        match line.as_rule() {
            Rule::given => self.whole(line, |this, parts| this.given(parts)).map(TestLine::Given),
            Rule::policy_rule => {
                self.whole(line, |this, parts| this.expectation(parts)).map(TestLine::Expect)
            }
            Rule::stray_clause | Rule::unknown => {
                self.line_statement(line, Block::Test);
                None
            }
            _ => {
                self.not_in_block(&line, "`given`, `allow` and `deny` stand in a `test` block");
                None
            }
        }
    }

    fn not_in_block(&mut self, line: &Pair<'_, Rule>, help: &str) {
        if line.as_rule() == Rule::nested {
            self.misplaced(line, "a block cannot stand in a block", Some("close the one before with `}`"));
            return;
        }
        let head = self.head(line);
        let message = format!("`{}` cannot stand in this block", self.shown(head));
        self.misplaced(line, &message, Some(help));
    }
}

/// Whether it is clear which brace closes a statement's block.
pub(super) fn brace(pair: &Pair<'_, Rule>) -> Brace {
    let unclear = |rule| matches!(rule, Rule::open_body | Rule::open_skip);
    let blocks = pair.clone().into_inner();
    let inner = blocks.flat_map(|part| std::iter::once(part.clone()).chain(part.into_inner().take(1)));
    if inner.into_iter().any(|part| unclear(part.as_rule())) { Brace::Unclear } else { Brace::Clear }
}
