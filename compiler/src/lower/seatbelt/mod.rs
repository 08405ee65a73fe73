//! Lowering to a profile of macOS's Seatbelt.
//!
//! Every answer of the profile is the same in all readings of its language that public evidence leaves open: the
//! same operations stand in what allows and in what denies, and denials come last.

mod emit;
mod files;
mod filters;
mod limits;
mod machine;
mod network;
mod pins;
mod places;
mod services;
mod sexpr;
mod spelling;
mod tag;

pub use machine::like_a_mac;
pub use sexpr::{Quoted, Unquotable};
pub use tag::{BadRunId, Run, RunId};

use emit::Emitter;
use files::MacFiles;

use super::atlas::Atlas;
use super::claims::Findings;
use super::report::Report;
use super::{environment, linux, unset, values};
use crate::diagnostic::{Code, Diagnostic};
use crate::host::{Files, Host};
use crate::pattern::Variable;
use crate::plan::{NetworkPlan, TerminalPlan};
use crate::policy::{Effect, Policy, Subject};
use crate::profile::{SeatbeltPlan, Tools};
use crate::question::Platform;
use crate::world::World;

/// What lowering to Seatbelt yields.
pub type Lowered = linux::Lowered<SeatbeltPlan>;

/// The largest profile, in bytes of what its compiler reads. Seatbelt refuses more than 65,535 bytes of compiled
/// patterns; what it makes of a text is not public, so this leaves a quarter of that free.
pub const LARGEST: usize = 48 * 1024;

/// Lowers a policy for a Mac. The same policy, machine and run give the same bytes.
#[must_use]
pub fn lower(policy: &Policy, host: &Host, files: &mut dyn Files, run: &Run) -> Lowered {
    let Run { id: run, publish } = run;
    let reports = vec![Report::default(); policy.rules.len()];
    let mut findings = Findings { reports, diagnostics: Vec::new() };
    let mut values = values::of(host, policy);
    values.insert(Variable::Tmp, run.tmp().as_bytes().to_vec());
    let world = World {
        platform: Platform::MacOs,
        variables: values.clone(),
        links: Default::default(),
        hosts: Default::default(),
        protected: host.protected.clone(),
    };
    let mut files = MacFiles::new(files);
    let mut atlas = Atlas::new(&mut files);
    let gathered = places::gather(policy, host, &values, &mut atlas, &mut findings);
    unset::judge(policy, Platform::MacOs, &values, &mut findings);
    let terminal = terminal(policy, &mut findings);
    let network = network::plan(policy, &world, publish, &mut findings);
    let services = services::plan(policy, &world, &mut findings);
    services::judge_commands(policy, &mut findings);
    let environment = environment::plan(policy, host, &values, &NetworkPlan::Isolated, &mut findings);
    let (limits, limit_reports) = limits::plan(policy, host);

    let mut emitter = Emitter::new(policy, host, run, &mut findings, &mut atlas);
    emitter.start(terminal);
    emitter.services(&services);
    emitter.files(&gathered, run);
    emitter.network(&network);
    let statements = emitter.finish();

    let bytes: usize = statements.iter().map(sexpr::Statement::bytes).sum();
    if bytes > LARGEST {
        findings.diagnostics.push(too_large(&statements, bytes));
    }
    let settings = network::settings(policy);
    let (fidelity, diagnostics) = linux::conclude(Platform::MacOs, policy, findings, limit_reports, settings);
    linux::Lowered {
        plan: SeatbeltPlan {
            profile: sexpr::print(&statements),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            run: run.as_str().to_owned(),
            tmp: run.tmp(),
            proxy: network.proxy,
            environment,
            limits,
            terminal,
            cwd: host.cwd.clone(),
            tools: Tools::of_macos(),
        },
        fidelity,
        diagnostics,
        left_to_a_person: Vec::new(),
    }
}

const TYPED: &str =
    "a profile tells no calls on a terminal apart, so a program inside can put characters into its input: {}";

/// The terminal is kept if a rule allows it and none closes it.
fn terminal(policy: &Policy, findings: &mut Findings) -> TerminalPlan {
    let mut allowed = TerminalPlan::None;
    let mut closed = None;
    for (number, rule) in policy.rules.iter().enumerate() {
        if rule.subject != Subject::Tty || !places::is_for_macos(rule) {
            continue;
        }
        if let Some(report) = findings.report(number) {
            report.by(crate::fidelity::Mechanism::Seatbelt);
            if rule.effect == Effect::Allow {
                report.note(TYPED, "terminal");
            }
        }
        match rule.effect {
            Effect::Allow => allowed = TerminalPlan::Kept,
            Effect::Deny | Effect::Never => closed = Some(TerminalPlan::None),
        }
    }
    closed.unwrap_or(allowed)
}

/// Names the rules that take most of a profile.
fn too_large(statements: &[sexpr::Statement], bytes: usize) -> Diagnostic {
    let mut owners = std::collections::BTreeMap::<&str, usize>::new();
    for statement in statements {
        if let sexpr::Statement::Rule { owner, .. } = statement {
            *owners.entry(owner).or_default() += statement.bytes();
        }
    }
    let mut largest: Vec<(&str, usize)> = owners.into_iter().collect();
    largest.sort_by_key(|(owner, bytes)| (std::cmp::Reverse(*bytes), *owner));
    let named: Vec<String> =
        largest.iter().take(3).map(|(owner, bytes)| format!("{owner} with {bytes} bytes")).collect();
    Diagnostic::new(
        Code::ProfileTooLarge,
        format!("the profile has {bytes} bytes, and Seatbelt is given at most {LARGEST}"),
    )
    .help(format!("the largest parts are {}", named.join(", ")))
    .help("write fewer items: a directory in place of what lies in it, a range of ports that is as small as it can be")
}
