//! The commands that a line of shell text says.

use brush_parser::ast::{
    AndOr, AndOrList, Assignment, AssignmentValue, Command, CommandPrefixOrSuffixItem, CompoundCommand,
    CompoundList, ExtendedTestExpr, IoFileRedirectTarget, IoRedirect, Pipeline, SimpleCommand,
};
use brush_parser::word::{WordPiece, WordPieceWithSource};
use brush_parser::{Parser, ParserOptions, ast};

/// How deep commands may stand in one another: `$( … )` in a text in `sh -c` in a text.
const DEEPEST: usize = 64;

/// A simple command of a text: its words, redirections and assignments left aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The words; the first is the program. Never empty.
    pub words: Vec<Word>,
}

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// What it is can be read beforehand.
    Known(String),
    /// The shell makes it only then (`$x`, `$(…)`, a glob): the text as it stands.
    Unknown(String),
}

impl Word {
    /// The word, or the text that it is made from.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Word::Known(text) | Word::Unknown(text) => text,
        }
    }

    /// The word, if it can be read beforehand.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        match self {
            Word::Known(text) => Some(text),
            Word::Unknown(_) => None,
        }
    }
}

/// Why a text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// It is not a text of a shell that fence reads.
    #[error("the shell text cannot be read: {0}")]
    Syntax(String),
    /// Commands stand too deep in one another.
    #[error("the shell text is nested more than {DEEPEST} deep")]
    TooDeep,
}

/// Every simple command in a text, wherever it stands: in lists, pipelines, loops, conditions, functions,
/// substitutions, redirections and here-documents; functions that the text defines, when called, are left out.
///
/// # Errors
/// The text cannot be read, or is nested too deep.
pub fn invocations(text: &str) -> Result<Vec<Invocation>, ShellError> {
    let mut reader = Reader { found: Vec::new(), functions: Vec::new(), options: ParserOptions::default() };
    reader.text(text, 0)?;
    let functions = reader.functions;
    let calls_function = |invocation: &Invocation| {
        invocation.words.first().and_then(Word::known).is_some_and(|name| functions.iter().any(|f| f == name))
    };
    Ok(reader.found.into_iter().filter(|invocation| !calls_function(invocation)).collect())
}

struct Reader {
    found: Vec<Invocation>,
    functions: Vec<String>,
    options: ParserOptions,
}

impl Reader {
    fn text(&mut self, text: &str, depth: usize) -> Result<(), ShellError> {
        if depth > DEEPEST || nesting(text) > DEEPEST {
            return Err(ShellError::TooDeep);
        }
        let program = Parser::new(text.as_bytes(), &self.options)
            .parse_program()
            .map_err(|error| ShellError::Syntax(error.to_string()))?;
        program.complete_commands.iter().try_for_each(|list| self.list(list, depth))
    }

    fn list(&mut self, list: &CompoundList, depth: usize) -> Result<(), ShellError> {
        list.0.iter().try_for_each(|item| self.and_or(&item.0, depth))
    }

    fn and_or(&mut self, list: &AndOrList, depth: usize) -> Result<(), ShellError> {
        self.pipeline(&list.first, depth)?;
        list.additional.iter().try_for_each(|next| match next {
            AndOr::And(pipeline) | AndOr::Or(pipeline) => self.pipeline(pipeline, depth),
        })
    }

    fn pipeline(&mut self, pipeline: &Pipeline, depth: usize) -> Result<(), ShellError> {
        pipeline.seq.iter().try_for_each(|command| self.command(command, depth))
    }

