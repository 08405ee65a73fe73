//! What a start of OpenSSH's `ssh` asks of another machine, by its arguments and its settings.
//!
//! It is read closely where rules are about it: what could lead elsewhere, or speak through another `ssh`, and is not
//! understood here, is refused.

use super::shell::{Word, invocations};
use super::wrapper::unwrapped;

/// What is asked of another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The name or address that is connected to.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// The commands, each by its words; empty words: a login shell, or more than a command.
    pub(crate) commands: Vec<Vec<String>>,
    /// Whether all of them can be read.
    pub(crate) text: Text,
}

/// Whether the text of a remote command can be read beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// It can.
    Known,
    /// The shell there makes some of its words only then.
    Unknown,
}

/// Why it cannot be told what would be asked.
pub(crate) type Unclear = String;

/// Options of one letter that take no value, and change neither the other end nor what is asked of it.
const PLAIN: &str = "46aCfgknqTtVvxyZ";
/// Those that take one.
const VALUED: &str = "BbcEeIilmp";

/// Reads the arguments of an `ssh` and its settings; `None` if it asks nothing of anybody.
pub(crate) fn remote(argv: &[String], settings: &[String]) -> Result<Option<Remote>, Unclear> {
    let mut asked = Asked::default();
    let mut rest = argv.iter().skip(1);
    while let Some(word) = rest.next() {
        let letters = match word.strip_prefix('-') {
            Some("") | None => match &asked.host {
                None => {
                    asked.host = Some(word.clone());
                    continue;
                }
                Some(_) => {
                    asked.words = [word].into_iter().chain(rest).cloned().collect();
                    break;
                }
            },
            Some("-") => {
                if asked.host.is_none() {
                    asked.host = rest.next().cloned();
                }
                asked.words = rest.cloned().collect();
                break;
            }
            Some(letters) => letters,
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            if PLAIN.contains(letter) {
                continue;
            }
            match letter {
                'V' | 'G' | 'Q' => return Ok(None),
                'N' => asked.more = true,
                'A' | 'X' | 'Y' => asked.more = true,
                's' => {}
                'M' | 'K' => return Err(format!("`-{letter}` is not read")),
                'P' => return Err("`-P` takes a value in some versions, and none in others".to_owned()),
                _ => {
                    let glued: String = letters.by_ref().collect();
                    let value = if glued.is_empty() { rest.next().cloned() } else { Some(glued) };
                    asked.option(letter, value.unwrap_or_default())?;
                }
            }
        }
    }
    asked.conclude(settings)
}

#[derive(Default)]
struct Asked {
    host: Option<String>,
    words: Vec<String>,
    port: Option<u16>,
    /// Whether more is asked than a command: forwarding, tunnels.
    more: bool,
    settings: Vec<(String, String)>,
    file: File,
}

/// Which settings are read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum File {
    #[default]
    Usual,
    None,
}

impl Asked {
    fn option(&mut self, letter: char, value: String) -> Result<(), Unclear> {
        match letter {
            'p' => self.port = Some(value.parse().map_err(|_| "its port is no number".to_owned())?),
            'F' if matches!(value.as_str(), "none" | "/dev/null") => self.file = File::None,
            'F' => return Err("settings of another file are not read: leave `-F` out".to_owned()),
            'J' => {}
            'D' | 'L' | 'R' | 'W' | 'w' => self.more = true,
            'S' if value == "none" => {}
            'S' | 'O' => return Err("it would speak through another ssh".to_owned()),
            'o' => self.settings.push(setting(&value)?),
            letter if VALUED.contains(letter) => {}
            letter => return Err(format!("the option `-{letter}` is not known")),
        }
        Ok(())
    }

