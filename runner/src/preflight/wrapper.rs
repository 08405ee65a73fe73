//! Programs that start the command which their arguments name.

use super::shell::{Invocation, Word, invocations};

/// How the arguments of a wrapper lead to its command.
struct Wrapper {
    names: &'static [&'static str],
    /// Options that take a further word.
    valued: &'static [&'static str],
    /// How many words stand between the options and the command.
    skipped: usize,
    /// Whether `NAME=VALUE` words may stand in front of the command.
    assignments: Assignments,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Assignments {
    Yes,
    No,
}

const fn plain(names: &'static [&'static str], valued: &'static [&'static str]) -> Wrapper {
    Wrapper { names, valued, skipped: 0, assignments: Assignments::No }
}

const WRAPPERS: &[Wrapper] = &[
    Wrapper {
        names: &["env"],
        valued: &["-u", "--unset", "-C", "--chdir", "-a", "--argv0"],
        skipped: 0,
        assignments: Assignments::Yes,
    },
    Wrapper {
        names: &["sudo", "doas"],
        valued: &[
            "-u", "--user", "-g", "--group", "-C", "-D", "--chdir", "-h", "--host", "-p", "--prompt", "-R",
            "-r", "-t", "-T", "-U",
        ],
        skipped: 0,
        assignments: Assignments::Yes,
    },
    plain(&["nohup", "setsid", "builtin", "unbuffer", "pkexec", "fakeroot", "catchsegv"], &[]),
    plain(&["exec"], &["-a"]),
    plain(&["command"], &[]),
    plain(&["time"], &["-f", "--format", "-o", "--output"]),
    plain(&["nice"], &["-n", "--adjustment"]),
    plain(&["ionice"], &["-c", "--class", "-n", "--classdata", "-p"]),
    plain(&["stdbuf"], &["-i", "--input", "-o", "--output", "-e", "--error"]),
    plain(
        &["xargs"],
        &[
            "-a",
            "--arg-file",
            "-d",
            "--delimiter",
            "-E",
            "-I",
            "-L",
            "--max-lines",
            "-n",
            "--max-args",
            "-P",
            "--max-procs",
            "-s",
            "--max-chars",
        ],
    ),
    plain(
        &["strace", "ltrace"],
        &["-e", "-o", "-p", "-s", "-u", "-E", "-a", "-I", "-O", "-S", "-P", "-X", "-b"],
    ),
    plain(&["busybox", "toybox"], &[]),
    Wrapper {
        names: &["timeout"],
        valued: &["-k", "--kill-after", "-s", "--signal"],
        skipped: 1,
        assignments: Assignments::No,
    },
    Wrapper { names: &["chrt"], valued: &["-T", "-P", "-D"], skipped: 1, assignments: Assignments::No },
    Wrapper { names: &["taskset"], valued: &[], skipped: 1, assignments: Assignments::No },
    Wrapper {
        names: &["flock"],
        valued: &["-w", "--timeout", "-E", "--conflict-exit-code"],
        skipped: 1,
        assignments: Assignments::No,
    },
];

/// Shells, which read a command from the word after `-c`.
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish"];

/// How many wrappers may stand around one another.
const DEEPEST: usize = 32;

/// The commands that a command comes down to: itself, and what its wrappers (`env`, `sudo`, `xargs`, `sh -c`,
/// `find -exec`, …) start, from the outside in. What a wrapper hides so that it cannot be read is left out.
#[must_use]
pub fn unwrapped(invocation: Invocation) -> Vec<Invocation> {
    let mut found = Vec::new();
    let mut open = vec![(invocation, 0)];
    while let Some((invocation, depth)) = open.pop() {
        if depth < DEEPEST {
            open.extend(inner(&invocation.words).into_iter().rev().map(|inner| (inner, depth + 1)));
        }
        found.push(invocation);
    }
    found
}

/// What a command starts, one step inwards.
fn inner(words: &[Word]) -> Vec<Invocation> {
    let Some((program, rest)) = words.split_first() else { return Vec::new() };
    let Some(name) = program.known().map(last_component) else { return Vec::new() };
    if SHELLS.contains(&name) {
        return shell_text(rest);
    }
    match name {
        "eval" => return text_of(&rest.iter().map(Word::text).collect::<Vec<_>>().join(" ")),
        "trap" => return rest.first().and_then(Word::known).map(text_of).unwrap_or_default(),
        "watch" => {
            return text_of(
                &after_options(rest, &["-n", "--interval"])
                    .iter()
                    .map(Word::text)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        "su" | "runuser" | "script" => {
            return value_of(rest, &["-c", "--command"]).map(text_of).unwrap_or_default();
        }
        "find" | "fd" | "fdfind" => return executed_by_find(rest),
        "command" if rest.first().and_then(Word::known).is_some_and(|word| word == "-v" || word == "-V") => {
            return Vec::new();
        }
        "env" => {
            if let Some(text) = value_of(rest, &["-S", "--split-string"]) {
                return text_of(text);
            }
        }
        _ => {}
    }
    let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&name)) else {
        return Vec::new();
    };
    let mut command = after_options(rest, wrapper.valued);
    if wrapper.assignments == Assignments::Yes {
        command = command
            .iter()
            .position(|word| !word.text().contains('='))
            .map_or(&[], |at| command.get(at..).unwrap_or_default());
    }
    match command.get(wrapper.skipped..) {
        Some(words) if !words.is_empty() => vec![Invocation { words: words.to_vec() }],
        _ => Vec::new(),
    }
}

