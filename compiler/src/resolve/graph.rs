//! The texts of a policy and how they include one another.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fence_grammar::{LeftOut, Parsed, SyntaxError, did_you_mean};

use super::findings::{Findings, place};
use super::prepared::{Prepared, Prior, Role};
use super::without::{self, Note};
use super::{Request, Units};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Document, from_tree, read};
use crate::source::{LoadError, Loader, Origin, Reference, Source, SourceId, Sources};

/// The most texts that one policy may be made of.
const MOST_TEXTS: usize = 1_000;

/// All texts, each once, and who includes whom. A unit's number is its source's.
pub(super) struct Graph {
    pub(super) sources: Sources,
    pub(super) units: Vec<Unit>,
    /// The main units, in the order asked for.
    pub(super) mains: Vec<usize>,
    /// The units that hold above.
    pub(super) above: Vec<usize>,
    /// Whether there were more texts than a policy may have.
    overflow: Option<(usize, usize)>,
}

/// One text.
pub(super) struct Unit {
    pub(super) source: SourceId,
    pub(super) origin: Origin,
    pub(super) document: Document,
    pub(super) errors: Vec<SyntaxError>,
    pub(super) left_out: LeftOut,
    /// For each `include` of the document, what it leads to.
    pub(super) includes: Vec<Result<usize, LoadError>>,
    /// Its hash, where it was prepared; then the document holds its head alone.
    pub(super) sha256: Option<String>,
    notes: OnceCell<Vec<Note>>,
    prior: Option<Prior>,
}

impl Unit {
    /// What may be left out of it, and what may not.
    pub(super) fn notes(&self) -> &[Note] {
        self.notes.get_or_init(|| without::notes(&self.document))
    }
}

/// An `include` statement: the unit that holds it, and its index there.
pub(super) type Edge = (usize, usize);

/// What makes two texts one: where they come from; a text from nowhere is itself alone.
type Key = (Origin, String);

impl Graph {
    /// Loads everything.
    pub(super) fn load(request: &Request, loader: &dyn Loader) -> Graph {
        let mut loading = Loading::default();
        let main = match request.set.as_slice() {
            [] => Reading::Prepared(Role::Main),
            _ => Reading::Text,
        };
        let mains: Vec<usize> =
            request.mains.iter().map(|source| loading.add(source.clone(), main, loader)).collect();
        let above: Vec<usize> =
            request.above.iter().map(|source| loading.add(source.clone(), INCLUDED, loader)).collect();
        let mut next = 0;
        while next < loading.units.len() {
            loading.follow(next, loader);
            next += 1;
        }
        loading.finish(mains, above)
    }

    /// Takes the statements of the texts that were read ahead of time.
    pub(super) fn take_prior(&mut self) -> Vec<(usize, Prior)> {
        let units = self.units.iter_mut().enumerate();
        units.filter_map(|(number, unit)| Some((number, unit.prior.take()?))).collect()
    }

