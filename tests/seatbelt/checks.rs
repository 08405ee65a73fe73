//! What the profile of each built-in policy must answer: `checks.txt`, asked of the profile as it is emitted.

use std::collections::{BTreeMap, BTreeSet};

use fence_compiler::decide::decide;
use fence_compiler::policy::Policy;
use fence_compiler::profile::ProxyPlan;
use fence_compiler::question::{Destination, Question, Verdict};

use crate::agreement::Answers;
use crate::machine::{Lowered, TMP, files, host, lower, policy, world};
use crate::profile::{Host, Request};

/// What only closes, and so needs something open beside it.
const CLOSES: [&str; 7] =
    ["git-readonly", "metadata", "persistence", "releases", "secrets", "system-commands", "telemetry"];

/// What is open beside those.
const BESIDE: &str = "include base\nallow read write ~\nallow connect *:80, *:443";

/// Variables of whoever calls, beside the machine's.
const CALLERS: [&str; 5] =
    ["SSH_AUTH_SOCK", "NPM_TOKEN", "CARGO_REGISTRY_TOKEN", "TWINE_PASSWORD", "GITHUB_TOKEN"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Allowed,
    Denied,
}

/// A line: what is expected, what is asked, of what.
type Check = (Expected, &'static str, &'static str);

fn checks() -> BTreeMap<&'static str, Vec<Check>> {
    let mut all: BTreeMap<&'static str, Vec<Check>> = BTreeMap::new();
    let mut name = "";
    for line in include_str!("checks.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [policy] => {
                name = policy;
                assert!(all.insert(policy, Vec::new()).is_none(), "{policy} stands twice");
            }
            ["+", what, of] => all.get_mut(name).unwrap().push((Expected::Allowed, what, of)),
            ["-", what, of] => all.get_mut(name).unwrap().push((Expected::Denied, what, of)),
            _ => panic!("{line}"),
        }
    }
    all
}

/// A policy as it is asked, with the profile that was emitted for it.
struct Asked {
    policy: Policy,
    lowered: Lowered,
    answers: Answers,
}

impl Asked {
    fn new(name: &str) -> Asked {
        let beside = if CLOSES.contains(&name) { BESIDE } else { "" };
        let policy = policy(&format!("include {name}\n{beside}"));
        let mut host = host();
        host.environment_names.extend(CALLERS.map(String::from));
        let lowered = lower(policy.clone(), host, files());
        let answers = Answers::new(lowered.profile());
        Asked { policy, lowered, answers }
    }

    /// What every reading says: `None` where they differ.
    fn answer(&self, what: &str, of: &str) -> Option<Expected> {
        let path = || {
            let text = of.replace("$w", "/Users/ada/work").replace("$t", TMP);
            let text = if text.starts_with('~') { text.replacen('~', "/Users/ada", 1) } else { text };
            Request::path(text.as_bytes())
        };
        let port = || of.parse().unwrap();
        let operation = match what {
            "read" => "file-read-data",
            "stat" => "file-read-metadata",
            "write" => "file-write-data",
            "make" => "file-write-create",
            "move" => "file-write-unlink",
            "exec" => "process-exec*",
            "mach" => "mach-lookup",
            "direct" => "network-outbound",
            "bind" => "network-bind",
            "connect" => return Some(self.connect(of)),
            "env" => {
                let pass = &self.lowered.plan().environment.pass;
                let passed = pass.iter().any(|name| name == of);
                return Some(if passed { Expected::Allowed } else { Expected::Denied });
            }
            _ => panic!("{what}"),
        };
        let request = match what {
            "mach" => Request::name(of),
            "direct" => Request::socket("remote", "tcp", Host::Loopback, port()),
            "bind" => Request::socket("local", "tcp", Host::Loopback, port()),
            _ => path(),
        };
        let said = self.answers.ask(operation, &request);
        match (said.all, said.some || said.some_folded) {
            (true, _) => Some(Expected::Allowed),
            (_, false) => Some(Expected::Denied),
            _ => None,
        }
    }

    /// By the proxy, which is reached where there is one, and decides as the reference does. Nothing goes past it.
    fn connect(&self, of: &str) -> Expected {
        let (host, port) = of.rsplit_once(':').unwrap();
        let port = port.parse().unwrap();
        let address = host.trim_matches(['[', ']']).parse().ok();
        let name = address.is_none().then(|| fence_compiler::pattern::DomainName::new(host).unwrap());
        let past = self.answers.ask("network-outbound", &Request::socket("remote", "tcp", Host::Other, port));
        assert!(!past.some && !past.some_folded, "{of} goes past the proxy: {past:?}");
        let proxy = Request::socket("remote", "tcp", Host::Loopback, 4711);
        let reached = self.answers.ask("network-outbound", &proxy);
        assert_eq!(reached.all, self.lowered.plan().proxy == ProxyPlan::Loopback);
        let world = world(&self.policy, &crate::machine::host(), &files());
        let question = Question::Connect(Destination { name, address, port });
        match (reached.all, decide(&self.policy, &world, &question).verdict) {
            (true, Verdict::Allowed) => Expected::Allowed,
            _ => Expected::Denied,
        }
    }
}

#[test]
fn every_built_in_policy_answers_as_its_checks_say() {
    let checks = checks();
    let named: BTreeSet<&str> = checks.keys().copied().collect();
    let all: BTreeSet<&str> = fence_policies::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, all);
    let mut wrong = Vec::new();
    for (name, checks) in &checks {
        let asked = Asked::new(name);
        let denied = checks.iter().filter(|check| check.0 == Expected::Denied).count();
        // `metadata` opens nothing, and neither can what stands beside it there.
        if denied < 3 || (denied == checks.len() && *name != "metadata") {
            wrong.push(format!("{name}: there are too few of a kind"));
        }
        for (expected, what, of) in checks {
            let answer = asked.answer(what, of);
            if answer != Some(*expected) {
                wrong.push(format!("{name}: {what} {of}: expected {expected:?}, got {answer:?}"));
            }
        }
    }
    println!("{} answers of {} policies", checks.values().map(Vec::len).sum::<usize>(), checks.len());
    assert_eq!(wrong, Vec::<String>::new());
}
