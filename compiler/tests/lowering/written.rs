//! Policies for these tests, one rule a line: `EFFECT ACTION… ITEM, … [except ITEM, …] [best-effort] [cheaply]`.

use std::collections::BTreeMap;

use fence_compiler::pattern::{
    BuiltInScope, CommandPattern, ConnectPattern, NamePattern, PathPattern, SshPattern,
};
use fence_compiler::policy::{
    Acceptance, Effect, Item, Limit, LimitKind, NameAction, PathAction, Policy, Rule, SourceRecord, Subject,
    Written,
};
use fence_compiler::source::{Origin, SourceId};

pub fn policy(text: &str) -> Policy {
    let mut policy = Policy {
        name: Some("test".into()),
        description: None,
        sources: vec![SourceRecord {
            origin: Origin::Given("test".into()),
            name: "test".into(),
            sha256: "00".into(),
        }],
        rules: Vec::new(),
        set: BTreeMap::new(),
        secrets: Vec::new(),
        limits: Vec::new(),
        tls: None,
        upstreams: Vec::new(),
        tests: Vec::new(),
        left_out: Vec::new(),
        changed: Vec::new(),
    };
    let mut start = 0;
    for (line, text) in (1..).zip(text.lines()) {
        let end = start + u32::try_from(text.len()).unwrap();
        let written = Written { source: SourceId(0), start, end, line };
        start = end + 1;
        if let Some(limit) = text.trim().strip_prefix("limit ") {
            policy.limits.push(limit_of(limit, written));
        } else if !text.trim().is_empty() {
            policy.rules.push(rule(text.trim(), written));
        }
    }
    policy
}

fn limit_of(text: &str, written: Written) -> Limit {
    let (text, acceptance) = clauses(text);
    let (kind, amount) = text.split_once(' ').unwrap();
    let kind = match kind {
        "time" => LimitKind::Time,
        "cpu" => LimitKind::Cpu,
        "memory" => LimitKind::Memory,
        "processes" => LimitKind::Processes,
        other => panic!("{other}"),
    };
    let amount = amount.parse().unwrap();
    Limit { kind, amount, acceptance, platform: None, label: None, because: None, written }
}

fn clauses(text: &str) -> (String, Acceptance) {
    let best = text.contains(" best-effort");
    let cheap = text.contains(" cheaply");
    let text = text.replace(" best-effort", "").replace(" cheaply", "");
    let acceptance = match (best, cheap) {
        (true, true) => Acceptance::BestEffortCheaply,
        (true, false) => Acceptance::BestEffort,
        (false, true) => Acceptance::Cheaply,
        (false, false) => Acceptance::Exact,
    };
    (text, acceptance)
}

fn rule(text: &str, written: Written) -> Rule {
    let (text, acceptance) = clauses(text);
    let (effect, rest) = text.split_once(' ').unwrap();
    let effect = match effect {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        "never" => Effect::Never,
        other => panic!("{other}"),
    };
    let (items, except) = rest.split_once(" except ").unwrap_or((rest, ""));
    let mut actions = Vec::new();
    let mut items = items.trim();
    while let Some((word, after)) = items.split_once(' ') {
        let Some(action) = path_action(word) else { break };
        actions.push(action);
        items = after.trim();
    }
    actions.sort();
    let subject = if actions.is_empty() {
        let (action, items) = items.split_once(' ').unwrap_or((items, ""));
        match action {
            "run" => Subject::Run {
                items: list(items, written, |text| vec![CommandPattern::parse(text, &scope()).unwrap()]),
                except: list(except, written, |text| vec![CommandPattern::parse(text, &scope()).unwrap()]),
            },
            "connect" => Subject::Connect {
                items: list(items, written, |text| vec![ConnectPattern::parse(text, &scope()).unwrap()]),
                except: Vec::new(),
            },
            "ssh" => Subject::Ssh {
                items: list(items, written, |text| vec![SshPattern::parse(text, &scope()).unwrap()]),
                except: Vec::new(),
            },
            "env" | "syscall" => Subject::Name {
                action: if action == "env" { NameAction::Env } else { NameAction::Syscall },
                items: list(items, written, |text| vec![NamePattern::parse(text, &scope()).unwrap()]),
                except: list(except, written, |text| vec![NamePattern::parse(text, &scope()).unwrap()]),
            },
            "tty" => Subject::Tty,
            other => panic!("{other}"),
        }
    } else {
        Subject::Path {
            actions,
            items: list(items, written, |text| PathPattern::parse(text, &scope()).unwrap()),
            except: list(except, written, |text| PathPattern::parse(text, &scope()).unwrap()),
        }
    };
    Rule { effect, subject, acceptance, label: None, because: None, platform: None, written }
}

fn scope() -> BuiltInScope {
    BuiltInScope { source: SourceId(0) }
}

fn path_action(word: &str) -> Option<PathAction> {
    Some(match word {
        "read" => PathAction::Read,
        "write" => PathAction::Write,
        "exec" => PathAction::Exec,
        "socket" => PathAction::Socket,
        "device" => PathAction::Device,
        _ => return None,
    })
}

fn list<P>(items: &str, written: Written, parse: impl Fn(&str) -> Vec<P>) -> Vec<Item<P>> {
    items
        .split(", ")
        .filter(|item| !item.is_empty())
        .flat_map(|item| {
            let item = item.trim_matches('"');
            parse(item)
                .into_iter()
                .map(move |pattern| Item { text: item.to_owned(), written, pattern })
                .collect::<Vec<_>>()
        })
        .collect()
}
