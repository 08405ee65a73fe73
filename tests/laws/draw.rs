//! Draws policies, worlds and questions from a few words, so that they meet at each other's edges.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::pattern::{
    BuiltInScope, CommandPattern, ConnectPattern, DomainName, HttpPattern, ItemError, NamePattern,
    PathPattern, PortRange, Scope, SshPattern,
};
use fence_compiler::policy::{
    Acceptance, Effect, Item, NameAction, PathAction, Policy, Rule, Subject, Written,
};
use fence_compiler::question::{Destination, Platform, Question, Start};
use fence_compiler::source::SourceId;
use fence_compiler::world::World;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub fn scope() -> BuiltInScope {
    BuiltInScope { source: SourceId(0) }
}

const WRITTEN: Written = Written { source: SourceId(0), start: 0, end: 0, line: 1 };

pub fn item<P>(text: &str, pattern: P) -> Item<P> {
    Item { text: text.to_owned(), written: WRITTEN, pattern }
}

fn items<P>(texts: &[String], parse: impl Fn(&str, &dyn Scope) -> Result<P, ItemError>) -> Vec<Item<P>> {
    texts
        .iter()
        .map(|text| item(text, parse(text, &scope()).unwrap_or_else(|e| panic!("{text}: {e:?}"))))
        .collect()
}

/// The text of a path pattern.
pub fn path_text() -> impl Strategy<Value = String> {
    let root = select(vec![
        "",
        "/a",
        "/home/user",
        "/home",
        "~",
        "$cwd",
        "$workspace",
        "$tmp",
        "$DATA",
        "**",
        "/dev",
    ]);
    let name =
        select(vec!["a", "b", "ab", "A", "*", "a*", "?", "**", "[ab]", "[!a]", "é", "*b", "work", "x"]);
    (root, prop::collection::vec(name, 0..4)).prop_map(|(root, names)| {
        let names: String = names.iter().map(|name| format!("/{name}")).collect();
        let text = format!("{root}{names}");
        if text.is_empty() { "/".to_owned() } else { text }
    })
}

/// A concrete path near those.
pub fn path() -> impl Strategy<Value = AbsolutePath> {
    let root =
        select(vec!["", "/a", "/a/b", "/ab", "/home/user", "/home/user/work", "/tmp", "/data", "/dev", "/A"]);
    let name = select(vec!["a", "b", "ab", "A", "B", "é", "e\u{301}", "É", "x", "work", "policy.fence"]);
    (root, prop::collection::vec(name, 0..4)).prop_map(|(root, names)| {
        let names: String = names.iter().map(|name| format!("/{name}")).collect();
        AbsolutePath::new(format!("/{root}{names}").as_bytes()).unwrap()
    })
}

pub fn command_text() -> impl Strategy<Value = String> {
    let program =
        select(vec!["git", "g*", "*", "busybox", "tool", "/usr/bin/git", "**/git", "$cwd/a", "make"]);
    let word = select(vec![
        "push", "*", "p*", "x", "-C", "-f", "-rf", "--force", "--", "if=", "--out=", "origin", "a=b", "push?",
    ]);
    (program, prop::collection::vec(word, 0..4), select(vec!["", " ..."])).prop_map(
        |(program, words, end)| {
            let words: String = words.iter().map(|word| format!(" {word}")).collect();
            format!("{program}{words}{end}")
        },
    )
}

fn start() -> impl Strategy<Value = Start> {
    let program =
        select(vec!["git", "tool", "busybox", "/usr/bin/git", "./a", "/a", "make", "-git", "GIT", ""]);
    let file = select(vec![None, Some("/usr/bin/git"), Some("/bin/busybox"), Some("/a")]);
    (program.clone(), file, program, prop::collection::vec(word(), 0..5)).prop_map(
        |(asked, file, first, words)| Start {
            asked: asked.to_owned(),
            resolved: file.and_then(|file| AbsolutePath::new(file.as_bytes())),
            argv: std::iter::once(first.to_owned()).chain(words).collect(),
        },
    )
}

pub fn word() -> impl Strategy<Value = String> {
    select(vec![
        "push",
        "pushx",
        "x",
        "origin",
        "-C",
        "-f",
        "-fr",
        "-r",
        "--force",
        "--for",
        "--force=1",
        "--",
        "if=y",
        "--out",
        "--out=1",
        "a=b",
        "a:b",
        "git",
        "",
        "-",
    ])
    .prop_map(str::to_owned)
}

