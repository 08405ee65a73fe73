//! What `include … without` leaves out, and what it cannot.

use std::collections::BTreeSet;

use fence_grammar::{Span, did_you_mean};
use serde::{Deserialize, Serialize};

use super::Units;
use super::effect::{Force, leaves_out};
use super::findings::{Findings, place, written};
use super::graph::{Edge, Graph};
use super::rule::Draft;
use super::setting::Settings;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{self, Document, Effect, Spanned};
use crate::policy::{LeftOut, LeftOutStatement};
use crate::source::Place;

/// Tells each label that cannot be left out, and lists what is.
pub(super) fn report(
    graph: &Graph,
    force: &Force,
    drafts: &[Draft],
    settings: &Settings,
    findings: &mut Findings,
) -> Vec<LeftOut> {
    let mut left_out = Vec::new();
    for (edge, to) in graph.edges() {
        let Some(include) = graph.include(edge).filter(|include| !include.without.is_empty()) else {
            continue;
        };
        let inside = graph.reach(&[to], |_| true);
        let Some(source) = graph.units.get(edge.0).map(|unit| unit.source) else { continue };
        if include.note.because.is_none() {
            findings.push(
                Diagnostic::new(Code::MissingReason, "a `without` needs a reason")
                    .at(place(source, include.span))
                    .help("add `because \"…\"`: it weakens what is included"),
            );
        }
        for label in &include.without {
            let at = place(source, label.span);
            let carried: Vec<Carried<'_>> = inside
                .iter()
                .flat_map(|unit| carried(graph, *unit))
                .filter(|one| one.label == label.node)
                .collect();
            if carried.is_empty() {
                unknown(graph, &inside, label, &include.policy.node, at, findings);
                continue;
            }
            if let Some(never) = carried.iter().find(|one| one.kind == Kind::Never) {
                findings.push(
                    Diagnostic::new(
                        Code::NeverLeftOut,
                        format!("`{}` is a `never`, and no `without` leaves one out", label.node),
                    )
                    .at(at)
                    .related(never.place, "the `never` is here")
                    .help("take another policy, or write the part of it that you need"),
                );
                continue;
            }
            if let Some((include, never)) =
                carried.iter().find_map(|one| Some((one, never_behind(graph, one)?)))
            {
                findings.push(
                    Diagnostic::new(
                        Code::NeverLeftOut,
                        format!("`{}` brings a `never` in, and no `without` leaves one out", label.node),
                    )
                    .at(at)
                    .related(include.place, "the `include` is here")
                    .related(never, "the `never` is here")
                    .help("take another policy, or write the part of it that you need"),
                );
                continue;
            }
            if !force.reaches(edge.0) {
                continue;
            }
            still_in_force(graph, force, &carried, label, at, findings);
            left_out.extend(leave_out(graph, force, drafts, settings, &inside, edge, &label.node));
        }
    }
    left_out.sort_by(|a, b| {
        (a.written, &a.label, place_of(&a.statement)).cmp(&(b.written, &b.label, place_of(&b.statement)))
    });
    left_out
}

/// What kind of statement carries a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Never,
    /// The `include` with this index in its text.
    Include(usize),
    Other,
}

/// A statement that has a label, or that no `without` leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    label: Option<String>,
    kind: Kind,
    span: Span,
}

/// The notes of a text.
pub(super) fn notes(document: &Document) -> Vec<Note> {
    let on = &document.on;
    let mut all = Vec::new();
    for rule in document.rules.iter().chain(&on.linux.rules).chain(&on.macos.rules) {
        let kind = if rule.effect.node == Effect::Never { Kind::Never } else { Kind::Other };
        all.extend(one(&rule.note, kind, rule.span));
    }
    for limit in document.limits.0.iter().chain(&on.linux.limits.0).chain(&on.macos.limits.0) {
        all.extend(one(&limit.note, Kind::Other, limit.span));
    }
    for secret in &document.secrets {
        all.extend(one(&secret.note, Kind::Other, secret.span));
    }
    for set in &document.set.0 {
        all.extend(one(&set.note, Kind::Other, set.span));
    }
    for (index, include) in document.include.iter().enumerate() {
        all.extend(one(&include.note, Kind::Include(index), include.span));
    }
    all
}

fn one(note: &document::Note, kind: Kind, span: Span) -> Option<Note> {
    let label = note.label.as_ref().map(|label| label.node.clone());
    (label.is_some() || kind == Kind::Never).then_some(Note { label, kind, span })
}

/// A statement with a label.
struct Carried<'a> {
    unit: usize,
    label: &'a str,
    kind: Kind,
    place: Place,
}

/// Every statement of a text that has a label.
fn carried(graph: &Graph, number: usize) -> impl Iterator<Item = Carried<'_>> {
    graph.units.get(number).into_iter().flat_map(move |unit| {
        unit.notes().iter().filter_map(move |note| {
            let label = note.label.as_deref()?;
            Some(Carried { unit: number, label, kind: note.kind, place: place(unit.source, note.span) })
        })
    })
}

/// The first `never` that an `include` brings in.
fn never_behind(graph: &Graph, include: &Carried<'_>) -> Option<Place> {
    let Kind::Include(index) = include.kind else { return None };
    let target = graph.units.get(include.unit)?.includes.get(index)?.as_ref().ok()?;
    graph.reach(&[*target], |_| true).into_iter().find_map(|unit| {
        let unit = graph.units.get(unit)?;
        let never = unit.notes().iter().find(|note| note.kind == Kind::Never)?;
        Some(place(unit.source, never.span))
    })
}

