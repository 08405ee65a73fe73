//! The same policy on Linux and on macOS: where the rules that decide are exact on both, no question is answered
//! differently by the model of the plan and by the profile.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::fidelity::{Enforced, Enforcement, Level};
use fence_compiler::host::{Entry, FileFacts, Host};
use fence_compiler::lower::linux::lower_for;
use fence_compiler::lower::target::LinuxTarget;
use fence_compiler::lower::values;
use fence_compiler::paths::PathRules;
use fence_compiler::plan::Mediated;
use fence_compiler::policy::{Effect, PathAction, Policy, RuleId};
use fence_compiler::question::{Decision, Platform, Question, Reason, Verdict};
use fence_compiler::world::{Spelling, World};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::agreement::{Answers, enough, every_item, near, operations};
use crate::draw::{self, Edge};
use crate::fidelity::linux;
use crate::machine::{files, host, lower, path, policy, resolved, world};
use crate::profile::Request;

#[path = "../../compiler/tests/lowering/model.rs"]
#[allow(dead_code)]
mod model;

use model::Model;

/// What lies near each item.
const EDGES: [Edge; 5] = [Edge::Itself, Edge::Child, Edge::Parent, Edge::Sibling, Edge::OtherCase];

/// As many paths are asked about under each built-in policy, spread over its items.
const PATHS: usize = 70;

/// What came of the questions.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Answered by rules that are exact on both.
    compared: u64,
    /// Of these, allowed.
    allowed: u64,
    /// Decided differently by the language itself: rules for one platform, and names that macOS takes for the same.
    by_language: u64,
    /// Decided by a rule that one of both does not hold exactly.
    inexact: u64,
    /// Refused on one of both because of another rule, which is told as stricter there.
    stricter: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.compared += other.compared;
        self.allowed += other.allowed;
        self.by_language += other.by_language;
        self.inexact += other.inexact;
        self.stricter += other.stricter;
    }
}

/// A policy on both machines, over the same tree of files.
struct Both {
    policy: Policy,
    files: FileFacts,
    worlds: [World; 2],
    fidelity: [Vec<Enforcement>; 2],
    plan: fence_compiler::plan::LinuxPlan,
    /// The rules that calls which write files are judged by on Linux, if they are.
    judging: Option<PathRules>,
    answers: Answers,
}

/// Ada's machine, were it one of Linux.
fn linux_host() -> Host {
    let mac = host();
    Host {
        person: mac.person,
        git_root: mac.git_root,
        protected: mac.protected,
        ..linux::host("/Users/ada/work")
    }
}

impl Both {
    fn new(policy: Policy, files: FileFacts) -> Both {
        let here = linux_host();
        let lowered = lower_for(&LinuxTarget::Native, &policy, &here, &mut files.clone());
        let mac = lower(policy.clone(), host(), files.clone());
        let mac_world = world(&policy, &host(), &files);
        let linux_world =
            World { platform: Platform::Linux, variables: values::of(&here, &policy), ..mac_world.clone() };
        let judged = lowered.plan.mediated.contains(&Mediated::Writes);
        Both {
            judging: judged.then(|| PathRules::new(&policy, &linux_world, linux_world.clone())),
            files,
            worlds: [linux_world, mac_world],
            fidelity: [lowered.fidelity, mac.artifact.fidelity.clone()],
            plan: lowered.plan,
            answers: Answers::new(mac.profile()),
            policy,
        }
    }

    /// Whether the rules that decided are held exactly on one of both.
    fn is_exact(&self, side: usize, decision: &Decision) -> bool {
        match &decision.reason {
            Reason::Rules(rules) => rules.iter().all(|rule| self.level(side, *rule) == Level::Exact),
            // Something that opens more than it says may open this.
            Reason::NothingAllows => (0..)
                .map(RuleId)
                .zip(&self.policy.rules)
                .all(|(id, rule)| rule.effect != Effect::Allow || self.level(side, id) != Level::Weaker),
            _ => true,
        }
    }

    fn level(&self, side: usize, rule: RuleId) -> Level {
        let told = self.fidelity[side].iter().find(|told| told.what == Enforced::Rule(rule));
        told.map_or(Level::Exact, |told| told.level)
    }

    /// Whether a rule is told to close more than it says there; one that is weaker too is told as that.
    fn closes_more(&self, side: usize) -> bool {
        self.fidelity[side].iter().any(|told| told.level != Level::Exact)
    }

