//! Variables, which stay symbolic until a policy is lowered or asked in a world.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::unknown_variable;
use super::{ItemError, Scope};
use crate::diagnostic::Code;
use crate::source::SourceId;

/// A variable of the language. `let` names are gone by then: resolving puts their values in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variable {
    /// `$cwd`: the directory the command starts in.
    Cwd,
    /// `$git_root`: the repository that holds it; no value outside one.
    GitRoot,
    /// `$git_common`: what git needs outside `$git_root`, of a linked worktree or a submodule; no value elsewhere.
    GitCommon,
    /// `$workspace`: `$git_root`, or else `$cwd`.
    Workspace,
    /// `$home`, `~`.
    Home,
    /// `$tmp`: a directory of this run alone.
    Tmp,
    /// `$user`: the person's name.
    User,
    /// `$policy_dir`: the directory of the file that this text stands in.
    PolicyDir(SourceId),
    /// An upper-case name: the caller's environment variable.
    Environment(String),
}

impl Variable {
    /// The name as it is written, without `$`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Variable::Cwd => "cwd",
            Variable::GitRoot => "git_root",
            Variable::GitCommon => "git_common",
            Variable::Workspace => "workspace",
            Variable::Home => "home",
            Variable::Tmp => "tmp",
            Variable::User => "user",
            Variable::PolicyDir(_) => "policy_dir",
            Variable::Environment(name) => name,
        }
    }
}

impl Variable {
    /// Whether having no value is ordinary: an item that closes is about nothing then, and that is no error.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self, Variable::GitRoot | Variable::GitCommon)
    }

    /// The value it has among these; `$workspace` without one is `$git_root`, or else `$cwd`.
    #[must_use]
    pub fn value<'a>(&self, values: &'a BTreeMap<Variable, Vec<u8>>) -> Option<&'a [u8]> {
        let own = values.get(self);
        let derived = match self {
            Variable::Workspace => values.get(&Variable::GitRoot).or_else(|| values.get(&Variable::Cwd)),
            _ => None,
        };
        own.or(derived).map(Vec::as_slice).filter(|value| !value.is_empty())
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.name())
    }
}

/// The variables that every text has: the built-in ones and the caller's environment. A text's own scope
/// asks it for what no `let` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltInScope {
    /// The text whose directory `$policy_dir` is.
    pub source: SourceId,
}

impl Scope for BuiltInScope {
    fn lookup(&self, name: &str) -> Option<Value> {
        let variable = match name {
            "cwd" => Variable::Cwd,
            "git_root" => Variable::GitRoot,
            "git_common" => Variable::GitCommon,
            "workspace" => Variable::Workspace,
            "home" => Variable::Home,
            "tmp" => Variable::Tmp,
            "user" => Variable::User,
            "policy_dir" => Variable::PolicyDir(self.source),
            name if is_environment_name(name) => Variable::Environment(name.to_owned()),
            _ => return None,
        };
        Some(Value(vec![ValuePart::Variable(variable)]))
    }

    fn names(&self) -> Vec<String> {
        ["cwd", "git_common", "git_root", "home", "policy_dir", "tmp", "user", "workspace"]
            .map(str::to_owned)
            .to_vec()
    }
}

/// Whether a variable's name is one of the caller's environment: upper case, digits, `_`.
fn is_environment_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// The name at the beginning of a text that follows a `$`; empty where none begins.
pub(crate) fn leading_name(text: &str) -> &str {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if begins { text.get(..end).unwrap_or("") } else { "" }
}

/// A text with variables in it, as in `set env NAME = "$home/x"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Value(pub Vec<ValuePart>);

/// A part of a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ValuePart {
    /// Literal text.
    Text(String),
    /// The value of a variable.
    Variable(Variable),
}