    fn command(&mut self, command: &Command, depth: usize) -> Result<(), ShellError> {
        match command {
            Command::Simple(simple) => self.simple(simple, depth),
            Command::Compound(compound, redirects) => {
                self.compound(compound, depth)?;
                self.redirects(redirects.as_ref(), depth)
            }
            Command::Function(function) => {
                self.functions.push(function.fname.value.clone());
                self.compound(&function.body.0, depth)?;
                self.redirects(function.body.1.as_ref(), depth)
            }
            Command::ExtendedTest(test, redirects) => {
                self.test(&test.expr, depth)?;
                self.redirects(redirects.as_ref(), depth)
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand, depth: usize) -> Result<(), ShellError> {
        match compound {
            CompoundCommand::Arithmetic(command) => self.word_text(&command.expr.value, depth),
            CompoundCommand::ArithmeticForClause(clause) => {
                for part in [&clause.initializer, &clause.condition, &clause.updater].into_iter().flatten() {
                    self.word_text(&part.value, depth)?;
                }
                self.list(&clause.body.list, depth)
            }
            CompoundCommand::BraceGroup(group) => self.list(&group.list, depth),
            CompoundCommand::Subshell(subshell) => self.list(&subshell.list, depth),
            CompoundCommand::ForClause(clause) => {
                for value in clause.values.iter().flatten() {
                    self.word_text(&value.value, depth)?;
                }
                self.list(&clause.body.list, depth)
            }
            CompoundCommand::CaseClause(clause) => {
                self.word_text(&clause.value.value, depth)?;
                for case in &clause.cases {
                    for pattern in &case.patterns {
                        self.word_text(&pattern.value, depth)?;
                    }
                    if let Some(list) = &case.cmd {
                        self.list(list, depth)?;
                    }
                }
                Ok(())
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition, depth)?;
                self.list(&clause.then, depth)?;
                for other in clause.elses.iter().flatten() {
                    if let Some(condition) = &other.condition {
                        self.list(condition, depth)?;
                    }
                    self.list(&other.body, depth)?;
                }
                Ok(())
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0, depth)?;
                self.list(&clause.1.list, depth)
            }
            CompoundCommand::Coprocess(coprocess) => self.command(&coprocess.body, depth),
        }
    }

