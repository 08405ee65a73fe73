//! Whether the plan answers as the policy does: for random small policies and trees, every question about what
//! exists is asked of both.

use std::collections::BTreeMap;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::fidelity::{Enforced, Level};
use fence_compiler::host::{Entry, FileFacts, Host, LinkText};
use fence_compiler::lower::linux::{lower, lower_for};
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::{Finish, LinuxTarget};
use fence_compiler::lower::values;
use fence_compiler::plan::Mediated;
use fence_compiler::policy::{Effect, PathAction, Policy};
use fence_compiler::question::{Platform, Question, Reason, Verdict};
use fence_compiler::world::World;
use proptest::prelude::*;

use super::machine::{host, path};
use super::model::{Holder, Model};
use super::written::policy;

const DIRECTORIES: [&str; 5] = ["/a", "/a/b", "/a/b/c", "/h", "/h/w"];
const NAMES: [&str; 4] = ["x", "y", "b", "w"];
const TARGETS: [&str; 7] = ["/a", "/a/b/c", "/h/w/x", "x", "../x", "/nowhere", "b"];
const ITEMS: [&str; 18] = [
    "/", "/a", "/a/b", "/a/x", "/a/b/c", "/a/b/x", "/a/y", "/h", "~", "~/x", "$cwd", "$cwd/x", "$cwd/b/y",
    "/a/*", "$cwd/*", "**/x", "/a/**/x", "~/w/[xy]",
];
const ACTIONS: [&str; 7] =
    ["read", "write", "exec", "read write", "read exec", "read write exec", "write exec"];

#[derive(Clone, Debug)]
struct Written {
    effect: &'static str,
    actions: &'static str,
    items: Vec<&'static str>,
    except: Vec<&'static str>,
}

fn rule() -> impl Strategy<Value = Written> {
    let item = || prop::sample::select(&ITEMS[..]);
    let effect = prop::sample::select(&["allow", "allow", "deny", "never"][..]);
    let actions = prop::sample::select(&ACTIONS[..]);
    (effect, actions, prop::collection::vec(item(), 1..3), prop::collection::vec(item(), 0..2))
        .prop_map(|(effect, actions, items, except)| Written { effect, actions, items, except })
}

fn tree() -> impl Strategy<Value = Vec<(String, Entry)>> {
    let kind = prop_oneof![
        3 => Just(Entry::File),
        2 => Just(Entry::Directory),
        2 => prop::sample::select(&TARGETS[..]).prop_map(|to| Entry::Link(LinkText::new(to.as_bytes()))),
    ];
    let place = (prop::sample::select(&DIRECTORIES[..]), prop::sample::select(&NAMES[..]), kind);
    prop::collection::vec(place.prop_map(|(above, name, kind)| (format!("{above}/{name}"), kind)), 0..10)
}

/// A tree in which nothing lies below what is no directory.
fn plant(entries: &[(String, Entry)]) -> FileFacts {
    let always = ["/h/w", "/a", "/dev", "/proc", "/sys", "/tmp"];
    let mut files =
        always.iter().fold(FileFacts::default(), |files, at| files.with(path(at), Entry::Directory));
    for (at, kind) in entries {
        let at = path(at);
        let blocked = at
            .ancestors()
            .any(|above| files.entries.get(&above).is_some_and(|entry| *entry != Entry::Directory));
        if !blocked && !files.entries.contains_key(&at) {
            files = files.with(at, kind.clone());
        }
    }
    files
}

fn text(rules: &[Written]) -> String {
    rules
        .iter()
        .map(|rule| {
            let except = match rule.except.as_slice() {
                [] => String::new(),
                except => format!(" except {}", except.join(", ")),
            };
            format!("{} {} {}{except}\n", rule.effect, rule.actions, rule.items.join(", "))
        })
        .collect()
}

fn world(policy: &Policy, host: &Host, files: &FileFacts) -> World {
    let links = files.entries.iter().filter_map(|(at, entry)| match entry {
        Entry::Link(text) => Some((at.clone(), text.bytes())),
        _ => None,
    });
    World {
        platform: Platform::Linux,
        variables: values::of(host, policy),
        links: links.collect(),
        hosts: BTreeMap::new(),
        protected: Vec::new(),
    }
}

/// Asks everything of both, and says where they differ although the fidelity does not say so.
fn compare(text: &str, files: &FileFacts) -> Result<(), String> {
    for (target, holder) in [
        (LinuxTarget::Native, Holder::Both),
        (LinuxTarget::Bwrap(Finish::ByFence), Holder::Mounts),
        (LinuxTarget::Landlock(RunId::none()), Holder::Landlock),
    ] {
        compare_on(&target, holder, text, files).map_err(|difference| format!("{target:?}: {difference}"))?;
    }
    Ok(())
}