    /// Every include that leads somewhere.
    pub(super) fn edges(&self) -> impl Iterator<Item = (Edge, usize)> + '_ {
        self.units.iter().enumerate().flat_map(|(from, unit)| {
            unit.includes
                .iter()
                .enumerate()
                .filter_map(move |(index, to)| to.as_ref().ok().map(|to| ((from, index), *to)))
        })
    }

    /// The statement of an edge.
    pub(super) fn include(&self, edge: Edge) -> Option<&crate::document::Include> {
        self.units.get(edge.0)?.document.include.get(edge.1)
    }

    /// What messages call a unit.
    pub(super) fn name(&self, unit: usize) -> &str {
        self.units.get(unit).and_then(|unit| self.sources.get(unit.source)).map_or("", |s| s.name.as_str())
    }

    /// Everything that can be reached from these units over the edges that `follow` lets pass, themselves too.
    pub(super) fn reach(&self, from: &[usize], mut follow: impl FnMut(Edge) -> bool) -> Units {
        let mut reached: Units = from.iter().copied().collect();
        let mut todo: Vec<usize> = reached.iter().copied().collect();
        while let Some(unit) = todo.pop() {
            let Some(includes) = self.units.get(unit).map(|unit| &unit.includes) else { continue };
            for (index, to) in includes.iter().enumerate() {
                if let Ok(to) = to
                    && !reached.contains(to)
                    && follow((unit, index))
                {
                    reached.insert(*to);
                    todo.push(*to);
                }
            }
        }
        reached
    }

    /// The shortest way to a unit over the edges that `follow` lets pass; edges in the order of statements.
    pub(super) fn chain(
        &self,
        from: &[usize],
        to: usize,
        follow: impl Fn(Edge) -> bool,
    ) -> Option<Vec<Edge>> {
        let mut came: BTreeMap<usize, Edge> = BTreeMap::new();
        let mut seen: Units = from.iter().copied().collect();
        let mut todo: VecDeque<usize> = from.iter().copied().collect();
        while let Some(unit) = todo.pop_front() {
            let Some(includes) = self.units.get(unit).map(|unit| &unit.includes) else { continue };
            for (index, target) in includes.iter().enumerate() {
                let Ok(target) = target else { continue };
                if !follow((unit, index)) || (seen.contains(target) && *target != to) {
                    continue;
                }
                came.entry(*target).or_insert((unit, index));
                if *target == to {
                    return Some(self.back(&came, from, (unit, index)));
                }
                seen.insert(*target);
                todo.push_back(*target);
            }
        }
        None
    }

    fn back(&self, came: &BTreeMap<usize, Edge>, from: &[usize], last: Edge) -> Vec<Edge> {
        let mut chain = vec![last];
        let mut at = last.0;
        while !from.contains(&at) && chain.len() <= self.units.len() {
            let Some(edge) = came.get(&at) else { break };
            chain.push(*edge);
            at = edge.0;
        }
        chain.reverse();
        chain
    }
}

/// Tells what is wrong with the includes themselves.
pub(super) fn report(graph: &Graph, findings: &mut Findings) {
    for (from, unit) in graph.units.iter().enumerate() {
        for (index, target) in unit.includes.iter().enumerate() {
            if let (Err(error), Some(include)) = (target, unit.document.include.get(index)) {
                let found = unloaded(error, &include.policy.node).at(place(unit.source, include.policy.span));
                findings.push(with_chain(graph, found, from));
            }
        }
    }
    cycles(graph, findings);
    if let Some(include) = graph.overflow.and_then(|edge| graph.include(edge).map(|include| (edge, include)))
    {
        let ((from, _), include) = include;
        let source = SourceId(u32::try_from(from).unwrap_or(u32::MAX));
        findings.push(
            Diagnostic::new(Code::TooManyTexts, format!("a policy is made of at most {MOST_TEXTS} texts"))
                .at(place(source, include.span))
                .help("put the rules of several files into one"),
        );
    }
}

fn unloaded(error: &LoadError, written: &str) -> Diagnostic {
    match error {
        LoadError::UnknownName { known } => {
            let found = Diagnostic::new(Code::UnknownPolicy, format!("there is no policy `{written}`"));
            let found = match did_you_mean(written, known.iter().map(String::as_str)) {
                Some(near) => found.help(format!("did you mean `{near}`?")),
                None => found,
            };
            found.help("`fence policies` lists them; a file is written `\"./name.fence\"`")
        }
        LoadError::Unreadable { reason } => {
            Diagnostic::new(Code::UnreadablePolicy, format!("`{written}` cannot be read: {reason}"))
                .help("a path is relative to the file that includes it")
        }
        LoadError::NoDirectory => Diagnostic::new(
            Code::NoDirectory,
            format!("`{written}` is relative, and this text lies in no directory"),
        )
        .help("include a policy by its name, or name the file with `-p`"),
    }
}

/// Adds the includes over which a unit came in.
pub(super) fn with_chain(graph: &Graph, mut found: Diagnostic, unit: usize) -> Diagnostic {
    let roots: Vec<usize> = graph.mains.iter().chain(&graph.above).copied().collect();
    if roots.contains(&unit) {
        return found;
    }
    for edge in graph.chain(&roots, unit, |_| true).unwrap_or_default() {
        if let (Some(include), Some(from)) = (graph.include(edge), graph.units.get(edge.0)) {
            let message = format!("`{}` is included here", include.policy.node);
            found = found.related(place(from.source, include.span), message);
        }
    }
    found
}