    fn simple(&mut self, simple: &SimpleCommand, depth: usize) -> Result<(), ShellError> {
        let mut words = Vec::new();
        for item in simple.prefix.iter().flat_map(|prefix| &prefix.0) {
            match item {
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) => {
                    self.assignment(assignment, depth)?
                }
                // A redirection in front is none of the command's words.
                other => self.item(other, &mut Vec::new(), depth)?,
            }
        }
        if let Some(name) = &simple.word_or_name {
            self.word(&name.value, &mut words, depth)?;
        }
        for item in simple.suffix.iter().flat_map(|suffix| &suffix.0) {
            self.item(item, &mut words, depth)?;
        }
        if simple.word_or_name.is_some() && !words.is_empty() {
            self.found.push(Invocation { words });
        }
        Ok(())
    }

    fn item(
        &mut self,
        item: &CommandPrefixOrSuffixItem,
        words: &mut Vec<Word>,
        depth: usize,
    ) -> Result<(), ShellError> {
        match item {
            CommandPrefixOrSuffixItem::IoRedirect(redirect) => self.redirect(redirect, depth),
            CommandPrefixOrSuffixItem::Word(word) => self.word(&word.value, words, depth),
            CommandPrefixOrSuffixItem::AssignmentWord(_, word) => self.word(&word.value, words, depth),
            CommandPrefixOrSuffixItem::ProcessSubstitution(_, subshell) => {
                words.push(Word::Unknown("<(…)".to_owned()));
                self.list(&subshell.list, depth)
            }
        }
    }

    fn assignment(&mut self, assignment: &Assignment, depth: usize) -> Result<(), ShellError> {
        match &assignment.value {
            AssignmentValue::Scalar(word) => self.word_text(&word.value, depth),
            AssignmentValue::Array(words) => {
                words.iter().try_for_each(|(_, word)| self.word_text(&word.value, depth))
            }
        }
    }

    fn redirects(&mut self, redirects: Option<&ast::RedirectList>, depth: usize) -> Result<(), ShellError> {
        redirects.iter().flat_map(|list| &list.0).try_for_each(|redirect| self.redirect(redirect, depth))
    }

    fn redirect(&mut self, redirect: &IoRedirect, depth: usize) -> Result<(), ShellError> {
        match redirect {
            IoRedirect::File(_, _, IoFileRedirectTarget::ProcessSubstitution(_, subshell)) => {
                self.list(&subshell.list, depth)
            }
            IoRedirect::File(
                _,
                _,
                IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word),
            )
            | IoRedirect::HereString(_, word)
            | IoRedirect::OutputAndError(word, _) => self.word_text(&word.value, depth),
            IoRedirect::File(_, _, IoFileRedirectTarget::Fd(_)) => Ok(()),
            IoRedirect::HereDocument(_, document) if document.requires_expansion => {
                let pieces = brush_parser::word::parse_heredoc(&document.doc.value, &self.options)
                    .map_err(|error| ShellError::Syntax(error.to_string()))?;
                self.pieces(&pieces, &mut String::new(), Quoted::Double, depth)?;
                self.within_expansions(&document.doc.value, depth)
            }
            IoRedirect::HereDocument(..) => Ok(()),
        }
    }

    fn test(&mut self, test: &ExtendedTestExpr, depth: usize) -> Result<(), ShellError> {
        match test {
            ExtendedTestExpr::And(left, right) | ExtendedTestExpr::Or(left, right) => {
                self.test(left, depth)?;
                self.test(right, depth)
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.test(inner, depth),
            ExtendedTestExpr::UnaryTest(_, word) => self.word_text(&word.value, depth),
            ExtendedTestExpr::BinaryTest(_, left, right) => {
                self.word_text(&left.value, depth)?;
                self.word_text(&right.value, depth)
            }
        }
    }

    /// Reads a word for what it starts, and not for what it is.
    fn word_text(&mut self, raw: &str, depth: usize) -> Result<(), ShellError> {
        let mut unused = Vec::new();
        self.word(raw, &mut unused, depth)
    }

    /// Reads a word: what it is, if that can be told beforehand, and what its substitutions start.
    fn word(&mut self, raw: &str, words: &mut Vec<Word>, depth: usize) -> Result<(), ShellError> {
        let pieces = brush_parser::word::parse(raw, &self.options)
            .map_err(|error| ShellError::Syntax(error.to_string()))?;
        let mut text = String::new();
        let known = self.pieces(&pieces, &mut text, Quoted::No, depth)?;
        self.within_expansions(raw, depth)?;
        words.push(if known == Knowledge::Whole { Word::Known(text) } else { Word::Unknown(raw.to_owned()) });
        Ok(())
    }

    fn pieces(
        &mut self,
        pieces: &[WordPieceWithSource],
        text: &mut String,
        quoted: Quoted,
        depth: usize,
    ) -> Result<Knowledge, ShellError> {
        let mut known = Knowledge::Whole;
        for piece in pieces {
            match &piece.piece {
                WordPiece::Text(plain) => {
                    text.push_str(plain);
                    if quoted == Quoted::No && plain.contains(['*', '?', '[', '{']) {
                        known = Knowledge::Partial;
                    }
                }
                WordPiece::SingleQuotedText(plain) => text.push_str(plain),
                WordPiece::EscapeSequence(escaped) => {
                    text.push_str(escaped.strip_prefix('\\').unwrap_or(escaped).trim_start_matches('\n'));
                }
                WordPiece::AnsiCQuotedText(escaped) => {
                    text.push_str(escaped);
                    if escaped.contains('\\') {
                        known = Knowledge::Partial;
                    }
                }
                WordPiece::DoubleQuotedSequence(inner) | WordPiece::GettextDoubleQuotedSequence(inner) => {
                    if self.pieces(inner, text, Quoted::Double, depth)? == Knowledge::Partial {
                        known = Knowledge::Partial;
                    }
                }
                WordPiece::CommandSubstitution(inner) => {
                    known = Knowledge::Partial;
                    self.text(inner, depth + 1)?;
                }
                WordPiece::BackquotedCommandSubstitution(inner) => {
                    known = Knowledge::Partial;
                    self.text(&unescaped_backquotes(inner), depth + 1)?;
                }
                WordPiece::ParameterExpansion(_)
                | WordPiece::ArithmeticExpression(_)
                | WordPiece::TildeExpansion(_) => known = Knowledge::Partial,
            }
        }
        Ok(known)
    }

    /// Reads what `${x:-$(…)}` and `$(( $(…) ))` start: the same word without what makes it an expansion.
    fn within_expansions(&mut self, raw: &str, depth: usize) -> Result<(), ShellError> {
        let expands = raw.contains("${") || raw.contains("$((");
        if !expands || !(raw.contains('`') || raw.matches("$(").count() > raw.matches("$((").count()) {
            return Ok(());
        }
        let opened = raw.replace("${", "").replace("$((", "");
        let pieces = brush_parser::word::parse(&opened, &self.options)
            .map_err(|error| ShellError::Syntax(error.to_string()))?;
        self.pieces(&pieces, &mut String::new(), Quoted::No, depth).map(|_| ())
    }
}

