//! From a policy and a machine to a [`LinuxPlan`].

use std::collections::BTreeSet;

use super::acceptance::{self, Unaccepted};
use super::atlas::Atlas;
use super::calls::{self, Choices};
use super::claims::{self, Claims, Findings, is_for_linux};
use super::commands::Starts;
use super::coverage::Side;
use super::features::{self, WritableCode};
use super::judgement;
use super::mounts::{self, FileTree, Surface};
use super::network::Keeper;
use super::region::{self, OwnTmp, Region};
use super::report::{Cause, Report};
use super::target::{Finish, Holder, LinuxTarget};
use super::{commands, devices, environment, landlock, limits, names, naming, network, sockets};
use super::{unset, values};
use crate::diagnostic::Diagnostic;
use crate::fidelity::{Enforced, Enforcement, Mechanism};
use crate::host::{Files, Host};
use crate::plan::{Executing, LandlockPlan, LinuxPlan, Mediated, TerminalPlan};
use crate::policy::{Effect, Policy, RuleId, Subject};
use crate::question::Platform;
use crate::source::Place;

/// What lowering yields: the plan, how faithfully it enforces each rule, and what is wrong.
///
/// With an error among the diagnostics the plan is never applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered<P = LinuxPlan> {
    /// The plan.
    pub plan: P,
    /// The rules in their order, then limits, secrets, upstreams and `tls`.
    pub fidelity: Vec<Enforcement>,
    /// The findings: about the machine, then about the rules in their order.
    pub diagnostics: Vec<Diagnostic>,
    /// What the target leaves open for every policy, where a rule closes it: an error unless a person chooses the target.
    pub left_to_a_person: Vec<Diagnostic>,
}

/// Lowers a policy for a machine whose files are looked at through `files`: only paths that the policy names,
/// the links on the way to them, and the names beside a pattern's first wildcard.
#[must_use]
pub fn lower(policy: &Policy, host: &Host, files: &mut dyn Files) -> Lowered {
    lower_for(&LinuxTarget::Native, policy, host, files)
}

/// Lowers a policy for a machine and one of the things that apply a plan there.
#[must_use]
pub fn lower_for(target: &LinuxTarget, policy: &Policy, host: &Host, files: &mut dyn Files) -> Lowered {
    match target {
        LinuxTarget::Landlock(run) => landlock::lower(target, run, policy, host, files),
        LinuxTarget::Native => mounted(target, policy, host, files),
        LinuxTarget::Bwrap(_) => {
            let usable = Host { features: target.usable(&host.features), ..host.clone() };
            mounted(target, policy, &usable, files)
        }
    }
}

/// Lowers for what makes namespaces and mounts.
fn mounted(target: &LinuxTarget, policy: &Policy, host: &Host, files: &mut dyn Files) -> Lowered {
    let reports = vec![Report::default(); policy.rules.len()];
    let mut findings = Findings { reports, diagnostics: features::check(target, &host.features) };
    let values = values::of(host, policy);
    let mut atlas = Atlas::new(files);
    let cwd = match atlas.walk(&host.cwd) {
        Ok(walk) => walk.at,
        Err(_) => atlas.place(&host.cwd),
    };

    let mut claims = claims::gather(policy, host, &values, &mut atlas, &mut findings);
    let network = network::plan(policy, host, &values);
    let starts = commands::starts(policy, host, &network);
    commands::judge(policy, host, &values, &mut atlas, &mut claims, &mut findings, starts);
    unset::judge(policy, Platform::Linux, &values, &mut findings);
    let opened = sockets::close(host, &mut atlas, &mut claims);
    let devices = devices::allowed(policy, &values, &mut atlas, &claims, &mut findings);
    let sought = naming::seek(&network, &mut atlas);
    let plan = region::plan(&claims, cwd, &mut atlas, OwnTmp::Mounted);
    let chart = atlas.chart();
    let regions = region::survey(&claims, &plan, chart);
    let mut file_tree = mounts::build(chart, &claims, &regions, devices, &host.features, target.holder());
    let mediation = &host.features.mediation;
    let mut mediated =
        judgement::judge(policy, chart, &claims, &regions, &file_tree, mediation, &mut findings);
    // A program is read when it starts.
    let starts = if mediated.contains(&Mediated::Starts) { Starts::Judged } else { starts };
    mediated.extend((starts == Starts::Judged).then_some(Mediated::Starts));
    if !mediated.contains(&Mediated::Sockets) {
        sockets::tell(&opened, &mut findings);
    }
    if *target == LinuxTarget::Bwrap(Finish::ByNobody) {
        judge_list(&claims, &regions, &file_tree, &mut findings);
        judge_unserved(policy, &mut findings);
    }
    naming::place(sought, chart, &regions, &mut file_tree);
    let cwd = chart.path(cwd).clone();

    features::judge(policy, &host.features, &mut findings);
    let open = names::open_calls(policy, starts, &mut findings);
    network::judge(policy, &network, Keeper::Namespace, starts, &mut findings);
    let environment = environment::plan(policy, host, &values, &network, &mut findings);
    let code = if file_tree.writable_executable { WritableCode::Somewhere } else { WritableCode::Nowhere };
    let (memfd, memory_files) = features::memory_files(&host.features, code);
    let terminal = terminal(policy, &mut findings);
    let (limits, limit_reports) = match target {
        LinuxTarget::Bwrap(Finish::ByNobody) => limits::counted_outside(policy, host, &network),
        _ => limits::plan(policy, host, &network),
    };
    let seccomp = calls::refused(&Choices {
        open: &open,
        features: &host.features,
        memfd: memory_files,
        mediated: &mediated,
    });
    let settings = network::settings(policy, &network, &mut findings);
    let concluded = conclude_all(Platform::Linux, policy, findings, limit_reports, settings);
    if file_tree.holder == Holder::Mounts {
        file_tree.landlock.clear();
    }
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
            mediated,
            cwd,
        },
        fidelity: concluded.fidelity,
        diagnostics: concluded.diagnostics,
        left_to_a_person: concluded.left_to_a_person,
    }
}