/// All labels of these texts.
pub(super) fn labels(graph: &Graph, units: &Units) -> BTreeSet<String> {
    units.iter().flat_map(|unit| carried(graph, *unit)).map(|one| one.label.to_owned()).collect()
}

/// Whether these texts may have this label in what could not be read: a statement with an error, or a missing
/// text. A label that is nearly one of those that were read is taken for a mistake all the same.
pub(super) fn may_be_lost(graph: &Graph, units: &Units, label: &str, known: &BTreeSet<String>) -> bool {
    let near = did_you_mean(label, known.iter().map(String::as_str)).is_some();
    units.iter().filter_map(|unit| graph.units.get(*unit)).any(|unit| {
        let missing = unit.left_out.unlisted.is_some()
            || unit.includes.len() < unit.document.include.len()
            || unit.includes.iter().any(Result::is_err);
        unit.left_out.labels.contains(label) || (missing && !near)
    })
}

fn unknown(
    graph: &Graph,
    inside: &Units,
    label: &Spanned<String>,
    policy: &str,
    at: Place,
    findings: &mut Findings,
) {
    let known = labels(graph, inside);
    if may_be_lost(graph, inside, &label.node, &known) {
        return;
    }
    let mut found =
        Diagnostic::new(Code::UnknownLabel, format!("nothing in `{policy}` has the label `{}`", label.node))
            .at(at);
    if let Some(near) = did_you_mean(&label.node, known.iter().map(String::as_str)) {
        found = found.help(format!("did you mean `{near}`?"));
    }
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    findings.push(match names.as_slice() {
        [] => found.help("no rule in it has a label"),
        names => found.help(format!("its labels are {}", names.join(", "))),
    });
}

/// Warns where a statement left out here comes in by another way.
fn still_in_force(
    graph: &Graph,
    force: &Force,
    carried: &[Carried<'_>],
    label: &Spanned<String>,
    at: Place,
    findings: &mut Findings,
) {
    let Some(held) = carried.iter().find(|one| force.holds(one.unit, Some(&label.node))) else { return };
    let ways = |edge: Edge| force.live.contains(&edge) && !leaves_out(graph, edge, &label.node);
    let chain =
        if graph.mains.contains(&held.unit) { None } else { graph.chain(&graph.mains, held.unit, ways) };
    let chain = chain.unwrap_or_default();
    let mut found = Diagnostic::new(
        Code::StillInForce,
        format!("`{}` is left out here and in force all the same", label.node),
    )
    .at(at);
    for edge in &chain {
        if let (Some(include), Some(unit)) = (graph.include(*edge), graph.units.get(edge.0)) {
            let message = format!("`{}` brings it in", include.policy.node);
            found = found.related(place(unit.source, include.span), message);
        }
    }
    findings.push(found.help(format!("leave `{}` out there too, or take this `without` away", label.node)));
}

fn leave_out(
    graph: &Graph,
    force: &Force,
    drafts: &[Draft],
    settings: &Settings,
    inside: &Units,
    edge: Edge,
    label: &str,
) -> Vec<LeftOut> {
    let gone = |unit: usize, of: Option<&str>| {
        of == Some(label) && inside.contains(&unit) && !force.holds(unit, Some(label))
    };
    let mut statements: Vec<LeftOutStatement> = Vec::new();
    for draft in drafts.iter().filter(|draft| gone(draft.unit, draft.rule.label.as_deref())) {
        statements.push(LeftOutStatement::Rule(draft.rule.clone()));
    }
    for (_, limit) in settings.limits.iter().filter(|(unit, limit)| gone(*unit, limit.label.as_deref())) {
        statements.push(LeftOutStatement::Limit(limit.clone()));
    }
    for (_, secret) in settings.secrets.iter().filter(|(unit, secret)| gone(*unit, secret.label.as_deref())) {
        statements.push(LeftOutStatement::Secret(secret.clone()));
    }
    for (_, name, set) in settings.sets.iter().filter(|(unit, _, set)| gone(*unit, set.label.as_deref())) {
        statements.push(LeftOutStatement::Set { name: name.clone(), set: set.clone() });
    }
    for unit in inside {
        let Some(unit) = graph.units.get(*unit).map(|of| (*unit, of)) else { continue };
        for include in &unit.1.document.include {
            if gone(unit.0, include.note.label.as_ref().map(|label| label.node.as_str())) {
                statements.push(LeftOutStatement::Include {
                    policy: include.policy.node.clone(),
                    written: written(&graph.sources, unit.1.source, include.span),
                });
            }
        }
    }
    let (Some(include), Some(unit)) = (graph.include(edge), graph.units.get(edge.0)) else {
        return Vec::new();
    };
    let because = include.note.because.as_ref().map_or(String::new(), |because| because.node.clone());
    let here = written(&graph.sources, unit.source, include.span);
    statements
        .into_iter()
        .map(|statement| LeftOut {
            label: label.to_owned(),
            statement,
            written: here,
            because: because.clone(),
        })
        .collect()
}

fn place_of(statement: &LeftOutStatement) -> crate::policy::Written {
    match statement {
        LeftOutStatement::Rule(rule) => rule.written,
        LeftOutStatement::Limit(limit) => limit.written,
        LeftOutStatement::Secret(secret) => secret.written,
        LeftOutStatement::Set { set, .. } => set.written,
        LeftOutStatement::Include { written, .. } => *written,
    }
}
