//! Patterns of what an `ssh` may be asked to do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommandPattern, HostPattern, ItemError, ProgramPattern, Root, Scope};
use crate::diagnostic::Code;

/// An item of `ssh`: `HOST` or `HOST COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SshPattern {
    /// The host.
    pub host: HostPattern,
    /// The remote command; `None`: any, and a login shell.
    pub command: Option<CommandPattern>,
}

impl SshPattern {
    /// Reads `HOST` or `HOST COMMAND`.
    ///
    /// # Errors
    /// What makes it no such item.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<SshPattern, ItemError> {
        let trimmed = text.trim();
        let at = text.len() - text.trim_start().len();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let (host, command) = trimmed.split_at(end);
        let host = HostPattern::parse(host, scope).map_err(|mut error| {
            error.replacement = error.replacement.map(|host| format!("{host}{command}"));
            error.moved(at)
        })?;
        if command.is_empty() {
            return Ok(SshPattern { host, command: None });
        }
        let from = at + end;
        let command = CommandPattern::parse(command, scope).map_err(|error| error.moved(from))?;
        if let ProgramPattern::Path(path) = &command.program
            && matches!(path.root, Root::Variable(_))
        {
            return Err(ItemError::new(
                Code::VariablePlace,
                from..text.len(),
                "the program lies on the other machine, and a variable stands for a path of this one",
            )
            .help("write the path from `/`, or the program's name alone"));
        }
        Ok(SshPattern { host, command: Some(command) })
    }
}

impl fmt::Display for SshPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.command {
            None => write!(f, "{}", self.host),
            Some(command) => write!(f, "{} {command}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    #[test]
    fn hosts_with_and_without_a_command_are_read() {
        for (written, meant) in [
            ("*", "*"),
            ("* *", "* *"),
            ("GitHub.com", "github.com"),
            (" build.example.org  make  all ", "build.example.org make all"),
            ("10.0.0.0/8 uptime", "10.0.0.0/8 uptime"),
            ("::1 /bin/ls ...", "::1 /bin/ls ..."),
        ] {
            let pattern = SshPattern::parse(written, &scope()).unwrap_or_else(|e| panic!("{written}: {e:?}"));
            assert_eq!(pattern.to_string(), meant);
            assert_eq!(SshPattern::parse(meant, &scope()).unwrap(), pattern);
        }
    }

    #[test]
    fn what_is_no_ssh_item_is_told() {
        for (text, code, replacement) in [
            ("", Code::BadHost, None),
            ("git@github.com", Code::NotOnlyAHost, Some("github.com")),
            ("git@github.com ls", Code::NotOnlyAHost, Some("github.com ls")),
            ("h:22 ls", Code::BadPort, Some("h ls")),
            ("h ~/bin/x", Code::VariablePlace, None),
            ("h ...", Code::BadCommand, None),
        ] {
            let error = SshPattern::parse(text, &scope()).unwrap_err();
            assert_eq!((error.code, error.replacement.as_deref()), (code, replacement), "{text}: {error:?}");
            assert!(error.range.end <= text.len(), "{text}");
        }
    }
}
