//! Patterns of commands.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::shown;
use super::variable::leading_name;
use super::words::{Word, split, write_word};
use super::{Component, Glob, GlobPiece, ItemError, NamePattern, PathPattern, Scope};
use crate::diagnostic::Code;

/// A pattern of commands. As a closing pattern it is the beginning of a command, as an opening one the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct CommandPattern {
    /// The program.
    pub program: ProgramPattern,
    /// The words after it, without a last `...`.
    pub words: Vec<WordPattern>,
    /// Whether a last word `...` stands for any further words.
    pub open_ended: bool,
}

/// The program of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramPattern {
    /// `*` as the whole item: any program with any words.
    AnyCommand,
    /// A name, globs too.
    Name(NamePattern),
    /// A path.
    Path(PathPattern),
}

impl ProgramPattern {
    /// The name of the program, where it is written out.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            ProgramPattern::Name(name) => name.0.as_literal(),
            ProgramPattern::Path(path) => match path.components.last() {
                Some(Component::Literal(name)) => Some(name),
                _ => None,
            },
            ProgramPattern::AnyCommand => None,
        }
    }
}

/// A word of a command pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WordPattern {
    /// A word in its place.
    Positional(Glob),
    /// A word that begins with `-` or ends in `=`: it matches anywhere after the program.
    Anywhere(Glob),
}

impl WordPattern {
    /// The pattern of the word's text.
    #[must_use]
    pub fn glob(&self) -> &Glob {
        match self {
            WordPattern::Positional(glob) | WordPattern::Anywhere(glob) => glob,
        }
    }
}

impl CommandPattern {
    /// Reads a command: the program, then its words; `'…'` groups.
    ///
    /// # Errors
    /// What makes it no command.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<CommandPattern, ItemError> {
        let mut words = split(text)?;
        let open_ended = words.last().is_some_and(|word| word.text == "...");
        if open_ended {
            words.pop();
        }
        let [program, rest @ ..] = words.as_slice() else {
            let message =
                if open_ended { "`...` stands after a program" } else { "a command cannot be empty" };
            return Err(ItemError::new(Code::BadCommand, 0..text.len(), message)
                .help("write the program first, or `*` for any command"));
        };
        // Several stars in a name are as good as one.
        if !program.text.is_empty() && program.text.chars().all(|star| star == '*') && rest.is_empty() {
            return Ok(CommandPattern {
                program: ProgramPattern::AnyCommand,
                words: Vec::new(),
                open_ended: true,
            });
        }
        let program = read_program(program, scope).map_err(|error| in_word(error, program))?;
        let words = rest.iter().map(|word| read_word(word, scope).map_err(|error| in_word(error, word)));
        Ok(CommandPattern { program, words: words.collect::<Result<_, _>>()?, open_ended })
    }

    /// Whether it is one word, the name or path of a program: the kind of `run` rule that closes the file itself.
    #[must_use]
    pub fn is_one_word(&self) -> bool {
        self.words.is_empty() && self.program != ProgramPattern::AnyCommand
    }
}

/// Puts an error at the word it is about: quotes may have moved what is inside.
fn in_word(mut error: ItemError, word: &Word) -> ItemError {
    error.range = word.range.clone();
    error.replacement = None;
    error
}

fn read_program(word: &Word, scope: &dyn Scope) -> Result<ProgramPattern, ItemError> {
    let text = word.text.as_str();
    let error = |message: String| ItemError::new(Code::BadCommand, 0..text.len(), message);
    if text.is_empty() {
        return Err(error("the program's name is empty".into()).help("write the program first"));
    }
    if text == "..." {
        return Err(error("`...` stands only at the end".into()));
    }
    if let Some((name, _)) = text.split_once('=').filter(|_| !text.contains('/')) {
        return Err(error(format!("`{}` is no program", shown(text))).help(format!(
            "leave `{}=…` out: what a command is started with is not a part of it",
            shown(name)
        )));
    }
    if text.starts_with('-') {
        return Err(error(format!("`{}` is an option, and the first word is the program", shown(text))));
    }
    let variable = text.strip_prefix('$').map(leading_name).filter(|name| !name.is_empty());
    if let Some(name) = variable.filter(|name| name.len() + 1 == text.len())
        && let Some(value) = scope.lookup(name)
        && let Some(plain) = value.plain().filter(|plain| !plain.is_empty() && !plain.contains('/'))
    {
        return Ok(ProgramPattern::Name(NamePattern(Glob::literal(plain))));
    }
    if variable.is_none() && text != "~" && text != "**" && !text.contains('/') {
        return Ok(ProgramPattern::Name(NamePattern::parse(text, scope)?));
    }
    let mut patterns = PathPattern::parse(text, scope)?;
    match (patterns.pop(), patterns.is_empty()) {
        (Some(pattern), true) => Ok(ProgramPattern::Path(pattern)),
        _ => Err(error(format!("the braces of `{}` stand for several programs", shown(text)))
            .help("write one command for each")),
    }
}

