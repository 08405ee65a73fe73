//! The variables that each text sees, and who uses them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use fence_grammar::did_you_mean;

use super::findings::{Findings, place};
use super::graph::{Graph, Unit};
use super::item;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Spanned;
use crate::pattern::{BuiltInScope, ItemError, Scope, Value, ValuePart};
use crate::policy::ChangedLet;
use crate::source::{Origin, Place};

/// What an item is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Anything but a `never`.
    Plain,
    /// A `never`, which no `--set` may change.
    Never,
}

/// The variables of every text.
pub(super) struct Lets {
    files: Vec<FileLets>,
    /// The names that `--set` changed in a main text.
    changed: BTreeSet<String>,
}

/// The variables of one text.
#[derive(Default)]
struct FileLets {
    /// The value of each, or nothing where it is itself in error.
    values: BTreeMap<String, Option<Value>>,
    /// Which variables a value reads.
    reads: BTreeMap<String, BTreeSet<String>>,
    /// Where each is declared.
    places: BTreeMap<String, Place>,
    /// Names that a statement with an error may have declared.
    lost: BTreeSet<String>,
    /// The names whose values come from `--set`.
    set: BTreeSet<String>,
    used: RefCell<BTreeSet<String>>,
    used_by_never: RefCell<BTreeMap<String, Place>>,
    /// Whether some item could not be read, so that what it uses is not known.
    unread: Cell<bool>,
}

impl Lets {
    /// Reads the values of all variables.
    pub(super) fn evaluate(graph: &Graph, set: &[(String, String)], findings: &mut Findings) -> Lets {
        let mut lets = Lets { files: Vec::new(), changed: BTreeSet::new() };
        for (number, unit) in graph.units.iter().enumerate() {
            let main = graph.mains.contains(&number) && !matches!(unit.origin, Origin::Given(_));
            let set = if main { set } else { &[] };
            let file = FileLets::evaluate(graph, unit, set, findings);
            lets.changed.extend(file.set.iter().cloned());
            lets.files.push(file);
        }
        lets.report_unknown_set(graph, set, findings);
        lets
    }

    /// Reads an item or a value as `parse` says; tells what is wrong with it, and nothing that only follows
    /// from another mistake.
    pub(super) fn read<T>(
        &self,
        graph: &Graph,
        unit: usize,
        text: &Spanned<String>,
        purpose: Use,
        findings: &mut Findings,
        parse: impl FnOnce(&str, &dyn Scope) -> Result<T, ItemError>,
    ) -> Option<T> {
        let (of, file) = (graph.units.get(unit)?, self.files.get(unit)?);
        let scope = FileScope::new(of, file);
        let result = parse(&text.node, &scope);
        file.used.borrow_mut().extend(scope.looked.borrow().iter().cloned());
        if purpose == Use::Never {
            let mut never = file.used_by_never.borrow_mut();
            for name in scope.looked.borrow().iter() {
                never.entry(name.clone()).or_insert(place(of.source, text.span));
            }
        }
        scope.report_policy_directory(of, text, findings);
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                file.unread.set(true);
                if !scope.broken.get() {
                    findings.push(item::finding(graph, of, text, error));
                }
                None
            }
        }
    }

    /// Tells the variables that nothing uses, and each `--set` of one that a `never` uses.
    pub(super) fn report_unused(&self, graph: &Graph, findings: &mut Findings) {
        for (unit, file) in graph.units.iter().zip(&self.files) {
            file.report_unused(graph, unit, findings);
            let closed = file.closure(file.used_by_never.borrow().keys().cloned().collect());
            for name in file.set.intersection(&closed) {
                let mut found = Diagnostic::new(
                    Code::SetUsedByNever,
                    format!("`--set {name}` would change what a `never` closes"),
                )
                .help("leave the `--set` out, or write the other value into the policy");
                let direct = file.used_by_never.borrow().get(name).copied();
                if let Some(at) = direct.or_else(|| file.places.get(name).copied()) {
                    found = found.at(at);
                }
                findings.push(found);
            }
        }
    }

    /// The variables that `--set` changed.
    pub(super) fn changed(&self, set: &[(String, String)]) -> Vec<ChangedLet> {
        let last: BTreeMap<&String, &String> = set.iter().map(|(name, value)| (name, value)).collect();
        last.into_iter()
            .filter(|(name, _)| self.changed.contains(*name))
            .map(|(name, value)| ChangedLet { name: name.clone(), value: value.clone() })
            .collect()
    }

    /// The names of variables that a text declares itself, those in error too.
    pub(super) fn declares(&self, unit: usize, name: &str) -> bool {
        self.files.get(unit).is_some_and(|file| file.places.contains_key(name) || file.lost.contains(name))
    }

    fn report_unknown_set(&self, graph: &Graph, set: &[(String, String)], findings: &mut Findings) {
        let mains: Vec<&FileLets> = graph.mains.iter().filter_map(|main| self.files.get(*main)).collect();
        for (name, _) in set {
            if self.changed.contains(name) || mains.iter().any(|file| file.lost.contains(name)) {
                continue;
            }
            let known: BTreeSet<&str> =
                mains.iter().flat_map(|file| file.places.keys().map(String::as_str)).collect();
            let found = Diagnostic::new(
                Code::UnknownSet,
                format!("`--set {name}` names no variable that the policy declares"),
            );
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            findings.push(match (did_you_mean(name, known.iter().copied()), names.as_slice()) {
                (Some(near), _) => found.help(format!("did you mean `{near}`?")),
                (None, []) => found.help("the policy has no `let`; `--set` changes one that is there"),
                (None, names) => found.help(format!("it declares {}", names.join(", "))),
            });
        }
    }
}