    fn conclude(self, files: &[String]) -> Result<Option<Remote>, Unclear> {
        let Some(written) = &self.host else { return Ok(None) };
        let (written, mut port) = match written.strip_prefix("ssh://") {
            Some(address) => {
                let (host, port) = match address.trim_end_matches('/').rsplit_once(':') {
                    Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
                    _ => (address.trim_end_matches('/'), None),
                };
                (host, port)
            }
            None => (written.as_str(), None),
        };
        let host = written.rsplit_once('@').map_or(written, |(_, host)| host);
        let mut all = self.settings.clone();
        if self.file == File::Usual {
            for text in files {
                all.extend(applying(text, host)?);
            }
        }
        let mut more = self.more;
        let mut name = None;
        let mut command = None;
        for (key, value) in &all {
            // A command or a path called `no` is one.
            let none = value.eq_ignore_ascii_case("none");
            let off = none || matches!(value.to_ascii_lowercase().as_str(), "no" | "false");
            match key.as_str() {
                "hostname" => drop(name.get_or_insert_with(|| value.replace("%h", host).replace("%%", "%"))),
                "port" => port = port.or_else(|| value.parse().ok()),
                "remotecommand" => command = command.or(Some(if none { "" } else { value.as_str() })),
                "proxycommand" | "controlpath" if !none => {
                    return Err(format!("its setting `{key}` may lead elsewhere"));
                }
                "proxyusefdpass" | "canonicalizehostname" | "controlmaster" | "controlpersist" if !off => {
                    return Err(format!("its setting `{key}` may lead elsewhere"));
                }
                "localforward" | "remoteforward" | "dynamicforward" => more = true,
                "tunnel"
                | "forwardagent"
                | "forwardx11"
                | "forwardx11trusted"
                | "enableescapecommandline"
                    if !off =>
                {
                    more = true;
                }
                "sessiontype" if off => more = true,
                _ => {}
            }
        }
        let text =
            if self.words.is_empty() { command.unwrap_or_default().to_owned() } else { self.words.join(" ") };
        let (mut commands, known) = commands(&text);
        if more && !commands.contains(&Vec::new()) {
            commands.push(Vec::new());
        }
        let host = name.unwrap_or_else(|| host.to_owned());
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Some(Remote { host, port: self.port.or(port).unwrap_or(22), commands, text: known }))
    }
}

/// The commands of a text for the shell of another machine.
fn commands(text: &str) -> (Vec<Vec<String>>, Text) {
    if text.trim().is_empty() {
        return (vec![Vec::new()], Text::Known);
    }
    let Ok(found) = invocations(text) else { return (vec![Vec::new()], Text::Unknown) };
    let simple = !text.contains(|c| ";&|<>()`$\\\n{}*?[~#!".contains(c));
    let mut commands = Vec::new();
    let mut known = Text::Known;
    for invocation in found.into_iter().flat_map(unwrapped) {
        if invocation.words.iter().any(|word| matches!(word, Word::Unknown(_))) {
            known = Text::Unknown;
        }
        commands.push(invocation.words.iter().map(|word| word.text().to_owned()).collect());
    }
    if !simple || commands.is_empty() {
        // More than one plain command: what a login shell could do.
        commands.push(Vec::new());
    }
    (commands, known)
}

/// Settings whose value is the rest of the line as it stands.
const WHOLE: [&str; 6] =
    ["remotecommand", "proxycommand", "localcommand", "knownhostscommand", "host", "match"];

/// The key, in lower case, and the value of one setting. Both may be quoted.
fn setting(line: &str) -> Result<(String, String), Unclear> {
    let line = line.trim();
    let (key, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a quote in its settings is not closed")?,
        None => line.split_at(line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len())),
    };
    let key = key.to_ascii_lowercase();
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim();
    if WHOLE.contains(&key.as_str()) {
        return Ok((key, rest.to_owned()));
    }
    let inner = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(rest);
    let decides = matches!(key.as_str(), "hostname" | "port" | "include");
    if decides && inner.contains(['"', '\'', '\\', '#']) {
        return Err(format!("its setting `{key}` is quoted in a way that is not read"));
    }
    Ok((key, inner.to_owned()))
}