pub fn host_text() -> impl Strategy<Value = String> {
    let host = select(vec![
        "*",
        "a.example",
        "*.a.example",
        "*.example",
        "localhost",
        "10.0.0.0/8",
        "10.0.0.1",
        "0.0.0.0/0",
        "93.184.216.34",
        "[::1]",
        "[::/0]",
        "[2002::/16]",
        "[64:ff9b::/96]",
        "[::ffff:0:0/96]",
        "$PGHOST",
        "$NOTHING",
    ]);
    (host, select(vec!["", ":443", ":442-444", ":1", ":65535"]))
        .prop_map(|(host, port)| format!("{host}{port}"))
}

pub fn destination() -> impl Strategy<Value = Destination> {
    let name = select(vec![
        None,
        Some("a.example"),
        Some("b.a.example"),
        Some("xa.example"),
        Some("localhost"),
        Some("example"),
    ]);
    let address = select(vec![
        None,
        Some("10.0.0.1"),
        Some("11.0.0.1"),
        Some("93.184.216.34"),
        Some("127.0.0.1"),
        Some("::1"),
        Some("::ffff:10.0.0.1"),
        Some("64:ff9b::a00:1"),
        Some("2002:a00:1::"),
        Some("::10.0.0.1"),
        Some("2001:db8::1"),
    ]);
    (name, address, select(vec![0, 1, 2, 441, 442, 443, 444, 445, 65534, 65535])).prop_map(
        |(name, address, port)| Destination {
            name: name.map(|name| DomainName::new(name).unwrap()),
            address: address.map(|address| address.parse().unwrap()),
            port,
        },
    )
}

pub fn request_text() -> impl Strategy<Value = String> {
    (select(vec!["GET", "POST", "*"]), host_text(), select(vec!["", "/a", "/a/*", "/**/b", "/a b"])).prop_map(
        |(method, host, path)| {
            // An address block has a `/` of its own, which no request has.
            let host = if host.contains('/') { "a.example".to_owned() } else { host };
            format!("{method} {host}{path}")
        },
    )
}

pub fn request_path() -> impl Strategy<Value = String> {
    select(vec![
        "/", "/a", "/a/b", "/ab", "/a/../b", "/%61", "/a%2fb", "/a//b", "/a%20b", "", "/a/b?x", "/%zz", "/%",
    ])
    .prop_map(str::to_owned)
}

pub fn ssh_text() -> impl Strategy<Value = String> {
    let host = select(vec!["*", "a.example", "*.example", "10.0.0.0/8", "localhost"]);
    (host, prop::option::of(command_text())).prop_map(|(host, command)| match command {
        Some(command) if !command.starts_with('$') => format!("{host} {command}"),
        _ => host.to_owned(),
    })
}

fn texts(of: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let of = of.boxed();
    (prop::collection::vec(of.clone(), 1..3), prop::collection::vec(of, 0..3))
}

fn path_actions() -> impl Strategy<Value = Vec<PathAction>> {
    let all =
        vec![PathAction::Read, PathAction::Write, PathAction::Exec, PathAction::Socket, PathAction::Device];
    subsequence(all, 1..4)
}

fn name_action() -> impl Strategy<Value = NameAction> {
    select(vec![NameAction::Env, NameAction::Syscall, NameAction::MachLookup])
}

fn subject() -> impl Strategy<Value = Subject> {
    let names = || select(vec!["PATH", "LC_*", "*", "*T*", "ptrace", "mount"]).prop_map(str::to_owned);
    let ports = || select(vec!["1", "2-3", "443", "1-65535"]).prop_map(str::to_owned);
    let paths = |texts: &[String]| {
        let parse = |text: &String| PathPattern::parse(text, &scope()).unwrap();
        texts.iter().flat_map(|text| parse(text).into_iter().map(move |p| item(text, p))).collect::<Vec<_>>()
    };
    prop_oneof![
        4 => (path_actions(), texts(path_text())).prop_map(move |(actions, (some, except))| Subject::Path {
            actions, items: paths(&some), except: paths(&except),
        }),
        3 => texts(command_text()).prop_map(|(some, except)| Subject::Run {
            items: items(&some, CommandPattern::parse), except: items(&except, CommandPattern::parse),
        }),
        3 => texts(host_text()).prop_map(|(some, except)| Subject::Connect {
            items: items(&some, ConnectPattern::parse), except: items(&except, ConnectPattern::parse),
        }),
        1 => texts(request_text()).prop_map(|(some, except)| Subject::Http {
            items: items(&some, HttpPattern::parse), except: items(&except, HttpPattern::parse),
        }),
        1 => texts(ports()).prop_map(|(some, except)| Subject::Listen {
            items: items(&some, PortRange::parse), except: items(&except, PortRange::parse),
        }),
        1 => (name_action(), texts(names())).prop_map(|(action, (some, except))| Subject::Name {
            action, items: items(&some, NamePattern::parse), except: items(&except, NamePattern::parse),
        }),
        1 => texts(ssh_text()).prop_map(|(some, except)| Subject::Ssh {
            items: items(&some, SshPattern::parse), except: items(&except, SshPattern::parse),
        }),
        1 => Just(Subject::Tty),
    ]
}

