//! Which statements are in force: what is left out on every way that leads to them is not.

use std::collections::{BTreeMap, BTreeSet};

use super::Units;
use super::graph::{Edge, Graph};
use super::rule::Draft;
use super::setting::Settings;
use crate::policy::{Effect, Limit, Secret, SetVariable, Tls, Upstream};

/// For each label that some `without` names, the texts that a way without that `without` leads to.
pub(super) struct Force {
    /// The includes that are in force themselves.
    pub(super) live: BTreeSet<Edge>,
    reached: Units,
    above: Units,
    by_label: BTreeMap<String, Units>,
}

impl Force {
    /// Follows every include.
    pub(super) fn of(graph: &Graph) -> Force {
        let edges: Vec<Edge> = graph.edges().map(|(edge, _)| edge).collect();
        let label_of = |edge: Edge| {
            graph
                .include(edge)
                .and_then(|include| include.note.label.as_ref())
                .map(|label| label.node.as_str())
        };
        let dropped: BTreeSet<&str> = edges
            .iter()
            .filter_map(|edge| graph.include(*edge))
            .flat_map(|include| include.without.iter().map(|label| label.node.as_str()))
            .collect();
        // An include whose label is left out somewhere holds where a way leads to it that does not leave it out;
        // such includes are found one after the other, because each may open ways to others.
        let mut live: BTreeSet<Edge> = edges
            .iter()
            .copied()
            .filter(|edge| label_of(*edge).is_none_or(|label| !dropped.contains(label)))
            .collect();
        loop {
            let mut more: BTreeSet<Edge> = BTreeSet::new();
            for edge in edges.iter().filter(|edge| !live.contains(edge)) {
                let Some(label) = label_of(*edge) else { continue };
                let ways = |edge: Edge| live.contains(&edge) && !leaves_out(graph, edge, label);
                if graph.reach(&graph.mains, ways).contains(&edge.0) {
                    more.insert(*edge);
                }
            }
            if more.is_empty() {
                break;
            }
            live.extend(more);
        }
        let by_label = dropped
            .into_iter()
            .map(|label| {
                let ways = |edge: Edge| live.contains(&edge) && !leaves_out(graph, edge, label);
                (label.to_owned(), graph.reach(&graph.mains, ways))
            })
            .collect();
        let reached = graph.reach(&graph.mains, |edge| live.contains(&edge));
        Force { live, reached, above: graph.reach(&graph.above, |_| true), by_label }
    }

    /// Whether a statement with this label in this text is in force.
    pub(super) fn holds(&self, unit: usize, label: Option<&str>) -> bool {
        let by_label = label.and_then(|label| self.by_label.get(label));
        by_label.unwrap_or(&self.reached).contains(&unit)
    }

    /// Whether the main policies lead to this text at all.
    pub(super) fn reaches(&self, unit: usize) -> bool {
        self.reached.contains(&unit)
    }
}

/// Whether this include leaves out statements with this label.
pub(super) fn leaves_out(graph: &Graph, edge: Edge, label: &str) -> bool {
    graph.include(edge).is_some_and(|include| include.without.iter().any(|one| one.node == label))
}

/// Everything in force, in the order of sources and lines.
pub(super) struct InForce {
    pub(super) rules: Vec<Draft>,
    pub(super) sets: Vec<(String, SetVariable)>,
    pub(super) set: BTreeMap<String, SetVariable>,
    pub(super) secrets: Vec<Secret>,
    pub(super) limits: Vec<Limit>,
    pub(super) tls: Option<Tls>,
    pub(super) upstreams: Vec<Upstream>,
}

/// Takes what is in force. Of the texts that hold above, only what their `never` rules close.
pub(super) fn select(force: &Force, rules: Vec<Draft>, settings: Settings) -> InForce {
    let mut rules: Vec<Draft> = rules
        .into_iter()
        .filter(|draft| {
            force.holds(draft.unit, draft.rule.label.as_deref())
                || (draft.rule.effect == Effect::Never && force.above.contains(&draft.unit))
        })
        .collect();
    rules.sort_by_key(|draft| order(draft.rule.written));
    let mut sets: Vec<(String, SetVariable)> = settings
        .sets
        .into_iter()
        .filter(|(unit, _, set)| force.holds(*unit, set.label.as_deref()))
        .map(|(_, name, set)| (name, set))
        .collect();
    sets.sort_by_key(|(_, set)| order(set.written));
    let mut secrets: Vec<Secret> = settings
        .secrets
        .into_iter()
        .filter(|(unit, secret)| force.holds(*unit, secret.label.as_deref()))
        .map(|(_, secret)| secret)
        .collect();
    secrets.sort_by_key(|secret| order(secret.written));
    let mut limits: Vec<Limit> = settings
        .limits
        .into_iter()
        .filter(|(unit, limit)| force.holds(*unit, limit.label.as_deref()))
        .map(|(_, limit)| limit)
        .collect();
    limits.sort_by_key(|limit| order(limit.written));
    let mut upstreams: Vec<Upstream> =
        settings.upstreams.into_iter().filter(|(unit, _)| force.reaches(*unit)).map(|(_, one)| one).collect();
    upstreams.sort_by_key(|upstream| order(upstream.written));
    let modes: Vec<Tls> =
        settings.tls.into_iter().filter(|(unit, _)| force.reaches(*unit)).map(|(_, mode)| mode).collect();
    let tls = if modes.contains(&Tls::Strict) { Some(Tls::Strict) } else { modes.first().copied() };
    let mut set = BTreeMap::new();
    for (name, value) in &sets {
        set.entry(name.clone()).or_insert_with(|| value.clone());
    }
    InForce { rules, sets, set, secrets, limits, tls, upstreams }
}

fn order(written: crate::policy::Written) -> (crate::source::SourceId, u32, u32) {
    (written.source, written.start, written.end)
}
