//! Questions as a person writes them: the action and one concrete item, in a test or for `fence why`.

use fence_grammar::tree::Action;

use crate::diagnostic::Code;
use crate::pattern::{
    ConnectPattern, DomainName, HostPattern, HttpPattern, ItemError, PathPattern, Scope, Value, ValuePart,
    Variable, error,
};
use crate::policy::{NameAction, PathAction, SymbolicQuestion};
use crate::question::{Destination, Question, Start};

impl SymbolicQuestion {
    /// Reads a question; `item` is `None` for `tty` only.
    ///
    /// # Errors
    /// What makes the item no concrete one: a pattern, a missing port, a relative path.
    pub fn parse(
        action: Action,
        item: Option<&str>,
        scope: &dyn Scope,
    ) -> Result<SymbolicQuestion, ItemError> {
        let Some(text) = item else {
            return match action {
                Action::Tty => Ok(SymbolicQuestion::Plain(Question::Tty)),
                _ => Err(bad("", "a question needs one item".into())),
            };
        };
        let path = |action| read_path(action, text, scope);
        let name = |action| read_name(action, text, scope);
        match action {
            Action::Read => path(PathAction::Read),
            Action::Write => path(PathAction::Write),
            Action::Exec => path(PathAction::Exec),
            Action::Socket => path(PathAction::Socket),
            Action::Device => path(PathAction::Device),
            Action::Run => Ok(SymbolicQuestion::Plain(Question::Run(read_start(text, scope)?))),
            Action::Connect => {
                Ok(SymbolicQuestion::Plain(Question::Connect(read_destination(text, None, scope)?)))
            }
            Action::Http => read_request(text, scope),
            Action::Listen => match text.parse::<u16>() {
                Ok(port) if port > 0 => Ok(SymbolicQuestion::Plain(Question::Listen(port))),
                _ => Err(bad(text, format!("`{}` is not one port", error::shown(text)))),
            },
            Action::Ssh => read_ssh(text, scope),
            Action::Env => name(NameAction::Env),
            Action::Syscall => name(NameAction::Syscall),
            Action::MachLookup => name(NameAction::MachLookup),
            Action::MachRegister => name(NameAction::MachRegister),
            Action::IoKit => name(NameAction::IoKit),
            Action::Tty => Err(bad(text, "`tty` has no item".into())),
        }
    }
}

fn bad(text: &str, message: String) -> ItemError {
    ItemError::new(Code::BadQuestion, 0..text.len(), message)
}

fn read_path(action: PathAction, text: &str, scope: &dyn Scope) -> Result<SymbolicQuestion, ItemError> {
    if text.contains('*') {
        return Err(bad(
            text,
            format!("`{}` is a pattern, and a question is about one path", error::shown(text)),
        )
        .help("write one path that the pattern would match"));
    }
    let value = Value::parse(text, scope)?;
    let absolute = match value.0.as_slice() {
        [ValuePart::Text(text), ..] => text.starts_with('/'),
        [ValuePart::Variable(_), ValuePart::Text(text), ..] => text.starts_with('/'),
        [ValuePart::Variable(_)] => true,
        _ => false,
    };
    if !absolute {
        // The item of a rule has the same error, with the same repair.
        let told = PathPattern::parse(text, scope).err();
        return Err(told.unwrap_or_else(|| bad(text, format!("`{}` is not absolute", error::shown(text)))));
    }
    let up = value
        .0
        .iter()
        .any(|part| matches!(part, ValuePart::Text(text) if text.split('/').any(|name| name == "..")));
    if up || value.0.contains(&ValuePart::Variable(Variable::User)) && value.0.len() == 1 {
        return Err(bad(
            text,
            format!("`{}` holds `..`, and a question is about one certain path", error::shown(text)),
        ));
    }
    Ok(SymbolicQuestion::Path { action, path: value })
}

fn read_name(action: NameAction, text: &str, scope: &dyn Scope) -> Result<SymbolicQuestion, ItemError> {
    let name = plain(text, scope)?;
    if name.is_empty() || name.contains(['*', ' ', '\t', '\n']) {
        return Err(bad(text, format!("`{}` is not one name", error::shown(text))));
    }
    Ok(SymbolicQuestion::Plain(Question::Name { action, name }))
}

/// A text without variables of the machine.
fn plain(text: &str, scope: &dyn Scope) -> Result<String, ItemError> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let value = Value::parse(text, scope)?;
    value.plain().map(str::to_owned).ok_or_else(|| {
        ItemError::new(
            Code::VariableValue,
            0..text.len(),
            format!("`{}` is not known without a machine", error::shown(text)),
        )
        .help("in a question only a path can begin with a variable; write `$$` for a dollar")
    })
}

fn read_words(text: &str, scope: &dyn Scope) -> Result<Vec<String>, ItemError> {
    let words = shlex::split(text)
        .ok_or_else(|| bad(text, format!("in `{}` a quote is not closed", error::shown(text))))?;
    words.iter().map(|word| plain(word, scope).map_err(|error| error.about_all(text))).collect()
}

fn read_start(text: &str, scope: &dyn Scope) -> Result<Start, ItemError> {
    let argv = read_words(text, scope)?;
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(Start { asked: program.clone(), resolved: None, argv }),
        _ => {
            Err(bad(text, "a command cannot be empty".into())
                .help("write it as it would be typed: `git push`"))
        }
    }
}