fn read_word(word: &Word, scope: &dyn Scope) -> Result<WordPattern, ItemError> {
    let text = word.text.as_str();
    let error = |message: String| ItemError::new(Code::BadCommand, 0..text.len(), message);
    if text == "..." {
        return Err(error("`...` stands only at the end".into())
            .help("`*` stands for one word; a literal `...` is written `[.]..`"));
    }
    if let (Some(open), Some(comma)) = (text.find('{'), text.rfind(','))
        && open < comma
        && !text.get(..open).is_some_and(|before| before.ends_with('['))
    {
        return Err(error(format!(
            "braces in `{}` have no meaning: they are expanded in paths only",
            shown(text)
        ))
        .help("write one command for each alternative; a literal `{` is written `[{]`"));
    }
    let glob = Glob::parse_word(text, scope)?;
    let dash = matches!(glob.0.first(), Some(GlobPiece::Literal(text)) if text.starts_with('-'));
    let equals = matches!(glob.0.last(), Some(GlobPiece::Literal(text)) if text.ends_with('='));
    Ok(if dash || equals { WordPattern::Anywhere(glob) } else { WordPattern::Positional(glob) })
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.program {
            ProgramPattern::AnyCommand => return f.write_str("*"),
            ProgramPattern::Name(name) => write_name(f, &name.0)?,
            ProgramPattern::Path(path) => write_path(f, path)?,
        }
        for word in &self.words {
            f.write_str(" ")?;
            write_word(f, word.glob())?;
        }
        if self.open_ended { f.write_str(" ...") } else { Ok(()) }
    }
}

/// Writes a program's name, so that one with a dash in front is not read as an option.
fn write_name(f: &mut fmt::Formatter<'_>, name: &Glob) -> fmt::Result {
    let Some((GlobPiece::Literal(text), behind)) = name.0.split_first() else { return write_word(f, name) };
    let Some(rest) = text.strip_prefix('-') else { return write_word(f, name) };
    f.write_str("[-]")?;
    let rest = (!rest.is_empty()).then(|| GlobPiece::Literal(rest.to_owned()));
    let rest = Glob(rest.into_iter().chain(behind.iter().cloned()).collect());
    if rest.0.is_empty() { Ok(()) } else { write_word(f, &rest) }
}

/// Writes a path as one word of a command.
fn write_path(f: &mut fmt::Formatter<'_>, path: &PathPattern) -> fmt::Result {
    let text = path.to_string();
    let mut quoted = false;
    let mut out = String::with_capacity(text.len() + 2);
    let mut in_class_from: Option<usize> = None;
    for (at, c) in text.char_indices() {
        if c == '[' && in_class_from.is_none_or(|end| at >= end) {
            in_class_from = super::glob::class_end(&text, at);
        }
        let in_class = in_class_from.is_some_and(|end| at < end);
        match c {
            '\'' | '"' if !in_class => {
                if quoted {
                    out.push('\'');
                    quoted = false;
                }
                out.push('[');
                out.push(c);
                out.push(']');
            }
            c => {
                let needs = c.is_whitespace();
                if needs != quoted && (needs || !in_class) {
                    out.push('\'');
                    quoted = needs;
                }
                out.push(c);
            }
        }
    }
    if quoted {
        out.push('\'');
    }
    f.write_str(&out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    fn parse(text: &str) -> Result<CommandPattern, ItemError> {
        CommandPattern::parse(text, &scope())
    }

    #[test]
    fn commands_are_read_into_one_form() {
        for (written, meant) in [
            ("git push", "git push"),
            ("  git\tpush  ", "git push"),
            ("*", "*"),
            ("* ...", "*"),
            ("***", "*"),
            ("**", "*"),
            ("[-]", "[-]"),
            ("[-]x* y", "[-]x* y"),
            ("* push", "* push"),
            ("mkfs.*", "mkfs.*"),
            ("dd if=", "dd if="),
            ("docker run -v /:/", "docker run -v /:/"),
            ("git commit -m 'a b' ''", "git commit -m a' 'b ''"),
            ("cargo test ...", "cargo test ..."),
            ("echo [.]..", "echo [.].."),
            ("/usr/bin/git push", "/usr/bin/git push"),
            ("'/opt/a b/c' x", "/opt/a' 'b/c x"),
            ("~/bin/x", "~/bin/x"),
            ("$workspace/run.sh", "$workspace/run.sh"),
            ("$name push", "git push"),
            ("find [{]} ;", "find [{]} ;"),
            ("echo it[']s [\"]", "echo it[']s [\"]"),
            ("[[] -f", "[[] -f"),
        ] {
            let pattern = parse(written).unwrap_or_else(|e| panic!("{written}: {e:?}"));
            assert_eq!(pattern.to_string(), meant, "{written}");
            assert_eq!(parse(meant).unwrap(), pattern, "{written}");
        }
    }

    #[test]
    fn options_and_assignments_match_anywhere() {
        let words = parse("x --a b c= -").unwrap().words;
        let kinds: Vec<bool> = words.iter().map(|w| matches!(w, WordPattern::Anywhere(_))).collect();
        assert_eq!(kinds, [true, false, true, true]);
    }

    #[test]
    fn what_is_no_command_is_told() {
        for (text, code) in [
            ("", Code::BadCommand),
            ("...", Code::BadCommand),
            ("''", Code::BadCommand),
            ("git ... push", Code::BadCommand),
            ("git 'push", Code::BadCommand),
            ("git \"a b\"", Code::BadCommand),
            ("git a\\ b", Code::BadCommand),
            ("A=1 git push", Code::BadCommand),
            ("--force", Code::BadCommand),
            ("gh pr {create,merge}", Code::BadCommand),
            ("/usr/{bin,sbin}/x", Code::BadCommand),
            ("./x", Code::RelativePath),
            ("bin/x", Code::RelativePath),
            ("git $nothing", Code::UnknownVariable),
            ("git $home", Code::VariableValue),
            ("[ -f", Code::BadPathPattern),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, code, "{text}: {error:?}");
            assert!(error.range.end <= text.len(), "{text}");
        }
    }
}