impl FileLets {
    fn evaluate(graph: &Graph, unit: &Unit, set: &[(String, String)], findings: &mut Findings) -> FileLets {
        let mut file = FileLets { lost: unit.left_out.variables.clone(), ..FileLets::default() };
        let mut texts: BTreeMap<String, Spanned<String>> = BTreeMap::new();
        let built_in = BuiltInScope { source: unit.source };
        for one in &unit.document.lets.0 {
            let (name, at) = (&one.name.node, place(unit.source, one.name.span));
            if built_in.names().contains(name) {
                findings.push(
                    Diagnostic::new(
                        Code::ReservedLet,
                        format!("`${name}` is a variable of the language itself"),
                    )
                    .at(at)
                    .help("give this one another name"),
                );
            } else if let Some(first) = file.places.get(name) {
                findings.push(
                    Diagnostic::new(Code::DuplicateLet, format!("`{name}` is declared twice"))
                        .at(at)
                        .related(*first, "the first one is here")
                        .help("leave one of them out, or give it another name"),
                );
            } else {
                file.places.insert(name.clone(), at);
                texts.insert(name.clone(), one.value.clone());
            }
        }
        for (name, value) in set {
            if let Some(text) = texts.get_mut(name) {
                text.node.clone_from(value);
                file.set.insert(name.clone());
            }
        }
        for (name, text) in &texts {
            let reads = Recorder::default();
            let _ = Value::parse(&text.node, &reads);
            let own = reads.0.into_inner().into_iter().filter(|read| texts.contains_key(read)).collect();
            file.reads.insert(name.clone(), own);
        }
        file.fill(graph, unit, &texts, findings);
        file
    }

