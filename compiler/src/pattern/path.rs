//! Patterns of paths.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{shown, unknown_variable};
use super::variable::{leading_name, lone_dollar};
use super::{Glob, ItemError, Scope, ValuePart, Variable, brace, glob};
use crate::diagnostic::Code;

/// A pattern of paths: it covers what it matches and everything beneath. Braces are expanded before, so one
/// item of a policy may give several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PathPattern {
    /// Where it begins.
    pub root: Root,
    /// What follows, from there down.
    pub components: Vec<Component>,
}

/// Where a path pattern begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// `/`: a path of the machine's own.
    Slash,
    /// `**/`: anywhere.
    Anywhere,
    /// `~`, `$name`: the value of a variable, literally.
    Variable(Variable),
}

/// One component of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// Exactly this name.
    Literal(String),
    /// `**`: any number of names, zero too.
    AnyDepth,
    /// A name with `*`, `?` or `[…]` in it.
    Glob(Glob),
}

impl Component {
    /// The name, if it stands for exactly one.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self {
            Component::Literal(name) => Some(name),
            Component::AnyDepth | Component::Glob(_) => None,
        }
    }
}

impl PathPattern {
    /// Reads a path item; braces make it several patterns, at most 1,000.
    ///
    /// The result is in one form: no `//`, no `.`, no `..`, no slash and no `**` at the end (a pattern covers
    /// what is beneath anyway), a class of one character as that character.
    ///
    /// # Errors
    /// What makes it no path pattern, with the repair.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<Vec<PathPattern>, ItemError> {
        if let Some(after) = text.strip_prefix("${") {
            return Err(lone_dollar(0, text.get(1..).unwrap_or(after)));
        }
        let alternatives = brace::expand(text)?;
        if alternatives.len() == 1 {
            return Ok(vec![parse_one(text, scope)?]);
        }
        let one = |text: &String| parse_one(text, scope);
        alternatives.iter().map(one).collect::<Result<_, _>>().map_err(|error| error.about_all(text))
    }

    /// Whether the pattern names just one path once its variable has a value.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.root != Root::Anywhere && self.components.iter().all(|c| matches!(c, Component::Literal(_)))
    }
}

fn parse_one(text: &str, scope: &dyn Scope) -> Result<PathPattern, ItemError> {
    let mut pattern = PathPattern { root: Root::Slash, components: Vec::new() };
    let end = text.find('/').unwrap_or(text.len());
    let head = text.get(..end).unwrap_or("");
    match head {
        "" if end < text.len() => {}
        "**" => pattern.root = Root::Anywhere,
        "~" => pattern.root = Root::Variable(Variable::Home),
        _ if head.starts_with('$') && !head.starts_with("$$") => {
            begin_with_variable(&mut pattern, head, scope)?
        }
        _ if head.starts_with('~') => {
            return Err(ItemError::new(
                Code::RelativePath,
                0..end,
                format!("`{}` does not name a home directory", shown(head)),
            )
            .help("`~` stands alone for the person's own home; write another's from `/`"));
        }
        _ => return Err(relative(text, head)),
    }
    pattern.read_components(text, end + 1)?;
    if pattern.root == Root::Anywhere && pattern.components.is_empty() {
        pattern.root = Root::Slash;
    }
    Ok(pattern)
}

/// Reads the path of a request, which begins with `/` and holds no braces.
pub(super) fn parse_absolute(text: &str) -> Result<Vec<Component>, ItemError> {
    let mut pattern = PathPattern { root: Root::Slash, components: Vec::new() };
    pattern.read_components(text, 1)?;
    Ok(pattern.components)
}

/// The bytes up to the next slash.
fn component_length(rest: &str) -> usize {
    rest.find('/').unwrap_or(rest.len())
}

