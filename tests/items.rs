//! What each item is read as, or what is told of it and where.

use std::fmt::Display;
use std::fmt::Write as _;

use fence_compiler::pattern::{
    BuiltInScope, CommandPattern, ConnectPattern, DomainName, HostPattern, HttpPattern, ItemError,
    NamePattern, PathPattern, PortRange, Scope, SshPattern, Value,
};
use fence_compiler::source::SourceId;

/// A few values of `let`s beside what every text has.
const LETS: [(&str, &str); 9] = [
    ("state", "~/.local/state/agent"),
    ("odd", "/srv/*x"),
    ("name", "git"),
    ("db", "db.internal"),
    ("six", "[::1]"),
    ("own", "localhost"),
    ("up", "/a/../b"),
    ("port", "5432"),
    ("mixed", "/a$home"),
];

const BUILT_IN: BuiltInScope = BuiltInScope { source: SourceId(0) };

struct Lets;

impl Scope for Lets {
    fn lookup(&self, name: &str) -> Option<Value> {
        let text = LETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let special = match name {
            "empty" => Some(Value(Vec::new())),
            "lines" => Value::parse("/a\nb", &BUILT_IN).ok(),
            "slash" => Value::parse("/", &BUILT_IN).ok(),
            "glued" => Value::parse("$home.bak", &BUILT_IN).ok(),
            _ => None,
        };
        special.or_else(|| Value::parse(text?, &BUILT_IN).ok()).or_else(|| BUILT_IN.lookup(name))
    }

    fn names(&self) -> Vec<String> {
        BUILT_IN.names().into_iter().chain(LETS.map(|(name, _)| name.to_owned())).collect()
    }
}

fn read<T: Display>(
    text: &str,
    parse: impl Fn(&str, &dyn Scope) -> Result<T, ItemError>,
) -> Result<Vec<String>, ItemError> {
    Ok(vec![parse(text, &Lets)?.to_string()])
}

fn item(kind: &str, text: &str) -> Result<Vec<String>, ItemError> {
    match kind {
        "path" => Ok(PathPattern::parse(text, &Lets)?.iter().map(ToString::to_string).collect()),
        "run" => read(text, CommandPattern::parse),
        "connect" => read(text, ConnectPattern::parse),
        "host" => read(text, HostPattern::parse),
        "http" => read(text, HttpPattern::parse),
        "ssh" => read(text, SshPattern::parse),
        "name" => read(text, NamePattern::parse),
        "domain" => read(text, DomainName::parse),
        "port" => read(text, PortRange::parse),
        "value" => read(text, Value::parse),
        _ => panic!("no kind of item: {kind}"),
    }
}

/// Each item of the list, and below it what it is read as; or what is marked of it and what is told.
#[test]
fn each_item_is_read_as_one_thing_or_told() {
    let mut shown = String::new();
    for line in include_str!("items.txt").lines().filter(|line| !line.is_empty()) {
        let (kind, text) = line.split_once(' ').expect("a kind and a text");
        let text = &text.trim_matches('`').replace('␀', "\0");
        writeln!(shown, "{line}").unwrap();
        match item(kind, text) {
            Ok(meant) => {
                meant.iter().for_each(|meant| writeln!(shown, "    = {meant}").unwrap());
                for meant in meant {
                    assert_eq!(item(kind, &meant).as_deref(), Ok(&[meant.clone()][..]), "{line}");
                }
            }
            Err(error) => {
                let (from, to) = (error.range.start, error.range.end);
                let marked = format!("    {}»{}«{}", &text[..from], &text[from..to], &text[to..]);
                writeln!(shown, "{}", marked.replace('\0', "␀")).unwrap();
                writeln!(shown, "    {}: {}", error.code, error.message).unwrap();
                error.help.iter().for_each(|help| writeln!(shown, "    {help}").unwrap());
                let instead = error.replacement.iter();
                instead.for_each(|instead| writeln!(shown, "    instead: {instead}").unwrap());
            }
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn braces_stand_for_a_thousand_paths_and_no_more() {
    let alternatives = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
        PathPattern::parse(&format!("/{{{}}}", names.join(",")), &Lets)
    };
    assert_eq!(alternatives(1_000).unwrap().len(), 1_000);
    assert_eq!(alternatives(1_001).unwrap_err().code.name(), "E0222");
    let two = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
        PathPattern::parse(&format!("/{{a,b}}/{{{}}}", names.join(",")), &Lets)
    };
    assert_eq!(two(500).unwrap().len(), 1_000);
    assert!(two(501).is_err());
}
