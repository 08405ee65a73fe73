//! Tests inside policies.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::findings::{Findings, place, written};
use super::graph::Graph;
use super::scope::{Lets, Use};
use super::without::{labels, may_be_lost};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{self, PlatformName, Spanned, Verdict};
use crate::pattern::{BuiltInScope, DomainName, ItemError, Scope, Value};
use crate::policy::{Expectation, ExpectedVerdict, SymbolicQuestion, Test};
use crate::question::Platform;
use crate::source::Place;
use fence_grammar::did_you_mean;

/// Reads the tests of every text, to tell what is wrong with them; gives back those of the main text. A test is
/// about its own policy alone, so a union of several has none.
pub(super) fn draft(graph: &Graph, lets: &Lets, findings: &mut Findings) -> Vec<Test> {
    let mut kept = Vec::new();
    for number in 0..graph.units.len() {
        let tests = of_unit(graph, lets, number, findings);
        if graph.mains.as_slice() == [number] {
            kept = tests;
        }
    }
    kept
}

fn of_unit(graph: &Graph, lets: &Lets, number: usize, findings: &mut Findings) -> Vec<Test> {
    let Some(unit) = graph.units.get(number).filter(|unit| !unit.document.tests.is_empty()) else {
        return Vec::new();
    };
    let inside = graph.reach(&[number], |_| true);
    let known = labels(graph, &inside);
    let mut reader = Reader { graph, lets, unit: number, findings };
    let mut tests = Vec::new();
    for test in &unit.document.tests {
        for label in test.expect.iter().flat_map(|line| &line.by) {
            if known.contains(&label.node) || may_be_lost(graph, &inside, &label.node, &known) {
                continue;
            }
            let found =
                Diagnostic::new(Code::UnknownTestLabel, format!("no rule has the label `{}`", label.node));
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            let found = match (did_you_mean(&label.node, known.iter().map(String::as_str)), names.as_slice())
            {
                (Some(near), _) => found.help(format!("did you mean `{near}`?")),
                (None, []) => found.help("a rule gets a label with `as`"),
                (None, names) => found.help(format!("there are {}", names.join(", "))),
            };
            reader.tell(label, found);
        }
        tests.extend(reader.test(test));
    }
    tests
}

