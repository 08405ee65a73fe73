//! Prints a syntax tree as a text: one canonical form.
//!
//! Statements keep their order, and so do items; one empty line between statements stays. Clauses come in one order,
//! quotes stand only where they are needed, a statement that is too wide goes on in lines that are indented. Comments
//! stay with what they are about.

mod comment;
mod piece;
mod quoting;

pub use comment::{Attached, Comment, Stands, comments, stands_apart};

use crate::tree::{File, Statement};
use crate::{Span, Spanned};
use piece::{Joint, Piece, expect, given, pieces};

/// The widest that a line is before its statement goes on in another.
pub const WIDTH: usize = 100;

/// How far the further lines of a statement are indented.
const FURTHER: &str = "      ";

/// Where the empty lines between statements come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// The text has them: it is a `.fence` text itself.
    Kept,
    /// The text has another form: one stands between statements of different kinds, too.
    Added,
}

/// Prints a tree that was read from this text, with its comments.
#[must_use]
pub fn print(file: &File, text: &str, comments: Vec<Comment>, spacing: Spacing) -> String {
    let mut parts = Vec::new();
    for statement in &file.statements {
        statement_parts((text, spacing), statement, &mut parts);
    }
    let attached = Attached::to(text, comments, parts, spacing);
    let mut printer = Printer { text, attached, spacing, out: String::new(), fresh: Fresh::Begun };
    let mut before = None;
    for statement in &file.statements {
        let group = group(&statement.node);
        let other = before.is_some_and(|before| before != group || group >= BLOCKS);
        printer.statement(statement, "", if other { Gap::OtherKind } else { Gap::SameKind });
        before = Some(group);
    }
    for (span, comment) in std::mem::take(&mut printer.attached.last) {
        printer.gap(span.start, Gap::SameKind);
        printer.comment("", &comment);
    }
    printer.out
}

/// The groups from here on are blocks.
const BLOCKS: u8 = 8;

fn group(statement: &Statement) -> u8 {
    match statement {
        Statement::Version(_) | Statement::Policy(_) => 0,
        Statement::Include(_) => 1,
        Statement::Let(_) => 2,
        Statement::Rule(_) => 3,
        Statement::Secret(_) => 4,
        Statement::Set(_) => 5,
        Statement::Limit(_) => 6,
        Statement::Tls(_) | Statement::Upstream(_) => 7,
        Statement::Platform(_) => BLOCKS,
        Statement::Test(_) => BLOCKS + 1,
    }
}

/// Every part of a statement that a comment may be about.
fn statement_parts(text: (&str, Spacing), statement: &Spanned<Statement>, parts: &mut Vec<Span>) {
    parts.push(statement.span);
    let more = |pieces: Vec<Piece>| pieces.into_iter().map(|piece| piece.span);
    match &statement.node {
        Statement::Platform(block) => {
            parts.push(block.platform.span);
            for inner in &block.statements {
                statement_parts(text, inner, parts);
            }
            parts.extend(closing(text, statement.span));
        }
        Statement::Test(test) => {
            parts.push(test.name.span);
            for line in &test.given {
                parts.push(line.span);
                parts.extend(more(given(line)));
            }
            for line in &test.expect {
                parts.push(line.span);
                parts.extend(more(expect(&line.node)));
            }
            parts.extend(closing(text, statement.span));
        }
        _ => parts.extend(more(pieces(statement).unwrap_or_default())),
    }
}

/// The brace that closes a block: where the text is of another form, none does.
fn closing((text, spacing): (&str, Spacing), block: Span) -> Option<Span> {
    if spacing == Spacing::Added {
        return None;
    }
    let start = block.end.checked_sub(1)?;
    (text.get(start as usize..block.end as usize) == Some("}")).then_some(Span { start, end: block.end })
}

/// Whether a statement is of another kind than the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    SameKind,
    OtherKind,
}

/// Whether anything stands before in the text or block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fresh {
    Begun,
    GoneOn,
}

struct Printer<'t> {
    text: &'t str,
    attached: Attached,
    spacing: Spacing,
    out: String,
    fresh: Fresh,
}

