//! Reads the rows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::Severity;
use fence_compiler::pattern::{BuiltInScope, DomainName, Scope, ValuePart};
use fence_compiler::policy::{Policy, SymbolicQuestion};
use fence_compiler::question::{Platform, Question, Start};
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source, SourceId};
use fence_compiler::world::World;
use fence_grammar::tree::Action;
use serde::Deserialize;

/// A policy in a world, and what it is asked there.
pub struct Case {
    pub name: String,
    pub policy: Policy,
    pub world: World,
    pub rows: Vec<Row>,
    /// What each answer takes for granted, where the case says it.
    pub assumes: Option<Vec<String>>,
}

/// A question and its answer.
pub struct Row {
    pub text: String,
    pub action: Action,
    pub question: Question,
    pub allowed: bool,
    pub by: By,
}

/// What a decision is made by.
#[derive(Debug, PartialEq, Eq)]
pub enum By {
    /// The rules in these lines of the policy.
    Lines(Vec<u32>),
    /// Nothing allows it.
    Nothing,
    /// The language closes it always.
    Closed,
    /// The language opens it always.
    Open,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    policy: String,
    #[serde(default)]
    world: WrittenWorld,
    assumes: Option<Vec<String>>,
    ask: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenWorld {
    platform: Option<Platform>,
    variables: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    protected: Vec<String>,
}

/// Every case of every file, in order.
pub fn load() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/decisions");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let cases: Vec<Written> =
                serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            cases.into_iter().map(case)
        })
        .collect()
}

fn case(written: Written) -> Case {
    let policy = policy(&written.name, &written.policy);
    let world = world(&written.world);
    let rows = written.ask.iter().map(|line| row(line, &world)).collect();
    Case { name: written.name, policy, world, rows, assumes: written.assumes }
}

/// A policy that includes nothing.
pub fn policy(name: &str, text: &str) -> Policy {
    let source = Source {
        origin: Origin::Given("a table".into()),
        name: "policy.fence".into(),
        text: text.to_owned(),
    };
    let request = Request { mains: vec![source], ..Request::default() };
    let resolved = resolve(&request, &NoFiles);
    let errors: Vec<&str> = resolved
        .diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error)
        .map(|found| found.message.as_str())
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?}");
    resolved.policy
}

struct NoFiles;

impl Loader for NoFiles {
    fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        Err(LoadError::NoDirectory)
    }
}

fn scope() -> BuiltInScope {
    BuiltInScope { source: SourceId(0) }
}

fn world(written: &WrittenWorld) -> World {
    let mut world = World::test_default(written.platform.unwrap_or(Platform::Linux));
    for (name, value) in &written.variables {
        let found = scope().lookup(name).unwrap_or_else(|| panic!("no variable {name}"));
        let [ValuePart::Variable(variable)] = found.0.as_slice() else { panic!("no variable {name}") };
        if value.is_empty() {
            world.variables.remove(variable);
        } else {
            world.variables.insert(variable.clone(), value.clone().into_bytes());
        }
    }
    let path = |text: &str| AbsolutePath::new(text.as_bytes()).unwrap();
    world.links = written.links.iter().map(|(from, to)| (path(from), to.clone().into_bytes())).collect();
    world.hosts = written
        .hosts
        .iter()
        .map(|(name, addresses)| (DomainName::new(name).unwrap(), addresses.clone()))
        .collect();
    world.protected = written.protected.iter().map(|text| path(text)).collect();
    world
}

/// `VERDICT ACTION ITEM by WHAT`
fn row(line: &str, world: &World) -> Row {
    let (question, by) = line.rsplit_once(" by ").unwrap_or_else(|| panic!("no `by` in {line}"));
    let mut words = question.splitn(3, ' ');
    let allowed = match words.next() {
        Some("allow") => true,
        Some("deny") => false,
        _ => panic!("no verdict in {line}"),
    };
    let action = words.next().and_then(Action::from_word).unwrap_or_else(|| panic!("no action in {line}"));
    let item = words.next().map(str::trim);
    let question = match item.and_then(|item| item.strip_prefix('{')) {
        Some(start) => started(start),
        None => SymbolicQuestion::parse(action, item, &scope())
            .unwrap_or_else(|error| panic!("{line}: {error:?}"))
            .ground(world)
            .unwrap_or_else(|error| panic!("{line}: {error}")),
    };
    let by = match by.trim() {
        "nothing" => By::Nothing,
        "closed" => By::Closed,
        "open" => By::Open,
        lines => By::Lines(lines.split(',').map(|number| number.trim().parse().unwrap()).collect()),
    };
    Row { text: line.to_owned(), action, question, allowed, by }
}

/// `asked=FILE file=FILE} ARGV…`
fn started(text: &str) -> Question {
    let (known, argv) = text.split_once('}').unwrap();
    let argv = shlex::split(argv).unwrap();
    let mut start = Start { asked: argv[0].clone(), resolved: None, argv };
    for fact in known.split_whitespace() {
        match fact.split_once('=').unwrap() {
            ("asked", file) => start.asked = file.to_owned(),
            ("file", file) => start.resolved = Some(AbsolutePath::new(file.as_bytes()).unwrap()),
            _ => panic!("{text}"),
        }
    }
    Question::Run(start)
}