/// Tells one cycle for each set of texts that include one another, beginning at the one whose origin sorts first.
fn cycles(graph: &Graph, findings: &mut Findings) {
    let reach: Vec<Units> = (0..graph.units.len())
        .map(|unit| {
            let next: Vec<usize> = graph
                .units
                .get(unit)
                .into_iter()
                .flat_map(|unit| unit.includes.iter().flatten().copied())
                .collect();
            if next.is_empty() { Units::new() } else { graph.reach(&next, |_| true) }
        })
        .collect();
    let reaches = |a: usize, b: usize| reach.get(a).is_some_and(|reached| reached.contains(&b));
    let mut told: BTreeSet<usize> = BTreeSet::new();
    let mut order: Vec<usize> = (0..graph.units.len()).collect();
    order.sort_by_key(|unit| graph.units.get(*unit).map(|unit| &unit.origin));
    for unit in order {
        if told.contains(&unit) || !reaches(unit, unit) {
            continue;
        }
        told.extend((0..graph.units.len()).filter(|other| reaches(unit, *other) && reaches(*other, unit)));
        let Some(chain) = graph.chain(&[unit], unit, |_| true) else { continue };
        let names: Vec<String> = chain
            .iter()
            .map(|edge| format!("`{}`", graph.name(edge.0)))
            .chain([format!("`{}`", graph.name(unit))])
            .collect();
        let mut found =
            Diagnostic::new(Code::IncludeCycle, format!("a policy includes itself: {}", names.join(" → ")))
                .help("leave out one of these includes");
        for (nth, edge) in chain.iter().enumerate() {
            let (Some(include), Some(from)) = (graph.include(*edge), graph.units.get(edge.0)) else {
                continue;
            };
            let at = place(from.source, include.span);
            found = match nth {
                0 => found.at(at),
                _ => found.related(at, format!("`{}` is included here", include.policy.node)),
            };
        }
        findings.push(found);
    }
}

/// What an `include` names: a path if it holds a slash or ends like a policy's file, else a name.
pub(super) fn reference(text: &str) -> Reference<'_> {
    if is_path(text) { Reference::Path(text) } else { Reference::Name(text) }
}