/// Puts a leading variable in: a built-in one or the environment's stays, the value of a `let` is literal text.
fn begin_with_variable(pattern: &mut PathPattern, head: &str, scope: &dyn Scope) -> Result<(), ItemError> {
    let name = leading_name(head.get(1..).unwrap_or(""));
    if name.is_empty() {
        return Err(lone_dollar(0, head.get(1..).unwrap_or("")));
    }
    let all = 0..head.len();
    let value = scope.lookup(name).ok_or_else(|| unknown_variable(name, 0..name.len() + 1, scope))?;
    if name.len() + 1 != head.len() {
        return Err(ItemError::new(
            Code::VariablePlace,
            all,
            format!("a variable is a whole component of a path, and `{}` is none", shown(head)),
        )
        .help(format!("write `${name}/…`, or `$$` for a dollar")));
    }
    let unusable = |why: &str| {
        ItemError::new(Code::VariableValue, all.clone(), format!("`${name}` begins no path: {why}"))
            .help("in a path a value is absolute, without `..`, and not `/`")
    };
    let mut parts = value.0.as_slice();
    if let [ValuePart::Variable(variable), rest @ ..] = parts {
        if *variable == Variable::User {
            return Err(unusable("`$user` is a name, not a path"));
        }
        pattern.root = Root::Variable(variable.clone());
        parts = rest;
    }
    let literal = match parts {
        [] => "",
        [ValuePart::Text(text)] if text.starts_with('/') => text,
        [ValuePart::Text(_)] if pattern.root == Root::Slash => {
            return Err(unusable("its value is not absolute"));
        }
        [ValuePart::Text(_)] => return Err(unusable("in its value a `/` must follow the variable")),
        _ => return Err(unusable("its value holds a variable that is not at its beginning")),
    };
    if literal.contains(['\n', '\r', '\0']) {
        return Err(unusable("its value holds a line end or a NUL character"));
    }
    for name in literal.split('/') {
        match name {
            "" | "." => {}
            ".." => return Err(unusable("its value holds `..`")),
            name => pattern.components.push(Component::Literal(name.to_owned())),
        }
    }
    if pattern.root == Root::Slash && pattern.components.is_empty() {
        return Err(unusable("its value is empty or `/`, which counts as no value"));
    }
    Ok(())
}

impl PathPattern {
    /// Adds the components that are written from a byte of the item on.
    fn read_components(&mut self, text: &str, mut start: usize) -> Result<(), ItemError> {
        while let Some(rest) = text.get(start..) {
            let length = component_length(rest);
            self.add(rest.get(..length).unwrap_or(""), start)?;
            start += length + 1;
        }
        while self.components.last() == Some(&Component::AnyDepth) {
            self.components.pop();
        }
        Ok(())
    }

    /// Adds the component that is written at a byte of the item.
    fn add(&mut self, text: &str, at: usize) -> Result<(), ItemError> {
        let component = match text {
            "" | "." => return Ok(()),
            ".." => return self.go_up(at),
            "**" if self.root == Root::Anywhere && self.components.is_empty() => return Ok(()),
            "**" if self.components.last() == Some(&Component::AnyDepth) => return Ok(()),
            "**" => Component::AnyDepth,
            _ => {
                refuse_glued_stars(text, at)?;
                let glob = Glob::parse(text).map_err(|error| {
                    let is_variable =
                        error.code == Code::VariablePlace && error.help.iter().any(|h| h.contains("dollar"));
                    let error = error.moved(at);
                    if is_variable {
                        error.help("a variable stands only at the beginning of a path")
                    } else {
                        error
                    }
                })?;
                match glob.as_literal() {
                    Some("." | "..") => {
                        return Err(ItemError::new(
                            Code::BadPathPattern,
                            at..at + text.len(),
                            format!("`{}` is a name that no file has", shown(text)),
                        ));
                    }
                    Some(name) => Component::Literal(name.to_owned()),
                    None => Component::Glob(glob),
                }
            }
        };
        self.components.push(component);
        Ok(())
    }

    fn go_up(&mut self, at: usize) -> Result<(), ItemError> {
        let literal = self.components.iter().all(|c| matches!(c, Component::Literal(_)));
        if self.root == Root::Slash && literal {
            self.components.pop();
            return Ok(());
        }
        let what = if literal && self.root != Root::Anywhere { "a variable" } else { "a wildcard" };
        Err(ItemError::new(
            Code::ParentDirectory,
            at..at + 2,
            format!("`..` after {what} names no certain directory"),
        )
        .help("write the directory itself"))
    }
}

/// Refuses `**` that is glued to other characters: it would mean no more than `*`.
fn refuse_glued_stars(text: &str, at: usize) -> Result<(), ItemError> {
    let mut from = 0;
    while let Some(c) = text.get(from..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(from..).unwrap_or("");
        if rest.starts_with("**") {
            return Err(ItemError::new(
                Code::BadPathPattern,
                at + from..at + from + 2,
                "`**` stands alone between slashes",
            )
            .help("`*` matches within a name, `**/` any directories above it"));
        }
        from = if c == '[' { glob::class_end(text, from).unwrap_or(from + 1) } else { from + c.len_utf8() };
    }
    Ok(())
}

