//! Texts that were read ahead of time: all that reading them again would yield.
//!
//! The policies that come with fence are read when fence is built. What their statements mean by themselves is
//! written down; how texts include one another, what is left out and what contradicts what is found on each run.

use fence_grammar::tree::{File, Statement};
use serde::{Deserialize, Serialize};

use super::rule::{Draft, Reading, State};
use super::setting::Settings;
use super::without::Note;
use super::{Findings, Read, Request, read, resolve, sha256};
use crate::diagnostic::Diagnostic;
use crate::policy::{Item, Limit, Rule, Secret, SetVariable, Subject, Test, Upstream};
use crate::source::{Loader, Source, SourceId};

/// A text that was read ahead of time.
#[derive(Serialize, Deserialize)]
pub(super) struct Prepared<'a> {
    /// The SHA-256 of the text.
    pub(super) sha256: String,
    /// Its statements `policy` and `include`.
    pub(super) head: File,
    /// What may be left out of it, and what may not.
    pub(super) notes: Vec<Note>,
    /// Its rules. Places in them, and in what follows, are in the source with the number 0.
    pub(super) rules: Vec<Rule>,
    /// Its settings, as those of the unit with the number 0.
    pub(super) settings: Settings,
    /// Its tests, as bytes of their own: they count for a main text alone.
    pub(super) tests: &'a [u8],
}

/// Reads a text, with everything it includes, and writes down what [`Loader::prepared`] gives back later.
///
/// # Errors
/// Everything that is to be said about the text: only one without any finding is prepared.
pub fn prepare(source: &Source, loader: &dyn Loader) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let request = Request { mains: vec![source.clone()], ..Request::default() };
    let found = resolve(&request, loader).diagnostics;
    if !found.is_empty() {
        return Err(found);
    }
    let Read { graph, drafts, mut settings, tests, .. } = read(&request, loader, &mut Findings::default());
    settings.keep(0);
    let mut head = fence_grammar::parse(&source.text).file;
    head.statements.retain(|one| matches!(one.node, Statement::Policy(_) | Statement::Include(_)));
    let tests = encoded(&tests);
    Ok(encoded(&Prepared {
        sha256: sha256(&source.text),
        head,
        notes: graph.units.first().map(|main| main.notes().to_vec()).unwrap_or_default(),
        rules: drafts.into_iter().filter(|draft| draft.unit == 0).map(|draft| draft.rule).collect(),
        settings,
        tests: &tests,
    }))
}

/// As bytes; nothing where that fails, which no text is read from.
fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}

/// What a text is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A main text, whose tests count.
    Main,
    /// A text that others bring in.
    Included,
}

/// The statements of a text that was read ahead of time.
pub(super) struct Prior {
    rules: Vec<Rule>,
    settings: Settings,
    tests: Vec<Test>,
}

impl<'a> Prepared<'a> {
    /// Reads what was written down; `None` where it is not whole.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Prepared<'a>> {
        postcard::from_bytes(bytes).ok()
    }

    /// Its statements; `None` where they are not whole.
    pub(super) fn prior(self, role: Role) -> Option<Prior> {
        let tests = match role {
            Role::Main => postcard::from_bytes(self.tests).ok()?,
            Role::Included => Vec::new(),
        };
        Some(Prior { rules: self.rules, settings: self.settings, tests })
    }
}

impl Prior {
    /// Adds the statements to those of the texts that were read now.
    pub(super) fn join(mut self, unit: usize, read: &mut Read) {
        let Some(source) = read.graph.units.get(unit).map(|unit| unit.source) else { return };
        self.place_in(source);
        let draft = |rule| Draft { unit, rule, state: State::Complete, reading: Reading::Before };
        read.drafts.extend(self.rules.into_iter().map(draft));
        read.settings.extend(self.settings, unit);
        if read.graph.mains.as_slice() == [unit] {
            read.tests = self.tests;
        }
    }

    /// Moves all places into a source.
    fn place_in(&mut self, source: SourceId) {
        if source == SourceId(0) {
            return;
        }
        for rule in &mut self.rules {
            place_rule(rule, source);
        }
        for SetVariable { written, .. } in self.settings.sets.iter_mut().map(|(.., set)| set) {
            written.source = source;
        }
        for Secret { to, written, .. } in self.settings.secrets.iter_mut().map(|(_, secret)| secret) {
            written.source = source;
            place_items(to, source);
        }
        for Limit { written, .. } in self.settings.limits.iter_mut().map(|(_, limit)| limit) {
            written.source = source;
        }
        for Upstream { hosts, written, .. } in self.settings.upstreams.iter_mut().map(|(_, one)| one) {
            written.source = source;
            place_items(hosts, source);
        }
        for test in &mut self.tests {
            test.written.source = source;
            for line in &mut test.expect {
                line.written.source = source;
            }
        }
    }
}

fn place_rule(rule: &mut Rule, source: SourceId) {
    rule.written.source = source;
    match &mut rule.subject {
        Subject::Path { items, except, .. } => place_both(items, except, source),
        Subject::Run { items, except } => place_both(items, except, source),
        Subject::Connect { items, except } => place_both(items, except, source),
        Subject::Http { items, except } => place_both(items, except, source),
        Subject::Listen { items, except } => place_both(items, except, source),
        Subject::Name { items, except, .. } => place_both(items, except, source),
        Subject::Ssh { items, except } => place_both(items, except, source),
        Subject::Tty => {}
    }
}

fn place_both<P>(items: &mut [Item<P>], except: &mut [Item<P>], source: SourceId) {
    place_items(items, source);
    place_items(except, source);
}

fn place_items<P>(items: &mut [Item<P>], source: SourceId) {
    for item in items {
        item.written.source = source;
    }
}