/// One host and one port; `port` stands in where none is written.
fn read_destination(text: &str, port: Option<u16>, scope: &dyn Scope) -> Result<Destination, ItemError> {
    let pattern = ConnectPattern::parse(text, scope)?;
    concrete(&pattern, port, text)
}

fn concrete(pattern: &ConnectPattern, port: Option<u16>, text: &str) -> Result<Destination, ItemError> {
    let port = match pattern.ports {
        Some(range) if range.low == range.high => range.low,
        Some(_) => return Err(bad(text, "a question is about one port".into())),
        None => port.ok_or_else(|| {
            bad(text, format!("`{}` has no port, and a question is about one", error::shown(text)))
                .help(format!("write `{}`", ConnectPattern { ports: Some(HTTPS), ..pattern.clone() }))
        })?,
    };
    let (name, address) = match &pattern.host {
        HostPattern::Name(name) => (Some(name.clone()), None),
        HostPattern::Localhost => (Some(DomainName::new("localhost")?), None),
        HostPattern::Block(net) if net.prefix_len() == net.max_prefix_len() => (None, Some(net.addr())),
        _ => {
            return Err(bad(
                text,
                format!("`{}` is a pattern, and a question is about one host", error::shown(text)),
            )
            .help("write one name or address that the pattern would match"));
        }
    };
    Ok(Destination { name, address, port })
}

const HTTPS: crate::pattern::PortRange = crate::pattern::PortRange { low: 443, high: 443 };

fn read_request(text: &str, scope: &dyn Scope) -> Result<SymbolicQuestion, ItemError> {
    let (before, _query) = text.split_once('?').unwrap_or((text, ""));
    let slash = before.find('/').unwrap_or(before.len());
    let (head, path) = before.split_at(slash);
    let pattern = HttpPattern::parse(head, scope)?;
    let Some(method) = pattern.method else {
        return Err(bad(text, "a question is about one method".into()).help("write `GET` for `*`"));
    };
    let destination =
        concrete(&ConnectPattern { host: pattern.host, ports: pattern.ports }, Some(443), text)?;
    let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    Ok(SymbolicQuestion::Plain(Question::Http { method, destination, path }))
}

fn read_ssh(text: &str, scope: &dyn Scope) -> Result<SymbolicQuestion, ItemError> {
    let trimmed = text.trim();
    let (host, command) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
    let host = HostPattern::parse(host, scope)?;
    let destination = concrete(&ConnectPattern { host, ports: None }, Some(22), text)?;
    let command = read_words(command, scope).map_err(|error| error.about_all(text))?;
    Ok(SymbolicQuestion::Plain(Question::Ssh { destination, command }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::BuiltInScope;
    use crate::source::SourceId;

    fn parse(action: Action, text: &str) -> Result<SymbolicQuestion, ItemError> {
        SymbolicQuestion::parse(action, Some(text), &BuiltInScope { source: SourceId(0) })
    }

    #[test]
    fn concrete_items_are_read() {
        for (action, text) in [
            (Action::Read, "/etc/passwd"),
            (Action::Read, "~"),
            (Action::Write, "$cwd/[id].tsx"),
            (Action::Run, "git commit -m 'a b'"),
            (Action::Connect, "GitHub.com:443"),
            (Action::Connect, "[::1]:80"),
            (Action::Http, "GET api.example.org/v1?x=1"),
            (Action::Listen, "3000"),
            (Action::Env, "LC_ALL"),
            (Action::Ssh, "github.com git-receive-pack 'a/b.git'"),
            (Action::Ssh, "10.0.0.1"),
        ] {
            assert!(parse(action, text).is_ok(), "{text}: {:?}", parse(action, text));
        }
        let Ok(SymbolicQuestion::Plain(Question::Http { destination, path, .. })) =
            parse(Action::Http, "GET api.example.org/v1?x=1")
        else {
            panic!()
        };
        assert_eq!((destination.port, path.as_str()), (443, "/v1"));
    }

    #[test]
    fn what_is_not_concrete_is_told() {
        for (action, text, code) in [
            (Action::Read, "**/.env", Code::BadQuestion),
            (Action::Read, ".env", Code::RelativePath),
            (Action::Read, "$cwd/../x", Code::BadQuestion),
            (Action::Run, "", Code::BadQuestion),
            (Action::Run, "$home/x", Code::VariableValue),
            (Action::Connect, "github.com", Code::BadQuestion),
            (Action::Connect, "*:443", Code::BadQuestion),
            (Action::Connect, "10.0.0.0/8:1", Code::BadQuestion),
            (Action::Connect, "a:1-2", Code::BadQuestion),
            (Action::Http, "* a/b", Code::BadQuestion),
            (Action::Listen, "0", Code::BadQuestion),
            (Action::Env, "LC_*", Code::BadQuestion),
            (Action::Tty, "x", Code::BadQuestion),
        ] {
            assert_eq!(parse(action, text).unwrap_err().code, code, "{text}");
        }
        assert!(SymbolicQuestion::parse(Action::Read, None, &BuiltInScope { source: SourceId(0) }).is_err());
    }
}