/// How deep brackets, braces and quotes of substitution may stand in a text at most: a bound for the parser,
/// which calls itself.
fn nesting(text: &str) -> usize {
    let mut deepest = 0_usize;
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The text between backquotes as the shell then reads it: `\\`, `` \` `` and `\$` lose their backslash.
fn unescaped_backquotes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some('\\' | '`' | '$')) => plain.extend(rest.next()),
            (c, _) => plain.push(c),
        }
    }
    plain
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoted {
    No,
    Double,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    Whole,
    Partial,
}

#[cfg(test)]
mod tests {
    use super::{ShellError, Word, invocations};

    fn told(text: &str) -> Vec<String> {
        let told = |word: &Word| match word {
            Word::Known(text) => text.clone(),
            Word::Unknown(text) => format!("<{text}>"),
        };
        invocations(text)
            .unwrap()
            .iter()
            .map(|invocation| invocation.words.iter().map(told).collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn every_command_of_a_text_is_found() {
        for (text, commands) in [
            ("a", &["a"][..]),
            ("a; b && c || d | e & f\ng", &["a", "b", "c", "d", "e", "f", "g"]),
            ("( a ) ; { b; }", &["a", "b"]),
            ("if a; then b; elif c; then d; else e; fi", &["a", "b", "c", "d", "e"]),
            ("for x in $(a) b; do c; done", &["a", "c"]),
            ("while a; do b; done; until c; do d; done", &["a", "b", "c", "d"]),
            ("case $(a) in x) b ;; *) c ;; esac", &["a", "b", "c"]),
            ("! a", &["a"]),
            ("X=1 Y=$(b) a", &["b", "a"]),
            ("X=1", &[]),
            ("a > $(b) < f 2>&1", &["b", "a"]),
            ("a <(b) >(c)", &["b", "c", "a <<(…)> <<(…)>"]),
            ("a $(b $(c))", &["c", "b <$(c)>", "a <$(b $(c))>"]),
            ("a `b \\`c\\``", &["c", "b <`c`>", "a <`b \\`c\\``>"]),
            ("a \"x $(b)\"", &["b", "a <\"x $(b)\">"]),
            ("a ${x:-$(b)}", &["b", "a <${x:-$(b)}>"]),
            ("echo $((1 + $(b)))", &["b", "echo <$((1 + $(b)))>"]),
            ("a <<E\n$(b)\nE\n", &["b", "a"]),
            ("a <<'E'\n$(b)\nE\n", &["a"]),
            ("a <<< $(b)", &["b", "a"]),
            ("f() { a; }; f x", &["a"]),
            ("[[ -n $(a) ]]", &["a"]),
            ("time a", &["a"]),
            ("# a\nb # c", &["b"]),
        ] {
            assert_eq!(told(text), commands, "{text:?}");
        }
    }

    #[test]
    fn quotes_are_read_as_the_shell_reads_them() {
        for (text, command) in [
            (r#"g"i"t p'us'h"#, "git push"),
            (r"\git pu\sh", "git push"),
            ("git 'a b' \"c d\"", "git a b c d"),
            ("git *.rs", "git <*.rs>"),
            ("git '*.rs'", "git *.rs"),
            ("git $x", "git <$x>"),
            ("$x push", "<$x> push"),
            ("git ~/x", "git <~/x>"),
        ] {
            assert_eq!(told(text), [command], "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert!(matches!(invocations("if a"), Err(ShellError::Syntax(_))));
        assert_eq!(invocations(&"$(".repeat(10_000)), Err(ShellError::TooDeep));
        assert_eq!(invocations(&"(".repeat(100_000)), Err(ShellError::TooDeep));
    }
}