impl Printer<'_> {
    fn statement(&mut self, statement: &Spanned<Statement>, indent: &str, gap: Gap) {
        let inner = format!("{indent}  ");
        match &statement.node {
            Statement::Platform(block) => {
                let head = format!("on {} {{", block.platform.node);
                self.open(statement.span, block.platform.span, &head, indent, gap);
                for one in &block.statements {
                    self.statement(one, &inner, Gap::SameKind);
                }
                self.close(statement.span, indent);
            }
            Statement::Test(test) => {
                let head = format!("test {} {{", crate::quote(&test.name.text));
                self.open(statement.span, test.name.span, &head, indent, gap);
                for line in &test.given {
                    self.line(line.span, given(line), &inner, Gap::SameKind);
                }
                for line in &test.expect {
                    self.line(line.span, expect(&line.node), &inner, Gap::SameKind);
                }
                self.close(statement.span, indent);
            }
            _ => self.line(statement.span, pieces(statement).unwrap_or_default(), indent, gap),
        }
    }

    /// The head of a block.
    fn open(&mut self, whole: Span, head: Span, text: &str, indent: &str, gap: Gap) {
        self.gap(self.attached.start(whole), gap);
        let mut above = self.attached.take_before(whole);
        above.extend(self.attached.take_before(head));
        let mut behind = self.attached.take_behind(head);
        above.extend(behind.split_off(behind.len().min(1)));
        for comment in &above {
            self.comment(indent, comment);
        }
        self.out.push_str(indent);
        self.out.push_str(text);
        self.end(&behind);
        self.fresh = Fresh::Begun;
    }

    fn close(&mut self, whole: Span, indent: &str) {
        if let Some(brace) = closing((self.text, self.spacing), whole) {
            let start = self.attached.start(brace);
            let last = self.attached.take_before(brace);
            if !last.is_empty() {
                self.gap(start, Gap::SameKind);
            }
            for comment in &last {
                self.comment(&format!("{indent}  "), comment);
            }
        }
        self.out.push_str(indent);
        self.out.push('}');
        let mut behind = self.attached.take_behind(whole);
        let more = behind.split_off(behind.len().min(1));
        self.end(&behind);
        for comment in &more {
            self.comment(indent, comment);
        }
        self.fresh = Fresh::GoneOn;
    }

    /// A statement in pieces, with the comments in it.
    fn line(&mut self, whole: Span, pieces: Vec<Piece>, indent: &str, gap: Gap) {
        self.gap(self.attached.start(whole), gap);
        let mut above = self.attached.take_before(whole);
        let mut last = self.attached.take_behind(whole);
        let mut parts: Vec<Part> = Vec::new();
        for piece in pieces {
            let mut before = self.attached.take_before(piece.span);
            if piece.joint == Joint::Blank {
                // No line can begin here: what would stand before it stands above.
                above.append(&mut before);
                if let Some(part) = parts.last_mut() {
                    above.append(&mut part.behind);
                }
            }
            let mut behind = self.attached.take_behind(piece.span);
            let more = behind.split_off(behind.len().min(1));
            above.extend(more);
            parts.push(Part { piece, before, behind });
        }
        if let Some(part) = parts.last_mut() {
            last.append(&mut part.behind);
        }
        let more = last.split_off(last.len().min(1));
        above.extend(more);
        for comment in &above {
            self.comment(indent, comment);
        }
        self.parts(&parts, indent);
        self.end(&last);
        self.fresh = Fresh::GoneOn;
    }

    fn parts(&mut self, parts: &[Part], indent: &str) {
        let commas = |at: usize| parts.get(at + 1).is_some_and(|next| next.piece.joint == Joint::Comma);
        let commented = parts.iter().any(|part| !part.before.is_empty() || !part.behind.is_empty());
        let wide: usize = parts.iter().map(|part| part.piece.text.chars().count() + 1).sum();
        let commas_all = (0..parts.len()).filter(|at| commas(*at)).count();
        let several = commented || indent.len() + wide + commas_all > WIDTH + 1;
        let mut width = indent.len();
        self.out.push_str(indent);
        for (at, part) in parts.iter().enumerate() {
            let comma = usize::from(commas(at));
            let needs = part.piece.text.chars().count() + comma;
            if at > 0 {
                let before = parts.get(at - 1).map(|before| before.behind.as_slice()).unwrap_or_default();
                let forced = !before.is_empty() || !part.before.is_empty();
                let own = several && part.piece.joint == Joint::Reason;
                let full = part.piece.joint != Joint::Blank && width + 1 + needs > WIDTH;
                if forced || own || full {
                    self.end(before);
                    for comment in &part.before {
                        self.comment(&format!("{indent}{FURTHER}"), comment);
                    }
                    self.out.push_str(indent);
                    self.out.push_str(FURTHER);
                    width = indent.len() + FURTHER.len();
                } else {
                    self.out.push(' ');
                    width += 1;
                }
            }
            self.out.push_str(&part.piece.text);
            if comma == 1 {
                self.out.push(',');
            }
            width += needs;
        }
    }

    /// Ends a line, with the comment behind it.
    fn end(&mut self, behind: &[String]) {
        for comment in behind {
            self.out.push_str("  #");
            self.out.push_str(comment);
        }
        self.out.push('\n');
    }

    fn comment(&mut self, indent: &str, comment: &str) {
        self.out.push_str(indent);
        self.out.push('#');
        self.out.push_str(comment);
        self.out.push('\n');
        self.fresh = Fresh::GoneOn;
    }

    /// An empty line, where one stood.
    fn gap(&mut self, start: u32, gap: Gap) {
        let added = self.spacing == Spacing::Added && gap == Gap::OtherKind;
        if self.fresh == Fresh::GoneOn && (added || stands_apart(self.text, start)) {
            self.out.push('\n');
        }
        self.fresh = Fresh::GoneOn;
    }
}

/// A piece with its comments.
struct Part {
    piece: Piece,
    before: Vec<String>,
    behind: Vec<String>,
}
