//! What a profile answers agrees with the reference, in every reading.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::fidelity::{Enforced, Level};
use fence_compiler::pattern::{Component, GlobPiece, PathPattern, Variable};
use fence_compiler::policy::{Effect, NameAction, PathAction, Policy, Subject};
use fence_compiler::question::{Decision, Destination, Question, Reason, Verdict};
use fence_compiler::world::{Spelling, World};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use unicode_normalization::UnicodeNormalization;

use crate::draw::{self, Edge};
use crate::machine::{Lowered, files, host, lower, path, resolved, world};
use crate::profile::{Host, Precedence, Profile, Reading, Request, last};
use crate::table::{BuiltIn, Table, catalina};

/// What every one of these operations would do to a path.
pub fn operations(action: PathAction) -> &'static [&'static str] {
    match action {
        PathAction::Read => &["file-read-data", "file-read-xattr"],
        PathAction::Write => &[
            "file-write-data",
            "file-write-create",
            "file-write-unlink",
            "file-write-mode",
            "file-write-setugid",
            "file-link",
            "file-clone",
            "network-bind",
        ],
        PathAction::Exec => &["process-exec*", "process-exec-interpreter", "file-map-executable"],
        PathAction::Socket => &["network-outbound"],
        PathAction::Device => &[],
    }
}

/// What one of them needs at the least.
pub fn enough(action: PathAction) -> &'static [&'static str] {
    match action {
        PathAction::Read => &["file-read-data", "file-read-metadata"],
        PathAction::Write => &["file-write-data"],
        _ => operations(action),
    }
}

/// A profile with its answers in every reading.
pub struct Answers {
    profile: Profile,
    table: &'static Table,
}

/// What the readings say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Some reading without folding allows it.
    pub some: bool,
    /// Some reading with folding allows it.
    pub some_folded: bool,
    /// Every reading allows it.
    pub all: bool,
}

/// A request, compared with every filter in every reading of the filters.
pub struct Matched(Vec<(Reading, Vec<bool>)>);

impl Answers {
    pub fn new(profile: Profile) -> Answers {
        Answers { profile, table: catalina() }
    }

    /// Only what a filter can tell apart is tried both ways.
    pub fn matched(&self, request: &Request) -> Matched {
        let both: &[bool] = &[false, true];
        let paths: &[bool] = if request.path.is_some() { both } else { &[false] };
        let sockets: &[bool] = if request.socket.is_some() { both } else { &[false] };
        let mut matched = Vec::new();
        for fold in paths {
            for subpath_itself in paths {
                for localhost_is_any in sockets {
                    let (fold, subpath_itself) = (*fold, *subpath_itself);
                    let reading = Reading {
                        fold,
                        subpath_itself,
                        localhost_is_any: *localhost_is_any,
                        ..Reading::likely()
                    };
                    matched.push((reading, self.profile.matching(request, reading)));
                }
            }
        }
        Matched(matched)
    }

    pub fn ask(&self, operation: &str, request: &Request) -> Said {
        self.said(operation, &self.matched(request))
    }

    pub fn said(&self, operation: &str, matched: &Matched) -> Said {
        let falls_back = self.table.chain(operation).last() == Some(&"default");
        let defaults: &[bool] = if falls_back { &[true] } else { &[true, false] };
        let is_link = matches!(operation, "file-link" | "file-clone");
        let links: &[bool] = if is_link { &[true, false] } else { &[false] };
        let built_in = self.table.built_in(operation) == BuiltIn::Allow;
        let mut said = Said { all: true, ..Said::default() };
        for (open, links) in defaults.iter().flat_map(|open| links.iter().map(move |links| (*open, *links))) {
            let levels = self.profile.levels(self.table, operation, open, links);
            for (reading, matching) in &matched.0 {
                for precedence in [Precedence::TwoLevels, Precedence::LastMatch] {
                    let found = last(&levels, matching, precedence);
                    let allowed = found.map_or(built_in, |index| self.profile.rules()[index].allows);
                    said.all &= allowed;
                    said.some_folded |= allowed && reading.fold;
                    said.some |= allowed && !reading.fold;
                }
            }
        }
        said
    }
}