fn relative(text: &str, head: &str) -> ItemError {
    if text.is_empty() {
        return ItemError::new(Code::RelativePath, 0..0, "a path cannot be empty")
            .help("write a path that starts with `/`, `~`, a variable or `**/`");
    }
    let error = ItemError::new(
        Code::RelativePath,
        0..text.len(),
        format!("`{}` is relative, and a policy has no directory to start from", shown(text)),
    );
    let mut rest = text;
    while let Some(shorter) = rest.strip_prefix("./") {
        rest = shorter.trim_start_matches('/');
    }
    if head == ".." || rest.starts_with("..") {
        return error.help("write the path from `/`, `~` or a variable");
    }
    if rest == "." || rest.is_empty() {
        return error.instead("$cwd");
    }
    error
        .help(format!("write `$cwd/{}` for the one in the directory the command starts in", shown(rest)))
        .help(format!("write `**/{}` for every one, wherever it lies", shown(rest)))
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Slash if self.components.is_empty() => f.write_str("/")?,
            Root::Slash => {}
            Root::Anywhere => f.write_str("**")?,
            Root::Variable(Variable::Home) => f.write_str("~")?,
            Root::Variable(variable) => write!(f, "{variable}")?,
        }
        for component in &self.components {
            write!(f, "/{component}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::Literal(name) => glob::write_literal(f, name),
            Component::AnyDepth => f.write_str("**"),
            Component::Glob(glob) => write!(f, "{glob}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    fn parse(text: &str) -> Result<Vec<String>, ItemError> {
        Ok(PathPattern::parse(text, &scope())?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn paths_are_read_into_one_form() {
        for (written, meant) in [
            ("/", "/"),
            ("//a/./b/", "/a/b"),
            ("/a/../b", "/b"),
            ("/..", "/"),
            ("/a/**", "/a"),
            ("/a/**/**/b", "/a/**/b"),
            ("**", "/"),
            ("**/**/x", "**/x"),
            ("**/", "/"),
            ("~", "~"),
            ("~/", "~"),
            ("$home/x", "~/x"),
            ("$cwd/*.rs", "$cwd/*.rs"),
            ("$SSH_AUTH_SOCK", "$SSH_AUTH_SOCK"),
            ("$state/x", "~/.local/state/agent/x"),
            ("$odd/*", "/srv/[*]x/*"),
            ("/a[b]c/[[]", "/abc/[[]"),
            ("/$$x/y$$", "/$$x/y$$"),
            ("/back\\slash", "/back[\\]slash"),
            ("/a b/'", "/a b/'"),
        ] {
            assert_eq!(parse(written).unwrap_or_else(|e| panic!("{written}: {e:?}")), [meant], "{written}");
            assert_eq!(parse(meant).unwrap(), [meant]);
        }
        assert_eq!(parse("{~,$cwd}/{a,b}").unwrap(), ["~/a", "~/b", "$cwd/a", "$cwd/b"]);
    }

    #[test]
    fn what_is_no_path_is_told_with_its_repair() {
        for (text, code, help) in [
            (".env", Code::RelativePath, "write `$cwd/.env` for"),
            ("./x", Code::RelativePath, "write `**/x` for"),
            (".", Code::RelativePath, "write `$cwd`"),
            ("../x", Code::RelativePath, "from `/`"),
            ("", Code::RelativePath, "starts with `/`"),
            ("~ada/x", Code::RelativePath, "another's from `/`"),
            ("$$x", Code::RelativePath, "$cwd/$$x"),
            ("$cwd/../x", Code::ParentDirectory, "the directory itself"),
            ("/*/../x", Code::ParentDirectory, "the directory itself"),
            ("$cwdd/x", Code::UnknownVariable, "did you mean `$cwd`?"),
            ("$cwd.bak/x", Code::VariablePlace, "write `$cwd/…`"),
            ("${cwd}/x", Code::VariablePlace, "without braces: `$cwd`"),
            ("/a/$cwd", Code::VariablePlace, "only at the beginning"),
            ("/a/**.rs", Code::BadPathPattern, "`*` matches within"),
            ("/a/[.].", Code::BadPathPattern, ""),
            ("$user/x", Code::VariableValue, "absolute"),
            ("$name/x", Code::VariableValue, "absolute"),
            ("{/a,b}", Code::RelativePath, "$cwd/b"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, code, "{text}: {error:?}");
            assert!(help.is_empty() || error.help.iter().any(|h| h.contains(help)), "{text}: {error:?}");
            assert!(error.range.end <= text.len(), "{text}: {error:?}");
        }
    }
}
