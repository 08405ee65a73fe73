//! What the rules say about places of a Mac: patterns with values put in, links followed.

use std::collections::{BTreeMap, BTreeSet};

use crate::bytes::AbsolutePath;
use crate::cover::PROGRAM_DIRECTORIES;
use crate::fold;
use crate::host::{Entry, Host};
use crate::lower::atlas::{Atlas, Follow, Stop, Walk};
use crate::lower::claims::{Findings, NO_VALUE, closes_nothing};
use crate::lower::report::Cause;
use crate::pattern::{
    CommandPattern, Component, Grounded, PathPattern, Polarity, ProgramPattern, Root, Variable, path_value,
};
use crate::policy::{Effect, Item, PathAction, Policy, Rule, Subject};
use crate::question::Platform;

/// A place that an item is about: a pattern of the machine, no link on the way to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub Grounded);

impl Place {
    /// A path and what is beneath.
    pub fn at(path: AbsolutePath) -> Place {
        Place(Grounded { prefix: path, rest: Vec::new() })
    }

    /// Whether something may lie in both, whatever the spelling.
    pub fn may_meet(&self, other: &Place) -> bool {
        is_beneath(&self.0.prefix, &other.0.prefix) || is_beneath(&other.0.prefix, &self.0.prefix)
    }
}

/// Whether a path is another one or lies beneath it, in any spelling.
pub fn is_beneath(path: &AbsolutePath, above: &AbsolutePath) -> bool {
    let bytes = (path.as_bytes(), above.as_bytes());
    if bytes.0.is_ascii() && bytes.1.is_ascii() {
        let (path, above) = (bytes.0, if above.is_root() { b"" } else { bytes.1 });
        let begins = path.get(..above.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(above));
        return begins && matches!(path.get(above.len()), None | Some(b'/'));
    }
    fold::path(path, fold::composed).is_within(&fold::path(above, fold::composed))
}

/// The places of one item list.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The places, each with the item it comes from.
    pub places: Vec<(Place, String)>,
}

/// What a rule about files is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Paths that it names.
    Paths,
    /// The files of programs that it names.
    Programs,
}

/// What one rule says about files.
#[derive(Clone, Debug)]
pub struct FileRule {
    /// The rule's number.
    pub number: usize,
    /// What it does.
    pub effect: Effect,
    /// What it names.
    pub kind: Kind,
    /// What it is about.
    pub actions: BTreeSet<PathAction>,
    /// Its items.
    pub items: Told,
    /// Its exceptions.
    pub except: Told,
}

/// Everything that is said about files.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The rules, in their order.
    pub rules: Vec<FileRule>,
    /// The links on the way to what is allowed.
    pub links: BTreeSet<AbsolutePath>,
    /// What the files of fence's own are.
    pub protected: Vec<Place>,
}

/// Whether a rule is for this platform.
pub fn is_for_macos(rule: &Rule) -> bool {
    rule.platform.is_none_or(|platform| platform == Platform::MacOs)
}

/// Gathers what all rules say about files.
pub fn gather(
    policy: &Policy,
    host: &Host,
    values: &BTreeMap<Variable, Vec<u8>>,
    atlas: &mut Atlas<'_>,
    findings: &mut Findings,
) -> Gathered {
    let mut gatherer = Gatherer { host, values, atlas, findings, gathered: Gathered::default() };
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_macos(rule)) {
        let polarity = match rule.effect {
            Effect::Allow => Polarity::Opening,
            Effect::Deny | Effect::Never => Polarity::Closing,
        };
        let (kind, actions, items, except) = match &rule.subject {
            Subject::Path { actions, items, except } => {
                let mut actions: BTreeSet<PathAction> = actions.iter().copied().collect();
                // What may not be executed may not be read either: a loader or a copy would run it.
                if rule.effect != Effect::Allow && actions.contains(&PathAction::Exec) {
                    actions.insert(PathAction::Read);
                }
                let items = gatherer.list(number, polarity, items);
                (Kind::Paths, actions, items, gatherer.list(number, polarity.opposite(), except))
            }
            Subject::Run { items, except } if polarity == Polarity::Closing => {
                let actions = BTreeSet::from([PathAction::Read, PathAction::Exec]);
                let items = gatherer.programs(number, items, except);
                (Kind::Programs, actions, items, Told::default())
            }
            _ => continue,
        };
        gatherer.gathered.rules.push(FileRule { number, effect: rule.effect, kind, actions, items, except });
    }
    for path in &host.protected {
        let places = gatherer.everywhere(path);
        gatherer.gathered.protected.extend(places);
    }
    gatherer.gathered
}