/// A policy with everything that is compared.
struct Case {
    policy: Policy,
    world: World,
    lowered: Lowered,
    answers: Answers,
}

impl Case {
    fn level(&self, rule: u32) -> Level {
        let told = self.lowered.artifact.fidelity.iter();
        told.clone()
            .find(|told| matches!(told.what, Enforced::Rule(id) if id.0 == rule))
            .map_or(Level::Exact, |told| told.level)
    }

    /// Whether a rule is stricter than written because of characters outside ASCII.
    fn is_about_characters(&self) -> bool {
        let told = self.lowered.artifact.fidelity.iter();
        told.flat_map(|told| &told.why).any(|why| why.contains("ASCII"))
    }

    /// Compares one question about a path; says whether the answer was compared.
    fn path(&self, action: PathAction, path: &AbsolutePath, object: &Matched) -> Result<bool, String> {
        let decision = decide(&self.policy, &self.world, &Question::Path { action, path: path.clone() });
        let Ok(resolution) = self.world.resolve(path, Spelling::Exact) else { return Ok(false) };
        let wrong = |said: Said, operation: &str| {
            Err(format!("{action:?} {path} as {operation}: {decision:?}, and the profile says {said:?}"))
        };
        match decision.verdict {
            Verdict::Allowed => {
                if self.is_about_characters() {
                    return Ok(false);
                }
                for operation in enough(action) {
                    let said = self.answers.said(operation, object);
                    if !said.all {
                        return wrong(said, operation);
                    }
                }
            }
            Verdict::Denied => {
                // The names in `/` are always there, and the sandbox's own sockets are its own.
                let own = action == PathAction::Read && resolution.object.is_root();
                let weaker = match &decision.reason {
                    Reason::Rules(rules) => rules.iter().all(|rule| self.level(rule.0) == Level::Weaker),
                    _ => false,
                };
                // A link that a rule closes cannot be followed, which is another question.
                let by_link = resolution.object != *path;
                if own || weaker {
                    return Ok(false);
                }
                let linked = by_link && {
                    let plain = Question::Path { action, path: resolution.object.clone() };
                    decide(&self.policy, &self.world, &plain).verdict == Verdict::Allowed
                };
                if linked {
                    return Ok(false);
                }
                for operation in operations(action) {
                    let said = self.answers.said(operation, object);
                    // Where names are folded, another spelling is the same file: it may be allowed by that.
                    let folded =
                        said.some_folded && !self.is_allowed_by_other_spellings(action, &resolution.object);
                    if said.some || folded {
                        return wrong(said, operation);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Whether a path is allowed where its spellings are one file: each rule that closes it leaves some spelling out,
    /// and some spelling is allowed by a rule.
    fn is_allowed_by_other_spellings(&self, action: PathAction, object: &AbsolutePath) -> bool {
        let mut paths = vec![AbsolutePath::root()];
        for name in object.components() {
            let text = String::from_utf8_lossy(name).into_owned();
            let mut names: BTreeSet<&str> =
                draw::NAMES.into_iter().filter(|known| fence_fold(known) == fence_fold(&text)).collect();
            let (lower, upper) = (text.to_lowercase(), text.to_uppercase());
            names.extend([text.as_str(), &lower, &upper]);
            paths =
                paths.iter().flat_map(|path| names.iter().map(|name| path.join(name.as_bytes()))).collect();
        }
        let mut opening = self.policy.clone();
        opening.rules.retain(|rule| rule.effect == Effect::Allow);
        let ask = |policy: &Policy, path: &AbsolutePath| {
            decide(policy, &self.world, &Question::Path { action, path: path.clone() })
        };
        let closed = paths.iter().map(|path| match ask(&self.policy, path) {
            Decision { verdict: Verdict::Denied, reason: Reason::Rules(rules), .. } => {
                rules.into_iter().collect()
            }
            _ => BTreeSet::new(),
        });
        let closed = closed.reduce(|one, two| one.intersection(&two).copied().collect()).unwrap_or_default();
        closed.is_empty() && paths.iter().any(|path| ask(&opening, path).verdict == Verdict::Allowed)
    }

    fn name(&self, name: &str) -> Result<(), String> {
        let question = Question::Name { action: NameAction::MachLookup, name: name.to_owned() };
        let decision = decide(&self.policy, &self.world, &question);
        let said = self.answers.ask("mach-lookup", &Request::name(name));
        let never = fence_never(name) && !self.names(name);
        let fits = match decision.verdict {
            Verdict::Allowed if never => !said.some && !said.some_folded,
            Verdict::Allowed => said.all,
            Verdict::Denied => !said.some && !said.some_folded,
        };
        if fits {
            Ok(())
        } else {
            Err(format!("mach-lookup {name}: {decision:?}, and the profile says {said:?}"))
        }
    }

    /// Whether a rule opens the service by its own name.
    fn names(&self, name: &str) -> bool {
        self.policy.rules.iter().any(|rule| match &rule.subject {
            Subject::Name { action: NameAction::MachLookup, items, .. } => {
                rule.effect == Effect::Allow && items.iter().any(|item| item.text == name)
            }
            _ => false,
        })
    }

    fn port(&self, port: u16) -> Result<(), String> {
        let allowed = |address: &str| {
            let destination = Destination { name: None, address: Some(address.parse().unwrap()), port };
            decide(&self.policy, &self.world, &Question::Connect(destination)).verdict == Verdict::Allowed
        };
        let expected = allowed("127.0.0.1") && allowed("::1");
        let out = |protocol, host| {
            self.answers.ask("network-outbound", &Request::socket("remote", protocol, host, port))
        };
        let said = out("tcp", Host::Loopback);
        let fits = if expected { said.all } else { !said.some && !said.some_folded };
        // The proxy's own port is open where there is a proxy.
        if !fits && port != 4711 {
            return Err(format!(
                "connect localhost:{port}: expected {expected}, and the profile says {said:?}"
            ));
        }
        for request in [("tcp", Host::Other), ("udp", Host::Other), ("udp", Host::Loopback)] {
            let said = out(request.0, request.1);
            if said.some || said.some_folded {
                return Err(format!("{request:?} port {port} goes out: {said:?}"));
            }
        }
        let listen = decide(&self.policy, &self.world, &Question::Listen(port)).verdict == Verdict::Allowed;
        for operation in ["network-bind", "network-inbound"] {
            let said = self.answers.ask(operation, &Request::socket("local", "tcp", Host::Loopback, port));
            let fits = if listen { said.all } else { !said.some && !said.some_folded };
            if !fits {
                return Err(format!("{operation} {port}: expected {listen}, and the profile says {said:?}"));
            }
        }
        Ok(())
    }
}

/// Services that no wildcard opens; written here a second time, from the facts.
fn fence_never(name: &str) -> bool {
    ["SecurityServer", "securityd", "securityd.xpc", "mDNSResponder", "coreservices.launchservicesd"]
        .iter()
        .any(|rest| name == format!("com.apple.{rest}"))
}

fn fence_fold(text: &str) -> String {
    let lower = text.nfd().flat_map(char::to_lowercase);
    lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

/// A path near an item.
pub fn near(text: &str, edge: Edge, variables: &BTreeMap<Variable, Vec<u8>>) -> Option<AbsolutePath> {
    let scope = fence_compiler::pattern::BuiltInScope { source: fence_compiler::source::SourceId(0) };
    let pattern: PathPattern = PathPattern::parse(text, &scope).ok()?.into_iter().next()?;
    let ground = pattern.ground(variables).ok()?;
    let start = if ground.prefix.is_root() && !ground.rest.is_empty() {
        path("/Users/ada/work/a")
    } else {
        ground.prefix
    };
    let mut at = ground.rest.iter().fold(start, |at, component| match component {
        Component::Literal(name) => at.join(name.as_bytes()),
        Component::AnyDepth => at.join(b"a"),
        Component::Glob(glob) => {
            let name: String = glob
                .0
                .iter()
                .map(|piece| match piece {
                    GlobPiece::Literal(text) => text.clone(),
                    GlobPiece::Star => "s".to_owned(),
                    GlobPiece::One => "b".to_owned(),
                    GlobPiece::Class { ranges, .. } => ranges[0].0.to_string(),
                })
                .collect();
            at.join(name.as_bytes())
        }
    });
    let last = |at: &AbsolutePath, change: &dyn Fn(&str) -> String| {
        let name = at.name()?;
        let parent = at.parent()?;
        Some(parent.join(change(std::str::from_utf8(name).ok()?).as_bytes()))
    };
    at = match edge {
        Edge::Itself => at,
        Edge::Child => at.join(b"x"),
        Edge::Grandchild => at.join(b".env").join(b"work"),
        Edge::Parent => at.parent()?,
        Edge::Sibling => last(&at, &|name| format!("{name}x"))?,
        Edge::OtherCase => last(&at, &|name| {
            if name.chars().any(char::is_lowercase) { name.to_uppercase() } else { name.to_lowercase() }
        })?,
        Edge::Composed => last(&at, &|name| name.nfc().collect())?,
        Edge::Decomposed => last(&at, &|name| name.nfd().collect())?,
        Edge::Folded => last(&at, &|name| {
            name.replace("ff", "\u{fb00}")
                .replace("ss", "\u{df}")
                .replace('k', "\u{212a}")
                .replace('s', "\u{17f}")
        })?,
        Edge::Alias => {
            let text = String::from_utf8(at.as_bytes().to_vec()).ok()?;
            path(text.strip_prefix("/private").filter(|rest| rest.starts_with("/tmp")).unwrap_or(&text))
        }
    };
    Some(at)
}

pub fn every_item(policy: &Policy) -> Vec<String> {
    let mut items = Vec::new();
    for rule in &policy.rules {
        if let Subject::Path { items: own, except, .. } = &rule.subject {
            items.extend(own.iter().chain(except).map(|item| item.text.clone()));
        }
    }
    items
}

/// What is left out because no filter tells it apart would have said nothing else.
#[test]
fn every_reading_is_asked() {
    let text = "allow read write exec $cwd\ndeny read write $cwd/.env\nallow connect localhost:5432\nallow listen 3000";
    let lowered = lower(crate::machine::policy(text), host(), files());
    let profile = lowered.profile();
    let answers = Answers::new(lowered.profile());
    let mut requests = vec![Request::default(), Request::name("hw.ncpu")];
    for path in ["/Users/ada/work", "/Users/ada/WORK/.Env", "/Users/ada/work/.env", "/usr", "/dev/null"] {
        requests.push(Request::path(path.as_bytes()));
    }
    for host in [Host::Loopback, Host::Unspecified, Host::Other] {
        requests.push(Request::socket("remote", "tcp", host, 5432));
        requests.push(Request::socket("local", "tcp", host, 3000));
    }
    for request in &requests {
        for operation in [
            "file-read-data",
            "file-write-create",
            "file-link",
            "network-outbound",
            "network-bind",
            "nvram-get",
            "sysctl-read",
        ] {
            let mut expected = Said { all: true, ..Said::default() };
            for reading in Reading::all() {
                let allowed = profile.allows(catalina(), operation, request, reading);
                expected.all &= allowed;
                expected.some |= allowed && (!reading.fold || request.path.is_none());
                expected.some_folded |= allowed && reading.fold && request.path.is_some();
            }
            assert_eq!(answers.ask(operation, request), expected, "{operation} {request:?}");
        }
    }
}

/// What the built-in policies say of themselves in their tests holds in their profiles.
#[test]
fn the_profiles_of_the_built_in_policies_hold_what_their_tests_say() {
    let mut compared = 0;
    for (name, text) in fence_policies::ALL {
        let policy = crate::machine::policy(text);
        let world = world(&policy, &host(), &files());
        let lowered = lower(policy.clone(), host(), files());
        let answers = Answers::new(lowered.profile());
        let case = Case { policy, world, lowered, answers };
        let on_this_mac = |test: &&fence_compiler::policy::Test| {
            test.platforms.contains(&fence_compiler::question::Platform::MacOs)
                && test.variables.is_empty()
                && test.links.is_empty()
        };
        for expected in case.policy.tests.iter().filter(on_this_mac).flat_map(|test| &test.expect) {
            let Ok(Question::Path { action, path }) = expected.question.ground(&case.world) else { continue };
            let Ok(resolution) = case.world.resolve(&path, Spelling::Exact) else { continue };
            let object = case.answers.matched(&Request::path(resolution.object.as_bytes()));
            match case.path(action, &path, &object) {
                Ok(was) => compared += u32::from(was),
                Err(wrong) => panic!("{name}: {wrong}"),
            }
        }
    }
    assert!(compared > 90, "{compared}");
}

/// How many policies are drawn. Each is asked 32 questions about paths, services and ports, in every reading.
const CASES: u32 = 10_000;
/// As many runners share them, each with a seed of its own.
const RUNNERS: u32 = 2;

#[test]
fn a_profile_answers_as_the_reference_does() {
    let cases = std::env::var("FENCE_SEATBELT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let told: Vec<Told> = std::thread::scope(|scope| {
        let runners: Vec<_> = (0..RUNNERS)
            .map(|seed| scope.spawn(move || draw_and_compare(cases.div_ceil(RUNNERS), 5 + u64::from(seed))))
            .collect();
        runners.into_iter().map(|runner| runner.join().unwrap()).collect()
    });
    let (compared, asked) = told.iter().fold((0, 0), |sum, told| (sum.0 + told.compared, sum.1 + told.asked));
    println!("{compared} of {asked} questions about paths were compared");
    assert!(compared * 2 > asked, "{compared} of {asked}");
}

/// What a runner did.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    compared: u64,
    asked: u64,
}

fn draw_and_compare(cases: u32, seed: u64) -> Told {
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let told = Cell::new(Told::default());
    let strategy = (draw::policy(), prop::collection::vec((draw::edge(), any::<prop::sample::Index>()), 4));
    let result = TestRunner::new(config).run(&strategy, |(text, edges)| {
        let (policy, found) = resolved(&text);
        if found.iter().any(|found| found.severity == fence_compiler::diagnostic::Severity::Error) {
            return Ok(());
        }
        let lowered = lower(policy.clone(), host(), files());
        let world = world(&policy, &host(), &files());
        let answers = Answers::new(lowered.profile());
        let case = Case { policy, world, lowered, answers };
        let items = every_item(&case.policy);
        if items.is_empty() {
            return Ok(());
        }
        for (edge, index) in edges {
            let Some(at) = near(index.get::<String>(&items), edge, &case.world.variables) else { continue };
            let Ok(resolution) = case.world.resolve(&at, Spelling::Exact) else { continue };
            let object = case.answers.matched(&Request::path(resolution.object.as_bytes()));
            for action in [PathAction::Read, PathAction::Write, PathAction::Exec, PathAction::Socket] {
                let Told { compared, asked } = told.get();
                let was = case.path(action, &at, &object).map_err(|wrong| {
                    TestCaseError::fail(format!("{}\n{wrong}", case.lowered.plan().profile))
                })?;
                told.set(Told { compared: compared + u64::from(was), asked: asked + 1 });
            }
        }
        for name in
            ["com.apple.a", "com.apple.b", "com.other", "com.apple.SecurityServer", "com.apple.mDNSResponder"]
        {
            case.name(name).map_err(TestCaseError::fail)?;
        }
        for port in [22, 23, 24, 80, 443, 3000, 3001, 4005, 4006, 5432, 65535] {
            case.port(port).map_err(TestCaseError::fail)?;
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    told.get()
}