impl Value {
    /// Reads a value: `~` at its beginning, `$name` anywhere, `$$` for a dollar; nothing in it is a pattern.
    ///
    /// # Errors
    /// A variable that is not known, or a `$` that begins none.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<Value, ItemError> {
        let mut value = Value(Vec::new());
        let mut at = 0;
        if text == "~" || text.starts_with("~/") {
            value.0.push(ValuePart::Variable(Variable::Home));
            at = 1;
        }
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(dollar) = rest.find('$') else {
                value.push_text(rest);
                break;
            };
            value.push_text(rest.get(..dollar).unwrap_or(""));
            at += dollar;
            let after = rest.get(dollar + 1..).unwrap_or("");
            if after.starts_with('$') {
                value.push_text("$");
                at += 2;
                continue;
            }
            let name = leading_name(after);
            if name.is_empty() {
                return Err(lone_dollar(at, after));
            }
            let end = at + 1 + name.len();
            let found = scope.lookup(name).ok_or_else(|| unknown_variable(name, at..end, scope))?;
            for part in found.0 {
                match part {
                    ValuePart::Text(text) => value.push_text(&text),
                    variable @ ValuePart::Variable(_) => value.0.push(variable),
                }
            }
            at = end;
        }
        Ok(value)
    }

    /// The text, where no variable stands in it.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [ValuePart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|part| match part {
            ValuePart::Text(_) => None,
            ValuePart::Variable(variable) => Some(variable),
        })
    }

    /// The bytes it stands for, or the first of its variables that has no value.
    ///
    /// # Errors
    /// The variable without a value.
    pub fn bytes(&self, values: &BTreeMap<Variable, Vec<u8>>) -> Result<Vec<u8>, Variable> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                ValuePart::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                ValuePart::Variable(variable) => {
                    bytes.extend_from_slice(variable.value(values).ok_or_else(|| variable.clone())?);
                }
            }
        }
        Ok(bytes)
    }

    fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(ValuePart::Text(last)) => last.push_str(text),
            _ => self.0.push(ValuePart::Text(text.to_owned())),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            match part {
                ValuePart::Text(text) => f.write_str(&text.replace('$', "$$"))?,
                ValuePart::Variable(Variable::Home) if index == 0 && self.is_home_path() => write!(f, "~")?,
                ValuePart::Variable(variable) => write!(f, "{variable}")?,
            }
        }
        Ok(())
    }
}

impl Value {
    fn is_home_path(&self) -> bool {
        match self.0.get(1) {
            None => true,
            Some(ValuePart::Text(text)) => text.starts_with('/'),
            Some(ValuePart::Variable(_)) => false,
        }
    }
}

/// Makes the error for a `$` that begins no variable.
pub(crate) fn lone_dollar(at: usize, after: &str) -> ItemError {
    let error = ItemError::new(Code::VariablePlace, at..at + 1, "`$` begins no variable here");
    match after.strip_prefix('{').map(leading_name).filter(|name| !name.is_empty()) {
        Some(name) => error.help(format!("a variable is written without braces: `${name}`")),
        None => error.help("write `$$` for a dollar"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Value, ItemError> {
        Value::parse(text, &BuiltInScope { source: SourceId(0) })
    }

    #[test]
    fn values_hold_text_and_variables() {
        let home = || ValuePart::Variable(Variable::Home);
        let text = |text: &str| ValuePart::Text(text.to_owned());
        for (written, parts) in [
            ("", vec![]),
            ("~", vec![home()]),
            ("~/x", vec![home(), text("/x")]),
            ("~x", vec![text("~x")]),
            ("a$$b", vec![text("a$b")]),
            ("$home:$CI", vec![home(), text(":"), ValuePart::Variable(Variable::Environment("CI".into()))]),
            ("*[a]{b,c}", vec![text("*[a]{b,c}")]),
        ] {
            let value = parse(written).unwrap();
            assert_eq!(value, Value(parts), "{written}");
            assert_eq!(parse(&value.to_string()).unwrap(), value, "{written}");
        }
    }

    #[test]
    fn unknown_variables_are_told_with_the_nearest() {
        let error = parse("x$hmoe").unwrap_err();
        assert_eq!(error.code, Code::UnknownVariable);
        assert_eq!(error.range, 1..6);
        assert_eq!(error.help, ["did you mean `$home`?"]);
        assert_eq!(parse("a$ b").unwrap_err().code, Code::VariablePlace);
        assert_eq!(parse("${home}").unwrap_err().help, ["a variable is written without braces: `$home`"]);
    }
}