struct Reader<'a> {
    graph: &'a Graph,
    lets: &'a Lets,
    unit: usize,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn test(&mut self, test: &document::Test) -> Option<Test> {
        let source = self.graph.units.get(self.unit)?.source;
        if test.expect.is_empty() && !self.lost(test) {
            let found = Diagnostic::new(Code::EmptyTest, "this test expects nothing")
                .help("add a line such as `deny read ~/.ssh/id_ed25519`");
            self.tell(&test.name, found);
        }
        let variables = self.variables(test);
        let links =
            test.given.links.iter().filter_map(|link| Some((self.value(&link.from)?, self.value(&link.to)?)));
        let links: Vec<(Value, Value)> = links.collect();
        let hosts = self.hosts(test);
        let platforms = self.platforms(test);
        let expect = test.expect.iter().filter_map(|line| self.expectation(line)).collect();
        Some(Test {
            name: test.name.node.clone(),
            platforms,
            variables,
            links,
            hosts,
            expect,
            written: written(&self.graph.sources, source, test.span),
        })
    }

    /// Whether a line of this test had an error of its own, so that none of them may be left.
    fn lost(&self, test: &document::Test) -> bool {
        let Some(unit) = self.graph.units.get(self.unit) else { return false };
        unit.errors
            .iter()
            .any(|error| test.span.start <= error.span.start && error.span.start <= test.span.end)
    }

    fn variables(&mut self, test: &document::Test) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for given in &test.given.variables {
            let name = given.name.node.as_str();
            if !self.can_be_given(&given.name)
                || !self.first_time(&mut places, name, &given.name, &format!("${name}"))
            {
                continue;
            }
            if let Some(value) = self.value(&given.value) {
                values.insert(name.to_owned(), value);
            }
        }
        values
    }

    fn can_be_given(&mut self, name: &Spanned<String>) -> bool {
        let Some(unit) = self.graph.units.get(self.unit) else { return false };
        let built_in = BuiltInScope { source: unit.source };
        if self.lets.declares(self.unit, &name.node) {
            let found = Diagnostic::new(
                Code::UnknownGiven,
                format!("`${}` is a `let` of this file, and its value stands there", name.node),
            )
            .help("give the variables that its value reads, such as `$home`");
            self.tell(name, found);
            return false;
        }
        if built_in.lookup(&name.node).is_some() {
            return true;
        }
        let found = Diagnostic::new(Code::UnknownGiven, format!("there is no variable `${}`", name.node));
        let names = built_in.names();
        let found = match did_you_mean(&name.node, names.iter().map(String::as_str)) {
            Some(near) => found.help(format!("did you mean `${near}`?")),
            None => {
                found.help("a world gives `$home`, `$cwd`, `$git_root`, `$tmp`, or an environment variable")
            }
        };
        self.tell(name, found);
        false
    }

    fn hosts(&mut self, test: &document::Test) -> BTreeMap<DomainName, Vec<IpAddr>> {
        let mut hosts = BTreeMap::new();
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for given in &test.given.hosts {
            let name = self.lets.read(
                self.graph,
                self.unit,
                &given.name,
                Use::Plain,
                self.findings,
                DomainName::parse,
            );
            let mut addresses = Vec::new();
            for address in &given.addresses {
                match address.node.parse::<IpAddr>() {
                    Ok(address) => addresses.push(address),
                    Err(_) => {
                        let found =
                            Diagnostic::new(Code::BadGiven, format!("`{}` is no address", address.node))
                                .help("write an IPv4 or IPv6 address such as `203.0.113.7`");
                        self.tell(address, found);
                    }
                }
            }
            let Some(name) = name else { continue };
            if self.first_time(&mut places, name.as_str(), &given.name, name.as_str()) {
                hosts.insert(name, addresses);
            }
        }
        hosts
    }

    fn platforms(&mut self, test: &document::Test) -> Vec<Platform> {
        if let [first, .., second] = test.given.platform.as_slice() {
            let at = self.place(first);
            let mut found = Diagnostic::new(Code::GivenTwice, "a test has one platform")
                .help("write a second test, or give none: a test is asked on both");
            if let Some(at) = at {
                found = found.related(at, "the first one is here");
            }
            self.tell(second, found);
        }
        match test.given.platform.first().map(|platform| platform.node) {
            None => vec![Platform::Linux, Platform::MacOs],
            Some(PlatformName::Linux) => vec![Platform::Linux],
            Some(PlatformName::MacOs) => vec![Platform::MacOs],
        }
    }

    fn expectation(&mut self, line: &document::Expect) -> Option<Expectation> {
        let source = self.graph.units.get(self.unit)?.source;
        let action = line.action.node.into();
        let question = match &line.item {
            Some(item) => {
                let parse =
                    |text: &str, scope: &dyn Scope| SymbolicQuestion::parse(action, Some(text), scope);
                self.lets.read(self.graph, self.unit, item, Use::Plain, self.findings, parse)?
            }
            None => {
                let whole = Spanned::new(line.action.node.word().to_owned(), line.action.span);
                let parse = |_: &str, scope: &dyn Scope| -> Result<SymbolicQuestion, ItemError> {
                    SymbolicQuestion::parse(action, None, scope)
                };
                self.lets.read(self.graph, self.unit, &whole, Use::Plain, self.findings, parse)?
            }
        };
        Some(Expectation {
            verdict: match line.verdict.node {
                Verdict::Allow => ExpectedVerdict::Allow,
                Verdict::Deny => ExpectedVerdict::Deny,
            },
            question,
            by: line.by.iter().map(|label| label.node.clone()).collect(),
            written: written(&self.graph.sources, source, line.span),
        })
    }

    fn value(&mut self, text: &Spanned<String>) -> Option<Value> {
        self.lets.read(self.graph, self.unit, text, Use::Plain, self.findings, Value::parse)
    }

    /// Whether this is the first of its name; tells a second.
    fn first_time(
        &mut self,
        places: &mut BTreeMap<String, Place>,
        name: &str,
        at: &Spanned<String>,
        shown: &str,
    ) -> bool {
        let Some(here) = self.place(at) else { return false };
        match places.get(name) {
            None => {
                places.insert(name.to_owned(), here);
                true
            }
            Some(first) => {
                let found = Diagnostic::new(Code::GivenTwice, format!("`{shown}` is given twice"))
                    .related(*first, "the first one is here")
                    .help("leave one of them out, or write a second test");
                self.tell(at, found);
                false
            }
        }
    }

    fn place<T>(&self, at: &Spanned<T>) -> Option<Place> {
        self.graph.units.get(self.unit).map(|unit| place(unit.source, at.span))
    }

    fn tell<T>(&mut self, at: &Spanned<T>, found: Diagnostic) {
        if let Some(at) = self.place(at) {
            self.findings.push(found.at(at));
        }
    }
}