fn last_component(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// The words behind the options.
fn after_options<'a>(words: &'a [Word], valued: &[&str]) -> &'a [Word] {
    let mut at = 0;
    while let Some(word) = words.get(at).map(Word::text) {
        if word == "--" {
            at += 1;
            break;
        }
        if !word.starts_with('-') || word == "-" && !valued.is_empty() {
            break;
        }
        at += if valued.contains(&word) { 2 } else { 1 };
    }
    words.get(at..).unwrap_or_default()
}

/// The value of an option, `-c VALUE`, `-cVALUE` or `--command=VALUE`.
fn value_of<'a>(words: &'a [Word], names: &[&str]) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| {
        let word = word.known()?;
        if names.contains(&word) {
            return words.get(at + 1)?.known();
        }
        names.iter().find_map(|name| {
            let rest = word.strip_prefix(name)?;
            if name.starts_with("--") { rest.strip_prefix('=') } else { Some(rest) }
        })
    })
}

/// The text that a shell is given: the first word after an option cluster with `c` in it.
fn shell_text(words: &[Word]) -> Vec<Invocation> {
    let mut rest = words.iter();
    let mut text_follows = false;
    while let Some(word) = rest.next() {
        let Some(word) = word.known() else { return Vec::new() };
        if word == "-o" || word == "+o" || word == "-O" || word == "--rcfile" || word == "--init-file" {
            rest.next();
        } else if word.starts_with("--") && word.len() > 2 {
            // A long option (`--norc`).
        } else if word.len() > 1 && (word.starts_with('-') || word.starts_with('+')) {
            text_follows |= word.starts_with('-') && word.contains('c');
        } else {
            return if text_follows { text_of(word) } else { Vec::new() };
        }
    }
    Vec::new()
}

fn text_of(text: &str) -> Vec<Invocation> {
    invocations(text).unwrap_or_default()
}

/// The commands between `-exec` (or one of its kin) and `;` or `+`.
fn executed_by_find(words: &[Word]) -> Vec<Invocation> {
    let mut found = Vec::new();
    let mut rest = words;
    while let Some(at) = rest.iter().position(|word| {
        matches!(
            word.text(),
            "-exec" | "-execdir" | "-ok" | "-okdir" | "-x" | "-X" | "--exec" | "--exec-batch"
        )
    }) {
        let command = rest.get(at + 1..).unwrap_or_default();
        let end = command.iter().position(|word| matches!(word.text(), ";" | "+")).unwrap_or(command.len());
        if let Some(words) = command.get(..end).filter(|words| !words.is_empty()) {
            found.push(Invocation { words: words.to_vec() });
        }
        rest = command.get(end..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::shell::{Word, invocations};
    use super::unwrapped;

    #[test]
    fn the_command_is_found_through_its_wrappers() {
        for (text, last) in [
            ("env -u B A=1 git push", "git push"),
            ("env -S 'git push'", "git push"),
            ("/usr/bin/env -i git push", "git push"),
            ("sudo -u root X=1 git push", "git push"),
            ("nohup nice -n 5 timeout -k 5 10 git push", "git push"),
            ("xargs -n 1 git push", "git push"),
            ("command -p git push", "git push"),
            ("exec -a x git push", "git push"),
            ("sh -c 'git push'", "git push"),
            ("bash --norc -ec 'true; git push' x", "git push"),
            ("bash -o pipefail -c 'git push'", "git push"),
            ("sh -c \"sh -c 'git push'\"", "git push"),
            ("eval git push", "git push"),
            ("eval 'git push'", "git push"),
            ("find . -name x -exec git push {} ';'", "git push {}"),
            ("busybox git push", "git push"),
            ("su root -c 'git push'", "git push"),
            ("watch -n 1 git push", "git push"),
            ("trap 'git push' EXIT", "git push"),
            ("flock /tmp/l git push", "git push"),
            ("time -p git push", "git push"),
            ("env -- git push", "git push"),
        ] {
            let found: Vec<String> = invocations(text)
                .unwrap()
                .into_iter()
                .flat_map(unwrapped)
                .map(|found| found.words.iter().map(Word::text).collect::<Vec<_>>().join(" "))
                .collect();
            assert_eq!(found.last().map(String::as_str), Some(last), "{text:?}: {found:?}");
            assert_eq!(found.first().map(String::as_str).map(|first| first.contains("push")), Some(true));
        }
    }

    #[test]
    fn what_only_names_a_command_starts_none() {
        for text in ["command -v git", "echo git push", "sh script.sh -c x", "env", "find . -name git"] {
            let found: Vec<_> = invocations(text).unwrap().into_iter().flat_map(unwrapped).collect();
            assert_eq!(found.len(), 1, "{text:?}: {found:?}");
        }
    }
}
