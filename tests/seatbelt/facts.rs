//! What Macs were seen to do, as published: the evaluator must say the same, and wrong readings must not.

use std::collections::{BTreeMap, BTreeSet};

use crate::profile::{Host, Precedence, Profile, Reading, Request};
use crate::table::catalina;

struct Fact {
    profile: &'static str,
    operation: &'static str,
    request: &'static str,
    verdict: &'static str,
    source: &'static str,
}

fn facts() -> Vec<Fact> {
    include_str!("facts.tsv")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("profile\t"))
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [profile, operation, request, verdict, source] = cells[..] else { panic!("{line}") };
            Fact { profile, operation, request, verdict, source }
        })
        .collect()
}

fn request(text: &str) -> Request {
    let words: Vec<&str> = text.splitn(2, ' ').collect();
    match words[..] {
        ["nothing"] => Request::default(),
        ["path", path] => Request::path(path.as_bytes()),
        ["name", name] => Request::name(name),
        ["process", which] => Request { same_sandbox: which == "same", ..Request::default() },
        [kind @ ("tcp" | "udp" | "listen"), rest] => {
            let (host, port) = rest.split_once(' ').unwrap();
            let host = match host {
                "loopback" => Host::Loopback,
                "other" | "mapped" => Host::Other,
                other => panic!("{other}"),
            };
            let (side, protocol) = if kind == "listen" { ("local", "tcp") } else { ("remote", kind) };
            Request::socket(side, if protocol == "udp" { "udp" } else { "tcp" }, host, port.parse().unwrap())
        }
        _ => panic!("{text}"),
    }
}

/// The facts that a reading contradicts.
fn contradicted(reading: Reading) -> Vec<String> {
    let table = catalina();
    let mut wrong = Vec::new();
    for fact in facts() {
        let text = format!("(version 1)\n{}", fact.profile);
        let verdict = match Profile::new(&text, &BTreeMap::new(), table) {
            Err(_) => "error",
            Ok(profile) if profile.allows(table, fact.operation, &request(fact.request), reading) => "allow",
            Ok(_) => "deny",
        };
        if verdict != fact.verdict {
            wrong.push(format!(
                "{}\n{} {}: {verdict} and not {} ({})",
                fact.profile, fact.operation, fact.request, fact.verdict, fact.source
            ));
        }
    }
    wrong
}

#[test]
fn the_evaluator_says_what_was_seen() {
    let facts = facts();
    assert!(facts.len() >= 60, "{}", facts.len());
    let sources: BTreeSet<&str> = facts.iter().map(|fact| fact.source).collect();
    assert!(sources.len() >= 20 && sources.iter().all(|source| source.starts_with("https://")));
    assert_eq!(contradicted(Reading::likely()), Vec::<String>::new());
}

#[test]
fn plain_last_match_is_a_misreading_that_a_fact_shows() {
    let reading = Reading { precedence: Precedence::LastMatch, ..Reading::likely() };
    assert!(!contradicted(reading).is_empty());
}

#[test]
fn subpath_without_itself_is_a_misreading_that_a_fact_shows() {
    let reading = Reading { subpath_itself: false, ..Reading::likely() };
    assert!(!contradicted(reading).is_empty());
}