const EXECUTABLE: &str =
    "bubblewrap mounts nothing `noexec`, so that what may be read or written there can be executed: {}";

/// Tells what the list for bubblewrap leaves open by itself.
fn judge_list(claims: &Claims<'_>, regions: &[Region<'_>], tree: &FileTree, findings: &mut Findings) {
    for (region, surface) in regions.iter().zip(&tree.surfaces) {
        let refused = match surface {
            Surface::Tree { executing, .. } => *executing == Executing::Refused,
            Surface::Private(rights) => !rights.exec,
            _ => false,
        };
        if !refused {
            continue;
        }
        for claim in region.claims.iter().filter_map(|claim| claims.list.get(*claim)) {
            if claim.side == Side::Item
                && region.opening.binary_search(&claim.party).is_ok()
                && let Some(report) = findings.report(claim.party)
            {
                report.weaker(Cause::Target, EXECUTABLE, &claim.text);
            }
        }
    }
}

const UNSERVED: &str = "nobody serves connections where fence does not run: {}";

/// Tells that nothing is connected to where fence does not run.
fn judge_unserved(policy: &Policy, findings: &mut Findings) {
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let texts: Vec<&str> = match &rule.subject {
            Subject::Connect { items, .. } => items.iter().map(|item| item.text.as_str()).collect(),
            Subject::Http { items, .. } => items.iter().map(|item| item.text.as_str()).collect(),
            Subject::Listen { .. } => vec!["listen"],
            _ => continue,
        };
        if rule.effect == Effect::Allow
            && let Some(report) = findings.report(number)
        {
            texts.iter().for_each(|text| report.stricter(UNSERVED, text));
        }
    }
}

/// The terminal is kept if a rule allows it and none closes it.
pub(super) fn terminal(policy: &Policy, findings: &mut Findings) -> TerminalPlan {
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

/// The reports of secrets, of upstream proxies, and of the `tls` setting.
pub(super) type Settings = (Vec<Report>, Vec<Report>, Option<Report>);

/// What the reports come to.
pub(super) struct Concluded {
    /// As a document keeps it.
    pub fidelity: Vec<Enforcement>,
    /// The findings.
    pub diagnostics: Vec<Diagnostic>,
    /// What only a person may choose.
    pub left_to_a_person: Vec<Diagnostic>,
}

/// Turns the reports into what a document keeps, and refuses what nobody accepted.
pub(super) fn conclude(
    platform: Platform,
    policy: &Policy,
    findings: Findings,
    limits: Vec<Report>,
    settings: Settings,
) -> (Vec<Enforcement>, Vec<Diagnostic>) {
    let concluded = conclude_all(platform, policy, findings, limits, settings);
    (concluded.fidelity, concluded.diagnostics)
}

/// The same, with what a person accepts by choosing the target.
pub(super) fn conclude_all(
    platform: Platform,
    policy: &Policy,
    findings: Findings,
    limits: Vec<Report>,
    (secrets, upstreams, tls): Settings,
) -> Concluded {
    let Findings { reports, mut diagnostics } = findings;
    let mut left_to_a_person = Vec::new();
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
            match acceptance::of_rule(policy, rule, &report, &told) {
                None => {}
                Some(Unaccepted::Refused(found)) => diagnostics.push(found),
                Some(Unaccepted::LeftToAPerson(found)) => left_to_a_person.push(found),
            }
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
    Concluded { fidelity, diagnostics, left_to_a_person }
}