pub fn rule(effects: &'static [Effect]) -> impl Strategy<Value = Rule> {
    let platform = select(vec![None, None, Some(Platform::Linux), Some(Platform::MacOs)]);
    (select(effects), subject(), platform).prop_map(|(effect, subject, platform)| Rule {
        effect,
        subject,
        acceptance: Acceptance::Exact,
        label: None,
        because: None,
        platform,
        written: WRITTEN,
    })
}

pub const EFFECTS: &[Effect] = &[Effect::Allow, Effect::Allow, Effect::Deny, Effect::Never];

pub fn policy() -> impl Strategy<Value = Policy> {
    prop::collection::vec(rule(EFFECTS), 0..7).prop_map(with_rules)
}

pub fn with_rules(rules: Vec<Rule>) -> Policy {
    Policy {
        name: None,
        description: None,
        sources: Vec::new(),
        mains: Vec::new(),
        rules,
        set: BTreeMap::new(),
        secrets: Vec::new(),
        limits: Vec::new(),
        tls: None,
        upstreams: Vec::new(),
        tests: Vec::new(),
        left_out: Vec::new(),
        changed: Vec::new(),
    }
}

pub fn world() -> impl Strategy<Value = World> {
    let links = prop::collection::vec(
        (path(), select(vec!["/a", "b", "../a", "/home/user/work", "x/..", "/A/b"])),
        0..4,
    );
    let addresses = prop::collection::vec(select(vec!["10.0.0.1", "93.184.216.34", "::1"]), 0..3);
    (select(vec![Platform::Linux, Platform::MacOs]), links, addresses, any::<bool>()).prop_map(
        |(platform, links, addresses, data)| {
            let mut world = World::test_default(platform);
            for (from, to) in links.into_iter().filter(|(from, _)| !from.is_root()) {
                world.links.insert(from, to.as_bytes().to_vec());
            }
            let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            world.hosts.insert(DomainName::new("a.example").unwrap(), addresses);
            let set = |world: &mut World, name: &str, value: &str| {
                let variable = fence_compiler::pattern::Variable::Environment(name.into());
                world.variables.insert(variable, value.into());
            };
            set(&mut world, "PGHOST", "a.example");
            if data {
                set(&mut world, "DATA", "/data");
            }
            world
        },
    )
}

pub fn question() -> impl Strategy<Value = Question> {
    let actions =
        vec![PathAction::Read, PathAction::Write, PathAction::Exec, PathAction::Socket, PathAction::Device];
    let names = select(vec!["PATH", "LC_ALL", "LC", "ptrace", "mount", "kcmp"]).prop_map(str::to_owned);
    prop_oneof![
        4 => (select(actions), path()).prop_map(|(action, path)| Question::Path { action, path }),
        3 => start().prop_map(Question::Run),
        3 => destination().prop_map(Question::Connect),
        1 => (select(vec!["GET", "get", "POST"]), destination(), request_path()).prop_map(|(method, destination, path)| {
            Question::Http { method: method.to_owned(), destination, path }
        }),
        1 => select(vec![1_u16, 2, 3, 4, 443]).prop_map(Question::Listen),
        1 => (name_action(), names).prop_map(|(action, name)| Question::Name { action, name }),
        1 => (destination(), prop::collection::vec(word(), 0..3))
            .prop_map(|(destination, command)| Question::Ssh { destination, command }),
        1 => Just(Question::Tty),
    ]
}

pub fn a_start() -> impl Strategy<Value = Start> {
    start()
}
