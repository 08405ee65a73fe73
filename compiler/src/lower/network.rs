//! Rules about connections, none of which there are in this version: what closes holds by absence, what opens
//! is refused.

use super::claims::{Findings, is_for_linux};
use super::report::Report;
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::Mechanism;
use crate::pattern::HostPattern;
use crate::policy::{Effect, Policy, Rule, SecretHolder, Subject, Written};

/// Reports how rules about the network are enforced.
pub(super) fn judge(policy: &Policy, findings: &mut Findings) {
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Some(report) = findings.reports.get_mut(number) else { continue };
        let what = match &rule.subject {
            Subject::Connect { .. } => "connections",
            Subject::Http { .. } => "requests",
            Subject::Listen { .. } => "published ports",
            Subject::Ssh { .. } => "ssh",
            _ => continue,
        };
        if rule.effect != Effect::Allow {
            report.by(Mechanism::Absence);
            report.by(Mechanism::Namespace);
        } else if opens_every_ssh(rule) {
            report.by(Mechanism::Absence);
            report.note("{} opens nothing: there are no connections", "ssh *");
        } else {
            report.stricter("this version has no network: {}", what);
            findings.diagnostics.push(refusal(what, rule.written));
        }
    }
}

fn opens_every_ssh(rule: &Rule) -> bool {
    let Subject::Ssh { items, .. } = &rule.subject else { return false };
    items.iter().all(|item| item.pattern.host == HostPattern::Any && item.pattern.command.is_none())
}

/// The reports of secrets, of upstream proxies, and of the `tls` setting.
pub(super) fn settings(
    policy: &Policy,
    findings: &mut Findings,
) -> (Vec<Report>, Vec<Report>, Option<Report>) {
    let mut secrets = Vec::new();
    for secret in &policy.secrets {
        let mut report = Report::default();
        let name = match &secret.holder {
            SecretHolder::Env(name) => name.clone(),
            SecretHolder::File(path) => path.to_string(),
        };
        report.stricter("nothing puts the value of {} in: this version allows no connections", &name);
        secrets.push(report);
        findings.diagnostics.push(refusal("secrets put in by the proxy", secret.written));
    }
    let inert = |name: &str| {
        let mut report = Report::default();
        report.by(Mechanism::Absence);
        report.note("{} changes nothing: there are no connections", name);
        report
    };
    let upstreams = policy.upstreams.iter().map(|_| inert("upstream")).collect();
    (secrets, upstreams, policy.tls.map(|_| inert("tls")))
}

fn refusal(what: &str, written: Written) -> Diagnostic {
    Diagnostic::new(Code::NotInThisVersion, format!("this version of fence allows no {what}"))
        .at(written.place())
        .help("take the rule out: the command runs without a network")
}