    /// Reads the values, each after those that it reads itself; what is left over declares itself in a circle.
    fn fill(
        &mut self,
        graph: &Graph,
        unit: &Unit,
        texts: &BTreeMap<String, Spanned<String>>,
        findings: &mut Findings,
    ) {
        let mut waiting: BTreeMap<String, usize> =
            self.reads.iter().map(|(name, reads)| (name.clone(), reads.len())).collect();
        let mut readers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, reads) in &self.reads {
            for read in reads {
                readers.entry(read).or_default().push(name);
            }
        }
        let readers: BTreeMap<String, Vec<String>> = readers
            .into_iter()
            .map(|(name, list)| (name.to_owned(), list.into_iter().map(str::to_owned).collect()))
            .collect();
        let mut ready: Vec<String> =
            waiting.iter().filter(|(_, count)| **count == 0).map(|(name, _)| name.clone()).collect();
        while let Some(name) = ready.pop() {
            waiting.remove(&name);
            let value = texts.get(&name).and_then(|text| self.value(graph, unit, &name, text, findings));
            self.values.insert(name.clone(), value);
            for reader in readers.get(&name).into_iter().flatten() {
                if let Some(count) = waiting.get_mut(reader) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(reader.clone());
                    }
                }
            }
        }
        self.report_circles(&waiting, findings);
        self.values.extend(waiting.into_keys().map(|name| (name, None)));
    }

    fn value(
        &self,
        graph: &Graph,
        unit: &Unit,
        name: &str,
        text: &Spanned<String>,
        findings: &mut Findings,
    ) -> Option<Value> {
        let scope = FileScope::new(unit, self);
        let result = Value::parse(&text.node, &scope);
        let set = self.set.contains(name);
        if !set {
            scope.report_policy_directory(unit, text, findings);
        }
        match result {
            Ok(value) => Some(value),
            Err(_) if scope.broken.get() => None,
            Err(error) if set => {
                let mut found = Diagnostic::new(error.code, format!("in `--set {name}`: {}", error.message));
                found.help = error.help;
                findings.push(found);
                None
            }
            Err(error) => {
                findings.push(item::finding(graph, unit, text, error));
                None
            }
        }
    }

    /// Tells each circle once, at the name that sorts first.
    fn report_circles(&self, left: &BTreeMap<String, usize>, findings: &mut Findings) {
        let mut told: BTreeSet<String> = BTreeSet::new();
        for name in left.keys() {
            if told.contains(name) {
                continue;
            }
            // Follow the first unread variable until a name comes again: that is a circle.
            let mut path: Vec<&String> = Vec::new();
            let mut seen: BTreeSet<&String> = BTreeSet::new();
            let mut at = name;
            while seen.insert(at) && !told.contains(at) {
                path.push(at);
                let Some(next) =
                    self.reads.get(at).and_then(|reads| reads.iter().find(|read| left.contains_key(*read)))
                else {
                    break;
                };
                at = next;
            }
            if let Some(start) = path.iter().position(|step| *step == at).filter(|_| !told.contains(at)) {
                let mut circle: Vec<&String> = path.iter().skip(start).copied().collect();
                let first =
                    circle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(index, _)| index);
                circle.rotate_left(first);
                let names: Vec<String> =
                    circle.iter().chain(circle.first()).map(|name| format!("`${name}`")).collect();
                let mut found = Diagnostic::new(
                    Code::LetCycle,
                    format!("a variable reads itself: {}", names.join(" → ")),
                )
                .help("give one of them a value of its own");
                if let Some(at) = circle.first().and_then(|name| self.places.get(*name)) {
                    found = found.at(*at);
                }
                findings.push(found);
            }
            told.extend(path.into_iter().cloned());
        }
    }

    fn report_unused(&self, graph: &Graph, unit: &Unit, findings: &mut Findings) {
        let used = self.closure(self.used.borrow().clone());
        let text = graph.sources.get(unit.source).map_or("", |source| source.text.as_str());
        let unread = self.unread.get() || !unit.errors.is_empty();
        for (name, at) in &self.places {
            let broken = self.values.get(name).is_some_and(Option::is_none);
            if used.contains(name) || broken || (unread && text.contains(&format!("${name}"))) {
                continue;
            }
            findings.push(
                Diagnostic::new(Code::UnusedLet, format!("nothing uses the variable `{name}`"))
                    .at(*at)
                    .help(format!("use it as `${name}`, or leave it out; other files do not see it")),
            );
        }
    }

    /// The names and everything that their values read in turn.
    fn closure(&self, from: BTreeSet<String>) -> BTreeSet<String> {
        let mut todo: Vec<String> = from.iter().cloned().collect();
        let mut all = from;
        while let Some(name) = todo.pop() {
            for read in self.reads.get(&name).into_iter().flatten() {
                if all.insert(read.clone()) {
                    todo.push(read.clone());
                }
            }
        }
        all
    }
}

/// What one item of a text sees, and what it looked at.
struct FileScope<'a> {
    file: &'a FileLets,
    built_in: BuiltInScope,
    /// The text's own variables that were looked at.
    looked: RefCell<BTreeSet<String>>,
    /// Whether one was looked at that is in error itself.
    broken: Cell<bool>,
    policy_directory: Cell<bool>,
}

impl<'a> FileScope<'a> {
    fn new(unit: &Unit, file: &'a FileLets) -> FileScope<'a> {
        FileScope {
            file,
            built_in: BuiltInScope { source: unit.source },
            looked: RefCell::default(),
            broken: Cell::new(false),
            policy_directory: Cell::new(false),
        }
    }

    fn report_policy_directory(&self, unit: &Unit, text: &Spanned<String>, findings: &mut Findings) {
        let nowhere = matches!(unit.origin, Origin::BuiltIn(_) | Origin::Given(_));
        if nowhere && self.policy_directory.get() {
            findings.push(
                Diagnostic::new(
                    Code::NoPolicyDirectory,
                    "`$policy_dir` has no value: this text lies in no directory",
                )
                .at(place(unit.source, text.span))
                .help("write the path out, or put the rule into a policy's file"),
            );
        }
    }
}

impl Scope for FileScope<'_> {
    fn lookup(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.file.values.get(name) {
            self.looked.borrow_mut().insert(name.to_owned());
            if value.is_none() {
                self.broken.set(true);
            }
            return value.clone();
        }
        if name == "policy_dir" {
            self.policy_directory.set(true);
        }
        let found = self.built_in.lookup(name);
        if found.is_none() && self.file.lost.contains(name) {
            self.broken.set(true);
        }
        found
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.built_in.names();
        names.extend(self.file.places.keys().cloned());
        names.sort();
        names
    }
}

/// Knows every name, to learn which ones a value reads.
#[derive(Default)]
struct Recorder(RefCell<BTreeSet<String>>);

impl Scope for Recorder {
    fn lookup(&self, name: &str) -> Option<Value> {
        self.0.borrow_mut().insert(name.to_owned());
        Some(Value(vec![ValuePart::Text("/".to_owned())]))
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
