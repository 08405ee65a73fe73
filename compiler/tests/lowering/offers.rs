//! What a rule that would be held less strictly than written is offered.

use fence_compiler::host::{Host, Support};
use fence_compiler::lower::linux::lower;

use super::machine::{DEBIAN, files, host};
use super::written::policy;

/// A machine on which no call is judged from outside.
fn plain() -> Host {
    let mut host = host("/home/ada/work");
    host.features.mediation = Support::No("no listener".into());
    host
}

/// A policy in which the rule closes something.
fn around(rule: &str) -> String {
    let commands = if rule.starts_with("allow run") { "" } else { "allow run *\n" };
    format!("allow read write $cwd\n{commands}{rule}")
}

const ACCEPT: &str = "add `best-effort` to accept what this version can do";

#[test]
fn each_kind_of_rule_is_offered_what_accepts_it() {
    let narrowed = format!("{ACCEPT}, or narrow what is allowed there");
    let cheaper = narrowed.replace("best-effort", "cheaply");
    let never = "a `never` cannot be `best-effort`: write it as `deny … best-effort`";
    let never_path = "a `never` cannot be `best-effort`: let nothing be written there, or write it as `deny … best-effort`";
    let commands = "write `allow run *` for any command, and what must not run as `deny run … best-effort`";
    for (rule, help, clause) in [
        ("deny read $cwd/src", narrowed.as_str(), Some(" best-effort")),
        ("deny read $cwd/**/x.env", &cheaper, Some(" cheaply")),
        ("deny read $cwd/src, $cwd/**/x.env", &narrowed, Some(" best-effort")),
        ("deny read $cwd/src, $cwd/**/x.env cheaply", &narrowed, Some(" best-effort")),
        ("deny run \"git push\"", ACCEPT, Some(" best-effort")),
        ("never read $cwd/src", never_path, None),
        ("never run \"git push\"", never, None),
        ("allow run \"git status\"", commands, None),
        ("limit cpu 5s", ACCEPT, Some(" best-effort")),
    ] {
        let lowered = lower(&policy(&around(rule)), &plain(), &mut files(DEBIAN));
        let [found] = lowered.diagnostics.as_slice() else { panic!("{rule}: {:?}", lowered.diagnostics) };
        assert_eq!(found.code.name(), "E0701", "{rule}");
        assert!(found.help.iter().any(|told| told == help), "{rule}: {:?}", found.help);
        let offered = found.repair.as_ref().map(|repair| repair.replacement.as_str());
        assert_eq!(offered, clause, "{rule}");
    }
}

#[test]
fn what_is_accepted_is_no_error() {
    for rule in [
        "deny read $cwd/src best-effort",
        "deny read $cwd/src best-effort cheaply",
        "deny read $cwd/**/x.env cheaply",
        "deny read $cwd/**/x.env best-effort",
        "deny run \"git push\" best-effort",
        "limit cpu 5s best-effort",
    ] {
        let lowered = lower(&policy(&around(rule)), &plain(), &mut files(DEBIAN));
        assert_eq!(lowered.diagnostics, [], "{rule}");
    }
}