/// The settings of a file that apply to a host.
fn applying(text: &str, host: &str) -> Result<Vec<(String, String)>, Unclear> {
    let mut found = Vec::new();
    let mut block = Block::Applies;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = setting(line)?;
        match key.as_str() {
            "host" => block = if is_named(&value, host) { Block::Applies } else { Block::Not },
            "match" if value.trim() == "all" => block = Block::Applies,
            "match" => block = Block::Perhaps,
            _ => match block {
                Block::Applies => found.push((key, value)),
                Block::Not => {}
                Block::Perhaps => {
                    const HARMLESS: [&str; 5] =
                        ["identityfile", "user", "identityagent", "setenv", "sendenv"];
                    if !HARMLESS.contains(&key.as_str()) {
                        return Err("settings below a `Match` are not judged".to_owned());
                    }
                }
            },
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Applies,
    Not,
    Perhaps,
}

/// Whether a `Host` line names a host: by one of its patterns, and by none with `!`.
fn is_named(patterns: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let mut named = false;
    for pattern in patterns.split_whitespace().map(|pattern| pattern.trim_matches('"').to_ascii_lowercase()) {
        match pattern.strip_prefix('!') {
            Some(pattern) if is_like(pattern.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None => named |= is_like(pattern.as_bytes(), host.as_bytes()),
        }
    }
    named
}

fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            is_like(rest, text) || text.split_first().is_some_and(|(_, further)| is_like(pattern, further))
        }
        (Some((b'?', rest)), Some((_, further))) => is_like(rest, further),
        (Some((one, rest)), Some((other, further))) => one == other && is_like(rest, further),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str, settings: &str) -> Result<String, Unclear> {
        let argv: Vec<String> = match invocations(line).unwrap().as_slice() {
            [one] => one.words.iter().map(|word| word.text().to_owned()).collect(),
            other => panic!("{other:?}"),
        };
        Ok(match remote(&argv, &[settings.to_owned()])? {
            None => "nothing".to_owned(),
            Some(Remote { host, port, commands, text }) => {
                let commands: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
                let unknown = if text == Text::Unknown { " ?" } else { "" };
                format!("{host}:{port} [{}]{unknown}", commands.join("] ["))
            }
        })
    }

    #[test]
    fn what_is_asked_is_read_from_the_arguments() {
        for (line, meant) in [
            ("ssh host", "host:22 []"),
            ("ssh -V", "nothing"),
            ("ssh -p 2222 me@host uptime", "host:2222 [uptime]"),
            ("ssh -tp2222 host -l me uptime -a", "host:2222 [uptime -a]"),
            ("ssh -- host uptime", "host:22 [uptime]"),
            ("ssh ssh://me@host:2200/ uptime", "host:2200 [uptime]"),
            ("ssh -o HostName=other host", "other:22 []"),
            ("ssh -oHostName=%h.example.org -o Port=7 host", "host.example.org:7 []"),
            ("ssh -W x:22 jump", "jump:22 []"),
            ("ssh -L 1:x:2 host uptime", "host:22 [uptime] []"),
            ("ssh -A host uptime", "host:22 [uptime] []"),
            ("ssh host \"git-upload-pack 'a/b.git'\"", "host:22 [git-upload-pack a/b.git]"),
            ("ssh host 'true; rm x'", "host:22 [true] [rm x] []"),
            ("ssh host 'sudo rm x'", "host:22 [sudo rm x] [rm x]"),
            ("ssh host '$x y'", "host:22 [$x y] [] ?"),
            ("ssh host 'uptime > x'", "host:22 [uptime] []"),
            ("ssh -o RemoteCommand=uptime host", "host:22 [uptime]"),
            ("ssh -o RemoteCommand=no host", "host:22 [no]"),
            ("ssh -o RemoteCommand=none -o RemoteCommand=x host", "host:22 []"),
            ("ssh -o '\"HostName\" \"other\"' host", "other:22 []"),
            ("ssh -o '\"LocalForward\" 1 x:2' host uptime", "host:22 [uptime] []"),
            ("ssh -o EnableEscapeCommandline=yes host uptime", "host:22 [uptime] []"),
            ("ssh -s host sftp", "host:22 [sftp]"),
        ] {
            assert_eq!(asked(line, "").as_deref(), Ok(meant), "{line}");
        }
    }

    #[test]
    fn what_may_lead_elsewhere_is_not_guessed() {
        for line in [
            "ssh -F other host",
            "ssh -S control host",
            "ssh -O stop host",
            "ssh -M host",
            "ssh -o ProxyCommand=nc host",
            "ssh -oproxycommand='nc a b' host",
            "ssh -o ControlPath=x host",
            "ssh -o CanonicalizeHostname=yes host",
            "ssh --unknown host",
            "ssh -P host other",
            "ssh -o ProxyCommand=no host",
            "ssh -o '\"ProxyCommand\" x' host",
            "ssh -o '\"HostName x' host",
            "ssh -o \"HostName 'x'\" host",
            "ssh -o 'HostName x # y' host",
        ] {
            assert!(asked(line, "").is_err(), "{line}: {:?}", asked(line, ""));
        }
        assert_eq!(
            asked("ssh -o ControlMaster=no -o ProxyCommand=none host", "").as_deref(),
            Ok("host:22 []")
        );
    }

    #[test]
    fn settings_of_files_count() {
        let settings = "# mine\nHost a !ab a*\n  HostName real.example.org\n  Port 7\nHost b\n ProxyCommand nc x\n\
                        Host c\nRemoteCommand rm x\nHost *\n User me\nMatch exec x\n IdentityFile y\n";
        for (line, meant) in [
            ("ssh a", Ok("real.example.org:7 []")),
            ("ssh ab", Ok("ab:22 []")),
            ("ssh -F none a", Ok("a:22 []")),
            ("ssh -o HostName=x a", Ok("x:7 []")),
            ("ssh c", Ok("c:22 [rm x]")),
            ("ssh c uptime", Ok("c:22 [uptime]")),
            ("ssh b", Err("its setting `proxycommand` may lead elsewhere")),
        ] {
            let found = asked(line, settings);
            assert_eq!(found.as_deref().map_err(String::as_str), meant, "{line}");
        }
        assert!(asked("ssh x", "Match host x\nHostName y").is_err());
    }
}
