//! Draws policies, and questions near their rules' edges.

use proptest::prelude::*;
use proptest::sample::select;

/// Every name that a policy or a machine spells here: where names are folded, one may stand for another.
pub const NAMES: [&str; 24] = [
    "Users", "ada", "work", "Work", "private", "tmp", "srv", "SRV", "etc", ".vimrc", "vimrc", "dotfiles",
    "a", "A", "b", "ab", "s", ".env", "é", "e\u{301}", "kiss", "off", "x", "x y",
];

/// Texts of path items: roots that meet one another, names that look alike.
pub fn item() -> impl Strategy<Value = String> {
    let root = select(vec![
        "/Users/ada",
        "~",
        "$cwd",
        "$workspace",
        "$tmp",
        "/tmp",
        "/private/tmp",
        "/srv",
        "/SRV",
        "**",
        "/etc",
        "~/.vimrc",
    ]);
    let name = select(vec![
        "a", "b", "ab", "A", "s", "work", "Work", ".env", "*", "a*", "*.pem", "**", "[ab]", "é", "e\u{301}",
        "kiss", "off", "x y", "a\\b", "q\"t", "?",
    ]);
    (root, prop::collection::vec(name, 0..3)).prop_map(|(root, names)| {
        let text: String = names.iter().map(|name| format!("/{name}")).collect();
        format!("{root}{text}")
    })
}

/// An item as it stands in a policy: in quotes, with the language's own escapes.
fn quoted(item: &str) -> String {
    format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""))
}

fn items(least: usize, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(item(), least..most)
        .prop_map(|items| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
}

/// One statement.
fn rule() -> impl Strategy<Value = String> {
    let effect = select(vec!["allow", "allow", "allow", "deny", "deny", "never"]);
    let actions =
        select(vec!["read", "write", "read write", "exec", "read exec", "socket", "read write exec"]);
    let except = prop::option::weighted(0.3, items(1, 3));
    (effect, actions, items(1, 3), except).prop_map(|(effect, actions, items, except)| {
        let except = except.map(|except| format!(" except {except}")).unwrap_or_default();
        let clause = if effect == "deny" { " best-effort" } else { "" };
        format!("{effect} {actions} {items}{except}{clause}")
    })
}

fn service() -> impl Strategy<Value = String> {
    let effect = select(vec!["allow", "allow", "deny"]);
    let name = select(vec![
        "com.apple.a",
        "com.apple.b",
        "com.apple.*",
        "com.*",
        "com.apple.SecurityServer",
        "com.apple.mDNSResponder",
    ]);
    (effect, name.clone(), prop::option::weighted(0.3, name)).prop_map(|(effect, name, except)| {
        let except = except.map(|except| format!(" except {except}")).unwrap_or_default();
        format!("on macos {{ {effect} mach-lookup {name}{except} }}")
    })
}

fn port() -> impl Strategy<Value = String> {
    select(vec![
        "allow connect localhost:5432",
        "allow connect localhost:22-25",
        "deny connect localhost:23",
        "deny connect 127.0.0.0/8",
        "allow connect example.com:443",
        "deny connect *",
        "allow connect 127.0.0.1:80",
        "allow listen 3000-3002",
        "deny listen 3001",
        "allow connect localhost:4000-4010 except localhost:4005",
    ])
    .prop_map(str::to_owned)
}

/// A policy's text.
pub fn policy() -> impl Strategy<Value = String> {
    (
        prop::collection::vec(rule(), 1..5),
        prop::collection::vec(service(), 0..3),
        prop::collection::vec(port(), 0..3),
    )
        .prop_map(|(rules, services, ports)| {
            let lines: Vec<String> = rules.into_iter().chain(services).chain(ports).collect();
            lines.join("\n")
        })
}

/// How a path near an item is made from it.
pub fn edge() -> impl Strategy<Value = Edge> {
    select(vec![
        Edge::Itself,
        Edge::Itself,
        Edge::Child,
        Edge::Child,
        Edge::Parent,
        Edge::Sibling,
        Edge::OtherCase,
        Edge::Composed,
        Edge::Decomposed,
        Edge::Alias,
        Edge::Folded,
        Edge::Grandchild,
    ])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Itself,
    Child,
    Grandchild,
    Parent,
    Sibling,
    OtherCase,
    Composed,
    Decomposed,
    /// `/tmp` for `/private/tmp`.
    Alias,
    /// A character that folds to others.
    Folded,
}