/// Whether what an `include` names is a path.
pub(crate) fn is_path(text: &str) -> bool {
    let file = [".fence", ".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end));
    text.contains('/') || file
}

/// How a text is read.
#[derive(Clone, Copy)]
enum Reading {
    /// As it was read ahead of time, if it was.
    Prepared(Role),
    /// Now: `--set` changes what its statements mean.
    Text,
}

const INCLUDED: Reading = Reading::Prepared(Role::Included);

/// A text that was read.
struct Loaded {
    source: Source,
    document: Document,
    parsed: Parsed,
    sha256: Option<String>,
    notes: OnceCell<Vec<Note>>,
    prior: Option<Prior>,
}

impl Loaded {
    fn new(source: Source, reading: Reading, loader: &dyn Loader) -> Loaded {
        let prepared = match reading {
            Reading::Prepared(role) => Loaded::prepared(&source, role, loader),
            Reading::Text => None,
        };
        if let Some((document, sha256, notes, prior)) = prepared {
            let (parsed, notes) = (Parsed::default(), OnceCell::from(notes));
            return Loaded { source, document, parsed, sha256: Some(sha256), notes, prior: Some(prior) };
        }
        let mut parsed = read(&source);
        let document = from_tree(std::mem::take(&mut parsed.file));
        Loaded { source, document, parsed, sha256: None, notes: OnceCell::new(), prior: None }
    }

    fn prepared(
        source: &Source,
        role: Role,
        loader: &dyn Loader,
    ) -> Option<(Document, String, Vec<Note>, Prior)> {
        let mut prepared = Prepared::read(loader.prepared(source)?)?;
        let document = from_tree(std::mem::take(&mut prepared.head));
        let (sha256, notes) = (std::mem::take(&mut prepared.sha256), std::mem::take(&mut prepared.notes));
        Some((document, sha256, notes, prepared.prior(role)?))
    }
}

/// Texts while they are being loaded, numbered as they come.
#[derive(Default)]
struct Loading {
    units: Vec<Loaded>,
    includes: Vec<Vec<Result<usize, LoadError>>>,
    keys: BTreeMap<Key, usize>,
    names: BTreeMap<String, Result<usize, LoadError>>,
    overflow: Option<(usize, usize)>,
}

impl Loading {
    fn add(&mut self, source: Source, reading: Reading, loader: &dyn Loader) -> usize {
        let key = key(&source);
        if let Some(unit) = self.keys.get(&key) {
            return *unit;
        }
        self.units.push(Loaded::new(source, reading, loader));
        self.includes.push(Vec::new());
        self.keys.insert(key, self.units.len() - 1);
        self.units.len() - 1
    }

    fn follow(&mut self, unit: usize, loader: &dyn Loader) {
        let Some(Loaded { source, document, .. }) = self.units.get(unit) else { return };
        let origin = source.origin.clone();
        let targets: Vec<String> =
            document.include.iter().map(|include| include.policy.node.clone()).collect();
        let mut paths: BTreeMap<String, Result<usize, LoadError>> = BTreeMap::new();
        let mut found = Vec::new();
        for (index, target) in targets.into_iter().enumerate() {
            let reference = reference(&target);
            let known = match reference {
                Reference::Name(name) => self.names.get(name),
                Reference::Path(path) => paths.get(path),
            };
            let result = match known {
                Some(result) => result.clone(),
                None => match loader.load(reference.clone(), &origin) {
                    Ok(source) if self.units.len() < MOST_TEXTS || self.keys.contains_key(&key(&source)) => {
                        Ok(self.add(source, INCLUDED, loader))
                    }
                    Ok(_) => {
                        self.overflow.get_or_insert((unit, index));
                        break;
                    }
                    Err(error) => Err(error),
                },
            };
            match reference {
                Reference::Name(name) => self.names.insert(name.to_owned(), result.clone()),
                Reference::Path(path) => paths.insert(path.to_owned(), result.clone()),
            };
            found.push(result);
        }
        if let Some(includes) = self.includes.get_mut(unit) {
            *includes = found;
        }
    }

    /// Numbers the texts: the main ones as given, then the others by where they come from.
    fn finish(self, mains: Vec<usize>, above: Vec<usize>) -> Graph {
        let mut order: Vec<usize> = Vec::new();
        for main in &mains {
            if !order.contains(main) {
                order.push(*main);
            }
        }
        let first = order.len();
        order.extend((0..self.units.len()).filter(|unit| !mains.contains(unit)));
        let sort_key = |unit: &usize| self.units.get(*unit).map(|loaded| key(&loaded.source));
        if let Some(rest) = order.get_mut(first..) {
            rest.sort_by_cached_key(sort_key);
        }
        let number: BTreeMap<usize, usize> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let renumber = |old: &usize| number.get(old).copied().unwrap_or(*old);
        let mut loaded: Vec<_> = self.units.into_iter().zip(self.includes).map(Some).collect();
        let mut sources = Sources::default();
        let mut units = Vec::new();
        for old in &order {
            let Some((one, includes)) = loaded.get_mut(*old).and_then(Option::take) else { continue };
            let Loaded { source, document, parsed, sha256, notes, prior } = one;
            let origin = source.origin.clone();
            units.push(Unit {
                source: sources.add(source),
                origin,
                document,
                errors: parsed.errors,
                left_out: parsed.left_out,
                includes: includes.into_iter().map(|to| to.map(|to| renumber(&to))).collect(),
                sha256,
                notes,
                prior,
            });
        }
        Graph {
            sources,
            units,
            mains: mains.iter().map(renumber).collect(),
            above: above.iter().map(renumber).collect(),
            overflow: self.overflow.map(|(unit, index)| (renumber(&unit), index)),
        }
    }
}

fn key(source: &Source) -> Key {
    match &source.origin {
        origin @ Origin::Given(_) => (origin.clone(), source.text.clone()),
        // One file is one text, whatever it was asked for as.
        Origin::User(path) | Origin::Machine(path) | Origin::File(path) => {
            (Origin::File(path.clone()), String::new())
        }
        origin @ Origin::BuiltIn(_) => (origin.clone(), String::new()),
    }
}