const UNFOLLOWED: &str =
    "leads through a link that is not followed there, so it opens nothing until that is a directory: {}";
const LOOP: &str = "opens nothing, because it leads through a loop of links: {}";
const MULTICALL: &str = "one of several names of a program, which starts when another program starts it: {}";

/// Programs that do different things under different names.
const MULTICALL_PROGRAMS: [&[u8]; 4] = [b"busybox", b"toybox", b"coreutils", b"uutils"];

struct Gatherer<'a, 'f> {
    host: &'a Host,
    values: &'a BTreeMap<Variable, Vec<u8>>,
    atlas: &'a mut Atlas<'f>,
    findings: &'a mut Findings,
    gathered: Gathered,
}

impl Gatherer<'_, '_> {
    fn list(&mut self, rule: usize, polarity: Polarity, items: &[Item<PathPattern>]) -> Told {
        let mut told = Told::default();
        for item in items {
            let places = self.item(rule, polarity, item);
            told.places.extend(places.into_iter().map(|place| (place, item.text.clone())));
        }
        told
    }

    fn item(&mut self, rule: usize, polarity: Polarity, item: &Item<PathPattern>) -> Vec<Place> {
        let ground = match item.pattern.ground(self.values) {
            Ok(ground) => ground,
            Err(missing) => {
                if polarity == Polarity::Closing && !missing.variable.is_optional() {
                    let place = item.written.place();
                    let found = closes_nothing(&item.text, missing.variable.name(), place);
                    self.findings.diagnostics.push(found);
                } else {
                    self.note(rule, NO_VALUE, &item.text);
                }
                return Vec::new();
            }
        };
        match polarity {
            Polarity::Opening => self.opening(rule, item, ground).into_iter().collect(),
            Polarity::Closing => self.closing(&item.pattern, ground),
        }
    }

    /// Links are followed in a variable's value and in paths of the machine's own, not below the working directory.
    fn opening(&mut self, rule: usize, item: &Item<PathPattern>, ground: Grounded) -> Option<Place> {
        match self.begin(&item.pattern, &ground) {
            Ok(walk) => {
                let links = walk.links.iter().map(|at| self.atlas.path(*at).clone());
                self.gathered.links.extend(links);
                Some(Place(Grounded { prefix: self.atlas.path(walk.at).clone(), rest: ground.rest }))
            }
            Err(Stop::Link(_)) => {
                self.note(rule, UNFOLLOWED, &item.text);
                let prefix = self.unfollowed(&item.pattern, &ground)?;
                Some(Place(Grounded { prefix, rest: ground.rest }))
            }
            Err(Stop::Loop(_)) => {
                self.note(rule, LOOP, &item.text);
                None
            }
        }
    }

    fn begin(&mut self, pattern: &PathPattern, ground: &Grounded) -> Result<Walk, Stop> {
        match &pattern.root {
            Root::Variable(variable) if *variable != Variable::Home => {
                let value = path_value(variable, self.values).unwrap_or_else(|_| AbsolutePath::root());
                let walk = self.atlas.walk(&value)?;
                let names = ground.prefix.components().skip(value.components().count());
                self.atlas.walk_on(walk, names, Follow::Nothing)
            }
            _ => self.atlas.walk(&ground.prefix),
        }
    }

    /// The value of the variable with its links followed, and the names behind it as they are.
    fn unfollowed(&mut self, pattern: &PathPattern, ground: &Grounded) -> Option<AbsolutePath> {
        let Root::Variable(variable) = &pattern.root else { return None };
        let value = path_value(variable, self.values).ok()?;
        let walk = self.atlas.walk(&value).ok()?;
        let names = ground.prefix.components().skip(value.components().count());
        Some(self.atlas.path(walk.at).join_all(names))
    }

    /// Closes what an item is about under every path that leads there.
    fn closing(&mut self, pattern: &PathPattern, ground: Grounded) -> Vec<Place> {
        if pattern.root == Root::Anywhere {
            return vec![Place(ground)];
        }
        let mut prefixes: BTreeSet<AbsolutePath> =
            self.everywhere(&ground.prefix).into_iter().map(|place| place.0.prefix).collect();
        prefixes.extend(self.unfollowed(pattern, &ground));
        prefixes.into_iter().map(|prefix| Place(Grounded { prefix, rest: ground.rest.clone() })).collect()
    }

