//! The profile, statement by statement: this is what holds them, and the order that files come in.

mod basis;
mod closings;
mod devices;
mod group;
mod openings;
mod pinned;
mod ports;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use super::super::claims::Findings;
use super::filters::{Filters, Fit};
use super::pins::Pins;
use super::places::{FileRule, Gathered, Place};
use super::sexpr::{Form, Quoted, Statement, Unquotable, remark};
use super::tag::RunId;
use crate::bytes::AbsolutePath;
use crate::diagnostic::{Code, Diagnostic};
use crate::host::Host;
use crate::lower::atlas::Atlas;
use crate::plan;
use crate::policy::{Effect, PathAction, Policy, RuleId};
use group::Group;

/// What is open, by kind.
type Open = BTreeMap<Group, Vec<Place>>;

const NARROWER: &str = "a `?` or a class stands for characters of ASCII only: {}";
const WIDER: &str = "names with characters outside ASCII are closed there too: {}";

/// Makes the statements.
pub struct Emitter<'a, 'f> {
    policy: &'a Policy,
    host: &'a Host,
    run: &'a RunId,
    findings: &'a mut Findings,
    atlas: &'a mut Atlas<'f>,
    statements: Vec<Statement>,
}

impl<'a, 'f> Emitter<'a, 'f> {
    /// Begins a profile.
    pub fn new(
        policy: &'a Policy,
        host: &'a Host,
        run: &'a RunId,
        findings: &'a mut Findings,
        atlas: &'a mut Atlas<'f>,
    ) -> Emitter<'a, 'f> {
        Emitter { policy, host, run, findings, atlas, statements: Vec::new() }
    }

    /// The statements.
    pub fn finish(self) -> Vec<Statement> {
        self.statements
    }

    /// Files: what is allowed, then what is not.
    pub fn files(&mut self, gathered: &Gathered, run: &RunId) {
        let open = self.open(gathered);
        self.heading("Files: what is allowed.");
        // Every program needs the names in `/` to start.
        let root = Form::filter("literal", literal("/"));
        self.allowed(gathered, Group::Read, vec![remark("Programs do not start without."), root]);
        self.allowed(gathered, Group::Write, Vec::new());
        self.allowed(gathered, Group::Exec, Vec::new());
        self.allowed(gathered, Group::Socket, Vec::new());
        self.devices(gathered);
        self.links(&gathered.links);
        self.heading("Files: what is not, whatever is allowed above.");
        let mut pins = Pins::default();
        for rule in &gathered.rules {
            if rule.effect == Effect::Allow {
                self.excepted(rule, &open, &mut pins);
            } else {
                self.closed(rule, &open, &mut pins);
            }
        }
        self.protected(gathered, &open, &mut pins);
        self.pinned(pins, &open);
        self.ways(&open, run);
    }

    fn heading(&mut self, text: &'static str) {
        self.statements.push(Statement::Heading(text));
    }

    fn remark(&mut self, text: &str) {
        self.statements.push(Statement::Remark(remark(text)));
    }

    fn rule(&mut self, owner: &str, action: &'static str, operations: &[&'static str], filters: Vec<Form>) {
        let head = std::iter::once(&action).chain(operations).map(|word| Form::Word(word)).collect();
        self.statements.push(Statement::Rule { owner: owner.to_owned(), head, filters });
    }

    fn own(&mut self, action: &'static str, operations: &[&'static str], filters: Vec<Form>) {
        self.rule("fence's own part", action, operations, filters);
    }

    /// The mark by which a line of the log leads back to a rule.
    fn message(&self, rule: &str) -> Form {
        let text = Quoted::new(self.run.tag(rule).as_bytes());
        let text = text.map_or(Form::Number(0), Form::Text);
        Form::List(vec![Form::Word("with"), Form::Word("message"), text])
    }

    /// What a rule is called in remarks: its place, its label, and what it says.
    fn named(&self, number: usize) -> String {
        let id = RuleId(u32::try_from(number).unwrap_or(u32::MAX));
        plan::name(id, self.policy).unwrap_or_else(|| format!("rule {number}"))
    }

    /// Takes filters, or tells why there are none, and that they fit less than well.
    fn told(
        &mut self,
        number: usize,
        text: &str,
        found: Result<Filters, Unquotable>,
        misfit: &'static str,
    ) -> Vec<Form> {
        match found {
            Ok(filters) => {
                if filters.fit == Fit::Stricter
                    && let Some(report) = self.findings.report(number)
                {
                    report.stricter(misfit, text);
                }
                filters.forms
            }
            Err(why) => {
                self.refuse(number, text, why);
                Vec::new()
            }
        }
    }

    fn refuse(&mut self, number: usize, text: &str, why: Unquotable) {
        let found = Diagnostic::new(
            Code::NotInAProfile,
            format!("`{text}` cannot stand in a profile of Seatbelt: {why}"),
        )
        .help("give the file, or the directory that holds it, a name that can");
        let place = self.policy.rules.get(number).map(|rule| rule.written.place());
        self.findings.diagnostics.push(match place {
            Some(place) => found.at(place),
            None => found,
        });
    }

    fn note(&mut self, rule: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(rule) {
            report.note(sentence, text);
        }
    }

    fn stricter(&mut self, rule: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(rule) {
            report.stricter(sentence, text);
        }
    }
}

impl FileRule {
    fn is_about_devices(&self) -> bool {
        self.actions.contains(&PathAction::Device)
    }
}

/// A text of fence's own, which holds nothing that could not be quoted.
fn literal(text: &str) -> Quoted {
    // INVARIANT: fence's own texts are printable; an unprintable one would come out as an empty filter, which
    // matches nothing.
    Quoted::new(text.as_bytes()).unwrap_or_else(|_| Quoted::empty())
}

fn path_literal(path: &AbsolutePath) -> Option<Form> {
    Some(Form::filter("literal", Quoted::path(path.as_bytes()).ok()?))
}

/// Each filter once, in the order they first stand in.
fn unique(forms: Vec<Form>) -> Vec<Form> {
    let mut said = BTreeSet::new();
    forms.into_iter().filter(|form| said.insert(format!("{form:?}"))).collect()
}

fn is_below_dev(place: &Place) -> bool {
    place.0.prefix.components().next() == Some(b"dev") && place.0.prefix.components().count() > 1
}
