//! From texts to the typed policy: includes, `without`, variables, labels, platforms, items.
//!
//! Everything here is total: a text with mistakes still yields the policy of everything that could be
//! understood, and every mistake is told once, at its place, whatever the order of statements and files.

mod conflict;
mod effect;
mod findings;
mod graph;
mod item;
mod limit;
mod prepared;
mod rule;
mod scope;
mod setting;
mod syntax;
mod tests;
mod upstream;
mod without;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::diagnostic::Diagnostic;
use crate::policy::{IncludeRecord, Policy, RuleId, SourceRecord, Test};
use crate::source::{Loader, Origin, Source, Sources};
use effect::Force;
use findings::Findings;
pub(crate) use graph::is_path;
use graph::{Graph, Unit};
pub use prepared::prepare;
use rule::Draft;
use scope::Lets;
use setting::Settings;

/// What to resolve.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The policies whose union holds: each `-p`, and each `--rule` with [`Origin::Given`]. The first names it.
    pub mains: Vec<Source>,
    /// Values that `--set` gives to a `let` of a main policy.
    pub set: Vec<(String, String)>,
    /// Policies that hold above every other: only what their `never` rules close counts.
    pub above: Vec<Source>,
}

/// A resolved policy with its texts and everything that was found.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The policy: everything that could be understood. With an error among the findings it must run nothing.
    pub policy: Policy,
    /// Its texts: the main ones in the order given, then all others sorted by where they come from.
    pub sources: Sources,
    /// The findings, sorted by text and place.
    pub diagnostics: Vec<Diagnostic>,
    /// The rules that only the texts above bring in.
    above: BTreeSet<RuleId>,
}

impl Resolved {
    /// The policy without what holds above it: what its tests are about, wherever they run.
    #[must_use]
    pub fn alone(&self) -> Policy {
        let mut policy = self.policy.clone();
        let mut number = (0..).map(RuleId);
        policy.rules.retain(|_| number.next().is_some_and(|id| !self.above.contains(&id)));
        policy
    }
}

/// Resolves a policy with everything it includes; `loader` is the only door through which texts come in.
#[must_use]
pub fn resolve(request: &Request, loader: &dyn Loader) -> Resolved {
    let mut findings = Findings::default();
    let Read { graph, lets, drafts, settings, tests } = read(request, loader, &mut findings);
    let force = Force::of(&graph);
    let left_out = without::report(&graph, &force, &drafts, &settings, &mut findings);
    let in_force = effect::select(&force, drafts, settings);
    conflict::report(&in_force, &graph, &mut findings);
    let from_above = |draft: &Draft| !force.holds(draft.unit, draft.rule.label.as_deref());
    let above = (0..).map(RuleId).zip(&in_force.rules);
    let above = above.filter(|(_, draft)| from_above(draft)).map(|(id, _)| id).collect();
    let (name, description) = title(&graph);
    let policy = Policy {
        name,
        description,
        sources: records(&graph, &force),
        mains: graph.mains.iter().filter_map(|main| Some(graph.units.get(*main)?.source)).collect(),
        rules: in_force.rules.into_iter().map(|draft| draft.rule).collect(),
        set: in_force.set,
        secrets: in_force.secrets,
        limits: in_force.limits,
        tls: in_force.tls,
        upstreams: in_force.upstreams,
        tests,
        left_out,
        changed: lets.changed(&request.set),
    };
    Resolved { policy, diagnostics: findings.sorted(), sources: graph.sources, above }
}

/// Everything that the texts say, each by itself.
struct Read {
    graph: Graph,
    lets: Lets,
    drafts: Vec<Draft>,
    settings: Settings,
    tests: Vec<Test>,
}

/// Loads all texts and reads what they say.
fn read(request: &Request, loader: &dyn Loader, findings: &mut Findings) -> Read {
    let mut graph = Graph::load(request, loader);
    syntax::report(&graph, findings);
    graph::report(&graph, findings);
    let lets = Lets::evaluate(&graph, &request.set, findings);
    let drafts = rule::draft(&graph, &lets, findings);
    let settings = setting::draft(&graph, &lets, findings);
    let tests = tests::draft(&graph, &lets, findings);
    lets.report_unused(&graph, findings);
    let prior = graph.take_prior();
    let mut read = Read { graph, lets, drafts, settings, tests };
    for (unit, prior) in prior {
        prior.join(unit, &mut read);
    }
    read
}

/// The name and description of the first main text that is no `--rule`.
fn title(graph: &Graph) -> (Option<String>, Option<String>) {
    let mains = graph.mains.iter().filter_map(|unit| graph.units.get(*unit));
    mains
        .filter(|unit| !matches!(unit.origin, Origin::Given(_)))
        .map(|unit| {
            let text =
                |text: &Option<crate::document::Spanned<String>>| text.as_ref().map(|t| t.node.clone());
            (text(&unit.document.policy), text(&unit.document.description))
        })
        .next()
        .unwrap_or((None, None))
}

fn records(graph: &Graph, force: &Force) -> Vec<SourceRecord> {
    let record = |unit: &Unit| {
        let source = graph.sources.get(unit.source)?;
        Some(SourceRecord {
            origin: source.origin.clone(),
            name: source.name.clone(),
            sha256: unit.sha256.clone().unwrap_or_else(|| sha256(&source.text)),
            includes: Vec::new(),
        })
    };
    let mut records: Vec<SourceRecord> = graph.units.iter().filter_map(record).collect();
    for (edge, to) in graph.edges().filter(|(edge, _)| force.live.contains(edge)) {
        let (Some(record), Some(to)) = (records.get_mut(edge.0), graph.units.get(to)) else { continue };
        let without = graph.include(edge).map(|include| &include.without).into_iter().flatten();
        let without = without.map(|label| label.node.clone()).collect();
        record.includes.push(IncludeRecord { source: to.source, without });
    }
    records
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Units by their number.
type Units = BTreeSet<usize>;