    /// Asks both about a path that is there.
    fn ask(&self, model: &mut Model<'_>, at: &AbsolutePath) -> Result<Counts, String> {
        let mut counts = Counts::default();
        let Ok(resolution) = self.worlds[1].resolve(at, Spelling::Exact) else { return Ok(counts) };
        // A link opens nothing: what it leads to is asked about by its own name.
        if resolution.object != *at || at.is_root() || !self.files.entries.contains_key(at) {
            return Ok(counts);
        }
        let matched = self.answers.matched(&Request::path(at.as_bytes()));
        for actions in [&[PathAction::Read][..], &[PathAction::Write], &[PathAction::Exec, PathAction::Read]]
        {
            // What is executed is read as well.
            let decided = [0, 1].map(|side| -> Vec<Decision> {
                let ask = |action: &PathAction| {
                    let question = Question::Path { action: *action, path: at.clone() };
                    decide(&self.policy, &self.worlds[side], &question)
                };
                actions.iter().map(ask).collect()
            });
            let allowed = [0, 1].map(|side| decided[side].iter().all(|one| one.verdict == Verdict::Allowed));
            if allowed[0] != allowed[1] {
                counts.by_language += 1;
                continue;
            }
            let exact = |side: usize| {
                let deciding = |one: &&Decision| allowed[side] || one.verdict == Verdict::Denied;
                decided[side].iter().filter(deciding).all(|one| self.is_exact(side, one))
            };
            if !exact(0) || !exact(1) {
                counts.inexact += 1;
                continue;
            }
            // Where it is judged, the rules are asked beside what the mounts let pass; a program is read when it starts.
            let reads = self.plan.mediated.contains(&Mediated::Reads);
            let asked = match actions[0] {
                PathAction::Write => Some(PathAction::Write),
                PathAction::Read | PathAction::Exec if reads => Some(PathAction::Read),
                _ => None,
            };
            let judged = self.judging.as_ref().zip(asked);
            let judged = judged.map(|(rules, action)| rules.decide(action, at, &[]).verdict);
            let linux = model.allows(actions[0], at) && judged != Some(Verdict::Denied);
            let needed = actions.iter().flat_map(|action| enough(*action));
            let everything = actions.iter().flat_map(|action| operations(*action));
            let mac = needed.clone().all(|operation| self.answers.said(operation, &matched).all);
            let any = !everything.clone().any(|operation| {
                let said = self.answers.said(operation, &matched);
                !said.some
            });
            match (allowed[0], linux, mac) {
                (true, true, true) => {}
                (false, false, false) if !any => {}
                (true, _, _) if (!linux && self.closes_more(0)) || (!mac && self.closes_more(1)) => {
                    counts.stricter += 1;
                    continue;
                }
                _ => {
                    return Err(format!(
                        "{actions:?} {at}: Linux says {linux}, macOS says {mac} ({any}), and decided is {decided:?}"
                    ));
                }
            }
            counts.compared += 1;
            counts.allowed += u64::from(allowed[0]);
        }
        Ok(counts)
    }
}

/// The tree of a Mac, and everything that is asked about beside: what has something below it is a directory.
fn tree(asked: &BTreeSet<AbsolutePath>) -> FileFacts {
    let mut all = files();
    for at in ["/dev", "/proc", "/sys", "/tmp", "/private/tmp"] {
        all.entries.remove(&path(at));
        all = all.with(path(at), Entry::Directory);
    }
    for at in asked {
        let blocked = at.ancestors().any(|above| {
            matches!(all.entries.get(&above), Some(entry) if !matches!(entry, Entry::Missing | Entry::Directory))
        });
        if blocked || all.entries.contains_key(at) {
            continue;
        }
        let holds = asked.range(at..).skip(1).take_while(|other| other.is_within(at)).next().is_some();
        all = all.with(at.clone(), if holds { Entry::Directory } else { Entry::File });
    }
    all
}

/// Where each machine has something of its own, the same question means another thing.
fn is_own(at: &AbsolutePath) -> bool {
    ["/dev", "/proc", "/sys", "/tmp", "/private", "/var", "/etc"].iter().any(|own| at.is_within(&path(own)))
}

/// The paths near the items of a policy.
fn edges(
    policy: &Policy,
    variables: &BTreeMap<fence_compiler::pattern::Variable, Vec<u8>>,
) -> Vec<AbsolutePath> {
    let items = every_item(policy);
    let paths = items.iter().flat_map(|item| EDGES.map(|edge| near(item, edge, variables)));
    let mut paths: Vec<AbsolutePath> = paths.flatten().filter(|at| !is_own(at)).collect();
    paths.dedup();
    paths
}

#[test]
fn the_built_in_policies_mean_the_same_on_linux_and_macos() {
    let mut sum = Counts::default();
    let (mut different, mut few) = (Vec::new(), Vec::new());
    for (name, _) in fence_policies::ALL {
        let policy = policy(&format!("include base\ninclude {name}\nallow read write exec $workspace"));
        let variables = values::of(&host(), &policy);
        let all = edges(&policy, &variables);
        let step = all.len().div_ceil(PATHS).max(1);
        let asked: BTreeSet<AbsolutePath> = all.into_iter().step_by(step).collect();
        let both = Both::new(policy, tree(&asked));
        let mut model = Model::new(&both.plan, &both.files);
        let mut counts = Counts::default();
        for at in &asked {
            match both.ask(&mut model, at) {
                Ok(more) => counts.add(more),
                Err(difference) => different.push(format!("{name}: {difference}")),
            }
        }
        println!("{name}: {counts:?}");
        if counts.compared < 60 || counts.allowed < 10 {
            few.push(name);
        }
        sum.add(counts);
    }
    println!("all: {sum:?}");
    assert_eq!(different, Vec::<String>::new());
    assert!(few.is_empty(), "{few:?}");
    assert!(sum.stricter * 20 < sum.compared, "{sum:?}");
}

/// How many policies are drawn.
const CASES: u32 = 800;

#[test]
fn drawn_policies_mean_the_same_on_linux_and_macos() {
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Config::default()
    };
    let sum = Cell::new(Counts::default());
    let result = TestRunner::new(config).run(&draw::policy(), |text| {
        let (policy, found) = resolved(&text);
        if found.iter().any(|found| found.severity == fence_compiler::diagnostic::Severity::Error) {
            return Ok(());
        }
        let variables = values::of(&host(), &policy);
        let asked: BTreeSet<AbsolutePath> = edges(&policy, &variables).into_iter().collect();
        let both = Both::new(policy, tree(&asked));
        let mut model = Model::new(&both.plan, &both.files);
        for at in &asked {
            let counts = both.ask(&mut model, at);
            let counts = counts.map_err(|wrong| TestCaseError::fail(format!("{text}\n{wrong}")))?;
            let mut all = sum.get();
            all.add(counts);
            sum.set(all);
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    println!("{:?}", sum.get());
    assert!(sum.get().compared > 10_000, "{:?}", sum.get());
}