    /// A path as written, and where it leads.
    fn everywhere(&mut self, path: &AbsolutePath) -> Vec<Place> {
        let mut found = BTreeSet::from([path.clone()]);
        match self.atlas.walk(path) {
            Ok(walk) => {
                found.insert(self.atlas.path(walk.at).clone());
            }
            Err(Stop::Link(at) | Stop::Loop(at)) => {
                found.insert(self.atlas.path(at).clone());
            }
        }
        found.into_iter().map(Place::at).collect()
    }

    /// The files of the programs that one-word rules close.
    fn programs(
        &mut self,
        rule: usize,
        items: &[Item<CommandPattern>],
        except: &[Item<CommandPattern>],
    ) -> Told {
        let mut told = Told::default();
        for item in items.iter().filter(|item| item.pattern.words.is_empty()) {
            let places = match &item.pattern.program {
                ProgramPattern::AnyCommand => Vec::new(),
                ProgramPattern::Name(pattern) => self
                    .directories()
                    .into_iter()
                    .flat_map(|directory| match pattern.0.as_literal() {
                        Some(name) => self.everywhere(&directory.join(name.as_bytes())),
                        None => vec![Place(Grounded {
                            prefix: directory,
                            rest: vec![Component::Glob(pattern.0.clone())],
                        })],
                    })
                    .collect(),
                ProgramPattern::Path(path) => match path.ground(self.values) {
                    Ok(ground) => self.closing(path, ground),
                    Err(_) => Vec::new(),
                },
            };
            for place in places {
                let name = place.0.prefix.name().map(<[u8]>::to_vec).unwrap_or_default();
                if place.0.rest.is_empty() && is_excepted(except, &name) {
                    continue;
                }
                if place.0.rest.is_empty() && self.is_multicall(&place.0.prefix) {
                    if let Some(report) = self.findings.report(rule) {
                        report.weaker(Cause::Mechanism, MULTICALL, &item.text);
                    }
                    continue;
                }
                told.places.push((place, item.text.clone()));
            }
        }
        told.places.sort();
        told.places.dedup();
        told
    }

    fn is_multicall(&mut self, path: &AbsolutePath) -> bool {
        let is_one = |path: &AbsolutePath| path.name().is_some_and(|name| MULTICALL_PROGRAMS.contains(&name));
        is_one(path) || self.atlas.walk(path).is_ok_and(|walk| is_one(self.atlas.path(walk.at)))
    }

    fn directories(&mut self) -> Vec<AbsolutePath> {
        let path = self.host.environment.get("PATH").map(String::as_bytes).unwrap_or_default();
        let named = path.split(|byte| *byte == b':').filter_map(AbsolutePath::new);
        let system = PROGRAM_DIRECTORIES.iter().filter_map(|path| AbsolutePath::new(path.as_bytes()));
        let paths: BTreeSet<AbsolutePath> = named.chain(system).collect();
        paths.into_iter().collect()
    }

    fn note(&mut self, rule: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(rule) {
            report.note(sentence, text);
        }
    }
}

/// Whether an `except` may name the program: its file cannot be closed then.
fn is_excepted(except: &[Item<CommandPattern>], name: &[u8]) -> bool {
    except.iter().any(|item| match &item.pattern.program {
        ProgramPattern::AnyCommand | ProgramPattern::Path(_) => true,
        ProgramPattern::Name(pattern) => pattern.0.matches(name),
    })
}

/// Whether anything lies at a path, be it a link that leads nowhere.
pub(super) fn exists(atlas: &mut Atlas<'_>, path: &AbsolutePath) -> bool {
    let Ok(walk) = atlas.walk(path) else { return false };
    let own = atlas.place(path);
    [walk.at, own].into_iter().any(|at| *atlas.entry(at) != Entry::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_beneath_another_in_any_spelling() {
        for (path, above, is_it) in [
            ("/a/b", "/A", true),
            ("/a", "/a", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
            ("/a", "/", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/\u{e9}/x", "/E\u{301}", true),
            ("/kg", "/\u{212a}g", true),
            ("/\u{e9}x", "/\u{e9}", false),
        ] {
            let [path, above] = [path, above].map(|text| AbsolutePath::new(text.as_bytes()).unwrap());
            assert_eq!(is_beneath(&path, &above), is_it, "{path} {above}");
        }
    }
}
