//! Rules about files, prepared for whoever asks at each system call.
//!
//! The answers are those of [`crate::decide`] about paths that somebody has resolved already: what takes long there,
//! putting values in and following links, is done once for a world.

use crate::bytes::AbsolutePath;
use crate::cover::{
    PathAsked, always_closed, is_below, is_open_device, is_own_process, program_is_closed, readings,
};
use crate::pattern::{Grounded, PathPattern, Polarity, Root};
use crate::policy::{Effect, Item, PathAction, Policy, RuleId, Subject};
use crate::question::{Decision, Reason, Verdict};
use crate::world::World;

/// The rules of a policy about files in a world.
#[derive(Clone, Debug)]
pub struct PathRules {
    world: World,
    rules: Vec<Prepared>,
    /// Closing rules about commands: they may close reading a program's file.
    programs: Vec<(RuleId, Subject)>,
}

/// One rule, with what its items come to.
#[derive(Clone, Debug)]
struct Prepared {
    id: RuleId,
    effect: Effect,
    actions: Vec<PathAction>,
    items: Vec<Grounded>,
    except: Vec<Grounded>,
}

/// What rules say about something beneath a directory and not about the directory itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beneath {
    /// The places beneath it that rules close by name, each with what lies there.
    pub places: Vec<AbsolutePath>,
    /// Whether a pattern of theirs may match something that is not told by a place.
    pub patterns: Patterns,
}

/// Whether there are patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patterns {
    /// None.
    None,
    /// At least one.
    Some,
}

impl PathRules {
    /// Prepares a policy for a world. What opens follows the links of another one: those that were there before anybody
    /// inside could make any.
    #[must_use]
    pub fn new(policy: &Policy, opening: &World, world: World) -> PathRules {
        let here = |platform| world.platform == platform;
        let mut rules = Vec::new();
        let mut programs = Vec::new();
        for (id, rule) in (0..).map(RuleId).zip(&policy.rules) {
            if !rule.platform.is_none_or(here) {
                continue;
            }
            match &rule.subject {
                Subject::Path { actions, items, except } => {
                    let polarity = match rule.effect {
                        Effect::Allow => Polarity::Opening,
                        Effect::Deny | Effect::Never => Polarity::Closing,
                    };
                    let read = |patterns: &[Item<PathPattern>], polarity| {
                        let mut found: Vec<Grounded> = patterns
                            .iter()
                            .flat_map(|item| match polarity {
                                Polarity::Opening => readings(&item.pattern, opening, polarity),
                                Polarity::Closing => readings(&item.pattern, &world, polarity),
                            })
                            .collect();
                        found.sort_unstable();
                        found.dedup();
                        found
                    };
                    rules.push(Prepared {
                        id,
                        effect: rule.effect,
                        actions: actions.clone(),
                        items: read(items, polarity),
                        except: read(except, polarity.opposite()),
                    });
                }
                Subject::Run { items, .. }
                    if rule.effect != Effect::Allow
                        && items.iter().any(|item| item.pattern.is_one_word()) =>
                {
                    programs.push((id, rule.subject.clone()));
                }
                _ => {}
            }
        }
        PathRules { world, rules, programs }
    }

    /// The literal beginnings of what opens or closes: links on the way there matter.
    #[must_use]
    pub fn ways(policy: &Policy, world: &World, polarity: Polarity) -> Vec<AbsolutePath> {
        let mut ways = Vec::new();
        for rule in &policy.rules {
            let Subject::Path { items, except, .. } = &rule.subject else { continue };
            let closes = rule.effect != Effect::Allow;
            let named = if closes == (polarity == Polarity::Closing) { items } else { except };
            for item in named.iter().filter(|item| item.pattern.root != Root::Anywhere) {
                ways.extend(item.pattern.ground(&world.variables).map(|ground| ground.prefix));
            }
        }
        ways.sort_unstable();
        ways.dedup();
        ways
    }

    /// Whether something may be done with what lies at a path: the object, in which no component is a link, and the paths
    /// by which it was reached.
    #[must_use]
    pub fn decide(&self, action: PathAction, object: &AbsolutePath, spellings: &[AbsolutePath]) -> Decision {
        let candidates: Vec<AbsolutePath> = spellings.iter().chain([object]).cloned().collect();
        let asked = PathAsked::resolved(&self.world, candidates, vec![object.clone()]);
        let device = matches!(action, PathAction::Read | PathAction::Write) && is_below(&asked, "/dev");
        let closes: &[PathAction] = match action {
            PathAction::Read if device => &[PathAction::Read, PathAction::Exec, PathAction::Device],
            PathAction::Read => &[PathAction::Read, PathAction::Exec],
            PathAction::Write if device => &[PathAction::Write, PathAction::Device],
            _ => std::slice::from_ref(&action),
        };
        let opens = if device { PathAction::Device } else { action };
        let (mut closing, mut opening) = (Vec::new(), Vec::new());
        for rule in &self.rules {
            match rule.effect {
                Effect::Allow if rule.actions.contains(&opens) && rule.covers_narrowly(&asked) => {
                    opening.push(rule.id);
                }
                Effect::Deny | Effect::Never
                    if rule.actions.iter().any(|named| closes.contains(named))
                        && rule.covers_widely(&asked) =>
                {
                    closing.push(rule.id);
                }
                _ => {}
            }
        }
        if action == PathAction::Read {
            let closed = |(_, rule): &&(RuleId, Subject)| {
                asked.candidates().iter().any(|path| program_is_closed(rule, &self.world, path, &asked))
            };
            closing.extend(self.programs.iter().filter(closed).map(|(id, _)| *id));
            closing.sort_unstable();
        }
        let always = if action == PathAction::Write { always_closed(&self.world, &asked) } else { None };
        let (verdict, reason) = match (closing.is_empty(), always) {
            (false, _) => (Verdict::Denied, Reason::Rules(closing)),
            (true, Some(why)) => (Verdict::Denied, Reason::AlwaysClosed(why.to_owned())),
            (true, None) if is_open_device(&asked, action) => {
                (Verdict::Allowed, Reason::AlwaysOpen("a device that is always there".to_owned()))
            }
            (true, None) if !opening.is_empty() => (Verdict::Allowed, Reason::Rules(opening)),
            (true, None) if is_own_process(&self.world, &asked, action) => {
                (Verdict::Allowed, Reason::AlwaysOpen("`/proc` shows the sandbox's own processes".to_owned()))
            }
            (true, None) => (Verdict::Denied, Reason::NothingAllows),
        };
        Decision { verdict, reason, assumptions: Vec::new() }
    }