fn compare_on(target: &LinuxTarget, holder: Holder, text: &str, files: &FileFacts) -> Result<(), String> {
    let policy = policy(text);
    let mut host = host("/h/w");
    host.person.home = path("/h");
    let lowered = lower_for(target, &policy, &host, &mut files.clone());
    let world = world(&policy, &host, files);
    let mut model = Model::held_by(holder, &lowered.plan, files);
    let level = |rule| {
        lowered.fidelity.iter().find(|told| told.what == Enforced::Rule(rule)).map(|told| told.level).unwrap()
    };
    let any = |wanted: &[Level], effect: fn(Effect) -> bool| {
        (0..)
            .map(fence_compiler::policy::RuleId)
            .zip(&policy.rules)
            .any(|(id, rule)| effect(rule.effect) && wanted.contains(&level(id)))
    };
    for asked in questions(files) {
        let ask = |action| decide(&policy, &world, &Question::Path { action, path: asked.clone() });
        // A loop, and a link to nowhere, lead to nothing that could be opened.
        let Ok(found) = world.resolve(&asked, fence_compiler::world::Spelling::Exact) else { continue };
        if !found.object.is_root() && !files.entries.contains_key(&found.object) {
            continue;
        }
        for action in [PathAction::Read, PathAction::Write, PathAction::Exec] {
            let mut decisions = vec![ask(action)];
            if action == PathAction::Exec {
                decisions.push(ask(PathAction::Read));
            }
            let denied = decisions.iter().find(|decision| decision.verdict == Verdict::Denied);
            // Where it is judged, the rules are asked beside what the mounts let pass; a program is read when it starts.
            let kind = match action {
                PathAction::Write => Mediated::Writes,
                _ => Mediated::Reads,
            };
            let asks = action != PathAction::Exec || ask(PathAction::Read).verdict == Verdict::Denied;
            let judged = asks && lowered.plan.mediated.contains(&kind);
            let allowed = model.allows(action, &asked) && !(judged && denied.is_some());
            match (denied, allowed) {
                (None, true) | (Some(_), false) => {}
                (Some(_), true) => {
                    // What is denied only because of a link on the way is allowed under its own name: the link
                    // opens nothing, and a mount knows nothing of how a path was spelled. So the rules that count
                    // are those that deny it under that name.
                    let by_its_name = |action| {
                        decide(&policy, &world, &Question::Path { action, path: found.object.clone() })
                    };
                    let mut named = vec![by_its_name(action)];
                    if action == PathAction::Exec {
                        named.push(by_its_name(PathAction::Read));
                    }
                    let Some(denied) = named.iter().find(|decision| decision.verdict == Verdict::Denied)
                    else {
                        continue;
                    };
                    let told = match &denied.reason {
                        Reason::Rules(rules) => rules.iter().all(|rule| level(*rule) == Level::Weaker),
                        _ => any(&[Level::Weaker], |effect| effect == Effect::Allow),
                    };
                    if !told {
                        return Err(format!("{action:?} {asked} is open, although {:?}", denied.reason));
                    }
                }
                (None, false) => {
                    // A link that no rule leads through is not made again: its target is there by its own name.
                    let unmade = asked != found.object && model.resolve(&asked).is_none();
                    if !unmade && !any(&[Level::Weaker, Level::Stricter], |_| true) {
                        return Err(format!("{action:?} {asked} is closed, although everything is exact"));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Everything that exists, and what lies in directories through links.
fn questions(files: &FileFacts) -> Vec<AbsolutePath> {
    let special = |at: &AbsolutePath| ["/dev", "/proc", "/sys", "/tmp"].iter().any(|own| *at == path(own));
    let mut asked: Vec<AbsolutePath> = files.entries.keys().filter(|at| !special(at)).cloned().collect();
    for (at, entry) in &files.entries {
        if matches!(entry, Entry::Link(_)) {
            asked.extend(NAMES.iter().map(|name| at.join(name.as_bytes())));
        }
    }
    asked
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_plan_answers_as_the_policy_does(rules in prop::collection::vec(rule(), 1..6), entries in tree()) {
        let files = plant(&entries);
        if let Err(difference) = compare(&text(&rules), &files) {
            prop_assert!(false, "{difference}\n{}\n{:?}", text(&rules), files.entries);
        }
    }

    #[test]
    fn the_order_of_rules_changes_no_mount(rules in prop::collection::vec(rule(), 1..5), entries in tree()) {
        let files = plant(&entries);
        let mut host = host("/h/w");
        host.person.home = path("/h");
        let plan = |rules: &[Written]| {
            let mut plan = lower(&policy(&text(rules)), &host, &mut files.clone()).plan;
            plan.mounts.iter_mut().for_each(without_rules);
            plan
        };
        let turned: Vec<Written> = rules.iter().rev().cloned().collect();
        prop_assert_eq!(plan(&rules), plan(&turned));
    }
}

/// A path that two rules deny, one of them only because of the link that it goes through.
#[test]
fn a_rule_about_a_link_alone_is_not_asked_of_what_it_leads_to() {
    let files =
        plant(&[("/a/x".to_owned(), Entry::File), ("/h/x".to_owned(), Entry::Link(LinkText::new(b"/a")))]);
    assert_eq!(compare("deny read **/x\nallow read write ~/x\ndeny exec /h\n", &files), Ok(()));
}

fn without_rules(mount: &mut fence_compiler::plan::Mount) {
    use fence_compiler::plan::Mount;
    if let Mount::Tree { rules, .. } | Mount::Mask { rules, .. } | Mount::Pin { rules, .. } = mount {
        rules.clear();
    }
}
