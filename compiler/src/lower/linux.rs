//! From a policy and a machine to a [`LinuxPlan`].

use std::collections::BTreeSet;

use super::atlas::Atlas;
use super::calls::{self, Choices};
use super::claims::{self, Findings, is_for_linux};
use super::commands::Starts;
use super::features::{self, WritableCode};
use super::report::Report;
use super::{
    acceptance, commands, devices, environment, judgement, limits, mounts, names, naming, network, sockets,
};
use super::{region, unset, values};
use crate::diagnostic::Diagnostic;
use crate::fidelity::{Enforced, Enforcement, Mechanism};
use crate::host::{Files, Host};
use crate::plan::{LandlockPlan, LinuxPlan, Mediated, TerminalPlan};
use crate::policy::{Effect, Policy, RuleId, Subject};
use crate::question::Platform;
use crate::source::Place;

/// What lowering yields: the plan, how faithfully it enforces each rule, and what is wrong.
///
/// With an error among the diagnostics the plan is never applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// The plan.
    pub plan: LinuxPlan,
    /// The rules in their order, then limits, secrets, upstreams and `tls`.
    pub fidelity: Vec<Enforcement>,
    /// The findings: about the machine, then about the rules in their order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Lowers a policy for a machine whose files are looked at through `files`: only paths that the policy names,
/// the links on the way to them, and the names beside a pattern's first wildcard.
#[must_use]
pub fn lower(policy: &Policy, host: &Host, files: &mut dyn Files) -> Lowered {
    let reports = vec![Report::default(); policy.rules.len()];
    let mut findings = Findings { reports, diagnostics: features::check(&host.features) };
    let values = values::of(host, policy);
    let mut atlas = Atlas::new(files);
    let cwd = match atlas.walk(&host.cwd) {
        Ok(walk) => walk.at,
        Err(_) => atlas.place(&host.cwd),
    };

    let mut claims = claims::gather(policy, host, &values, &mut atlas, &mut findings);
    let starts = commands::judge(policy, host, &values, &mut atlas, &mut claims, &mut findings);
    unset::judge(policy, Platform::Linux, &values, &mut findings);
    sockets::close(host, &mut atlas, &mut claims, &mut findings);
    let devices = devices::allowed(policy, &values, &mut atlas, &claims, &mut findings);
    let network = network::plan(policy, host, &values);
    let sought = naming::seek(&network, &mut atlas);
    let plan = region::plan(&claims, cwd, &mut atlas);
    let chart = atlas.chart();
    let regions = region::survey(&claims, &plan, chart);
    let mut file_tree = mounts::build(chart, &claims, &regions, devices, &host.features);
    judgement::judge(policy, chart, &claims, &regions, &file_tree, &mut findings);
    naming::place(sought, chart, &regions, &mut file_tree);
    let cwd = chart.path(cwd).clone();

    features::judge(policy, &host.features, &mut findings);
    let open = names::open_calls(policy, starts, &mut findings);
    network::judge(policy, &network, &mut findings);
    let environment = environment::plan(policy, host, &values, &network, &mut findings);
    let code = if file_tree.writable_executable { WritableCode::Somewhere } else { WritableCode::Nowhere };
    let (memfd, memory_files) = features::memory_files(&host.features, code);
    let terminal = terminal(policy, &mut findings);
    let (limits, limit_reports) = limits::plan(policy, host, &network);
    let seccomp = calls::refused(&Choices { open: &open, features: &host.features, memfd: memory_files });
    let settings = network::settings(policy, &network, &mut findings);
    let (fidelity, diagnostics) = conclude(Platform::Linux, policy, findings, limit_reports, settings);
    Lowered {
        plan: LinuxPlan {
            mounts: file_tree.mounts,
            landlock: LandlockPlan { rules: file_tree.landlock },
            seccomp,
            network,
            environment,
            limits,
            terminal,
            memfd,
            mediated: (starts == Starts::Judged).then_some(Mediated::Starts).into_iter().collect(),
            cwd,
        },
        fidelity,
        diagnostics,
    }
}

/// The terminal is kept if a rule allows it and none closes it.
fn terminal(policy: &Policy, findings: &mut Findings) -> TerminalPlan {
    let mut allowed = TerminalPlan::None;
    let mut closed = None;
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        if rule.subject != Subject::Tty {
            continue;
        }
        if let Some(report) = findings.report(number) {
            report.by(Mechanism::Namespace);
        }
        match rule.effect {
            Effect::Allow => allowed = TerminalPlan::Kept,
            Effect::Deny | Effect::Never => closed = Some(TerminalPlan::None),
        }
    }
    closed.unwrap_or(allowed)
}

const FOR_ONE: &str = "the rule is for {} only";

/// Turns the reports into what a document keeps, and refuses what nobody accepted.
pub(super) fn conclude(
    platform: Platform,
    policy: &Policy,
    findings: Findings,
    limits: Vec<Report>,
    (secrets, upstreams, tls): (Vec<Report>, Vec<Report>, Option<Report>),
) -> (Vec<Enforcement>, Vec<Diagnostic>) {
    let Findings { reports, mut diagnostics } = findings;
    let refused: BTreeSet<Place> = diagnostics.iter().filter_map(|found| found.place).collect();
    let mut fidelity = Vec::new();
    for ((number, mut report), rule) in (0..).map(RuleId).zip(reports).zip(&policy.rules) {
        match rule.platform {
            Some(Platform::Linux) if platform != Platform::Linux => report.note(FOR_ONE, "linux"),
            Some(Platform::MacOs) if platform != Platform::MacOs => report.note(FOR_ONE, "macos"),
            _ => {}
        }
        let told = report.enforcement(Enforced::Rule(number));
        if !refused.contains(&rule.written.place()) {
            diagnostics.extend(acceptance::of_rule(policy, rule, &report, &told));
        }
        fidelity.push(told);
    }
    for ((number, report), limit) in (0..).zip(limits).zip(&policy.limits) {
        let told = report.into_enforcement(Enforced::Limit(number));
        diagnostics.extend(acceptance::of_limit(policy, limit, &told));
        fidelity.push(told);
    }
    fidelity
        .extend((0..).map(Enforced::Secret).zip(secrets).map(|(what, report)| report.into_enforcement(what)));
    fidelity.extend(
        (0..).map(Enforced::Upstream).zip(upstreams).map(|(what, report)| report.into_enforcement(what)),
    );
    fidelity.extend(tls.map(|report| report.into_enforcement(Enforced::Tls)));
    diagnostics.sort_by_key(|found| found.place);
    (fidelity, diagnostics)
}