    /// Whether a link would bring what lies beneath its target to names that a pattern closes beneath the link, and does not
    /// close beneath the target: nobody looks through a tree for them. Without a target, it may be any. The patterns are those
    /// that close one of these actions.
    #[must_use]
    pub fn leads_astray(
        &self,
        link: &AbsolutePath,
        target: Option<&AbsolutePath>,
        actions: &[PathAction],
    ) -> bool {
        self.closing(actions).filter(|pattern| !pattern.rest.is_empty()).any(|pattern| {
            let mut beneath = pattern.progress(link.components());
            // The name itself is closed then.
            beneath.remove(&pattern.length());
            let there = match target {
                Some(target) => pattern.progress(target.components()),
                None => pattern.anywhere(),
            };
            let closed = there.contains(&pattern.length()) || beneath.is_subset(&there);
            !closed && target.is_none_or(|target| self.may_write_beneath(target))
        })
    }

    /// What closes one of these actions.
    fn closing(&self, actions: &[PathAction]) -> impl Iterator<Item = &Grounded> {
        let named = |rule: &&Prepared| rule.actions.iter().any(|action| actions.contains(action));
        self.rules.iter().filter(named).flat_map(|rule| match rule.effect {
            Effect::Allow => &rule.except,
            Effect::Deny | Effect::Never => &rule.items,
        })
    }

    /// Whether something may be written at a place or beneath it, as far as what opens tells.
    fn may_write_beneath(&self, place: &AbsolutePath) -> bool {
        let opens =
            |rule: &&Prepared| rule.effect == Effect::Allow && rule.actions.contains(&PathAction::Write);
        let mut items = self.rules.iter().filter(opens).flat_map(|rule| &rule.items);
        items.any(|item| item.prefix.is_within(place) || place.is_within(&item.prefix))
    }

    /// What rules say of something beneath a directory alone: what closes, and what opens a socket.
    #[must_use]
    pub fn beneath(&self, directory: &AbsolutePath) -> Beneath {
        let matter = |rule: &&Prepared| rule.actions.iter().any(|action| *action != PathAction::Device);
        let mut patterns = Patterns::None;
        let mut places = self.world.protected.clone();
        places.retain(|place| place != directory && place.is_within(directory));
        for rule in self.rules.iter().filter(matter) {
            let (closing, opening) = match rule.effect {
                Effect::Allow => (&rule.except, &rule.items),
                Effect::Deny | Effect::Never => (&rule.items, &rule.except),
            };
            let sockets = rule.actions.contains(&PathAction::Socket);
            for pattern in closing.iter().chain(opening.iter().filter(|_| sockets)) {
                if pattern.prefix != *directory && pattern.prefix.is_within(directory) {
                    places.push(pattern.prefix.clone());
                } else if directory.is_within(&pattern.prefix) && !pattern.matches_at_or_above(directory) {
                    patterns = Patterns::Some;
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        Beneath { places, patterns }
    }
}

impl Prepared {
    /// As an opening rule: by the objects alone, and closed by any way to them.
    fn covers_narrowly(&self, asked: &PathAsked<'_>) -> bool {
        let opened = |object: &AbsolutePath| self.items.iter().any(|item| item.matches_at_or_above(object));
        let closed = |path: &AbsolutePath| self.except.iter().any(|item| item.matches_at_or_above(path));
        asked.objects().iter().all(opened) && !asked.candidates().iter().any(closed)
    }

    /// As a closing rule: by any way to the objects, unless these are excepted.
    fn covers_widely(&self, asked: &PathAsked<'_>) -> bool {
        let closed = |path: &AbsolutePath| self.items.iter().any(|item| item.matches_at_or_above(path));
        let opened = |object: &AbsolutePath| self.except.iter().any(|item| item.matches_at_or_above(object));
        asked.candidates().iter().any(closed)
            && (self.except.is_empty() || !asked.objects().iter().all(opened))
    }
}
