//! Rules on commands: files that are covered by name, and what is judged before the command starts.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::{Claim, ClaimKind, Claims, Findings, is_for_linux};
use super::coverage::Side;
use super::report::Cause;
use super::tree::{self, Follow, Walk};
use crate::bytes::AbsolutePath;
use crate::cover::PROGRAM_DIRECTORIES;
use crate::fidelity::Mechanism;
use crate::host::{Entry, Files, Host};
use crate::pattern::{CommandPattern, NamePattern, ProgramPattern, Variable};
use crate::policy::{Effect, Item, Policy, Rule, Subject};

const ELSEWHERE: &str =
    "a program of that name starts where it lies outside the search path and the system's directories: {}";
const COPY: &str = "a copy, or the same program under another name, starts: {}";
const MULTICALL: &str = "one of several names of a program, which starts when another program starts it: {}";
const ARGUMENTS: &str =
    "arguments are judged for the command that fence starts, not for what that one starts in turn: {}";
const LIST: &str = "the list is judged for the command that fence starts, but what that one starts in turn may be any command: {}";

/// Programs that do different things under different names.
const MULTICALL_PROGRAMS: [&[u8]; 4] = [b"busybox", b"toybox", b"coreutils", b"uutils"];

/// Adds what one-word rules close, and reports how all rules on commands are enforced.
pub(super) fn judge(
    policy: &Policy,
    host: &Host,
    values: &BTreeMap<Variable, Vec<u8>>,
    files: &mut dyn Files,
    claims: &mut Claims,
    findings: &mut Findings,
) {
    let any_allowed = allows(policy).next().is_some();
    let every_allowed = allows(policy).any(opens_everything);
    let mut commands = Commands { directories: None, host, values, files, claims, findings };
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Subject::Run { items, except } = &rule.subject else { continue };
        if let Some(report) = commands.findings.report(number) {
            report.by(Mechanism::Preflight);
        }
        if rule.effect == Effect::Allow {
            if !every_allowed {
                for item in items {
                    commands.weaker(number, LIST, &item.text);
                }
            }
        } else if any_allowed {
            for item in items {
                commands.closed(number, item, except);
            }
        }
    }
}

fn allows(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| {
        is_for_linux(rule) && rule.effect == Effect::Allow && matches!(rule.subject, Subject::Run { .. })
    })
}

fn opens_everything(rule: &Rule) -> bool {
    match &rule.subject {
        Subject::Run { items, except } => {
            except.is_empty() && items.iter().any(|item| item.pattern.program == ProgramPattern::AnyCommand)
        }
        _ => false,
    }
}

struct Commands<'a> {
    /// Where programs are looked for, resolved; found when first needed.
    directories: Option<Vec<Walk>>,
    host: &'a Host,
    values: &'a BTreeMap<Variable, Vec<u8>>,
    files: &'a mut dyn Files,
    claims: &'a mut Claims,
    findings: &'a mut Findings,
}

impl Commands<'_> {
    fn closed(&mut self, party: usize, item: &Item<CommandPattern>, except: &[Item<CommandPattern>]) {
        if !item.pattern.words.is_empty() {
            return self.weaker(party, ARGUMENTS, &item.text);
        }
        match &item.pattern.program {
            ProgramPattern::AnyCommand => {}
            ProgramPattern::Name(name) => {
                self.weaker(party, ELSEWHERE, &item.text);
                for found in self.named(name) {
                    self.program(party, item, except, found);
                }
            }
            ProgramPattern::Path(path) => {
                self.weaker(party, COPY, &item.text);
                if let Ok(ground) = path.ground(self.values)
                    && ground.rest.is_empty()
                    && let Some(name) = ground.prefix.name().map(<[u8]>::to_vec)
                    && let Ok(walk) = tree::walk(self.files, &ground.prefix)
                {
                    self.program(party, item, except, (name, walk));
                }
            }
        }
    }

    /// Covers a file, unless it is there under other names too.
    fn program(
        &mut self,
        party: usize,
        item: &Item<CommandPattern>,
        except: &[Item<CommandPattern>],
        (name, walk): (Vec<u8>, Walk),
    ) {
        if matches!(walk.entry, Entry::Missing | Entry::Directory) || is_excepted(except, &name) {
            return;
        }
        let last = walk.object.name().unwrap_or_default();
        if last != name || MULTICALL_PROGRAMS.contains(&last) {
            return self.weaker(party, MULTICALL, &item.text);
        }
        if let Some(report) = self.findings.report(party) {
            report.by(Mechanism::Mount);
        }
        self.claims.list.push(Claim {
            party,
            side: Side::Item,
            at: walk.object,
            text: item.text.clone(),
            kind: ClaimKind::Object,
        });
    }

    /// The programs of a name, or of the names that a pattern matches.
    fn named(&mut self, pattern: &NamePattern) -> Vec<(Vec<u8>, Walk)> {
        let mut found = Vec::new();
        for directory in self.directories() {
            let names = match pattern.0.as_literal() {
                Some(name) => vec![name.as_bytes().to_vec()],
                None => {
                    let mut names = self.files.names(&directory.object);
                    names.retain(|name| pattern.0.matches(name));
                    names
                }
            };
            for name in names {
                let ahead = std::iter::once(name.as_slice());
                if let Ok(walk) = tree::walk_on(self.files, directory.clone(), ahead, Follow::Links) {
                    found.push((name, walk));
                }
            }
        }
        found
    }

    fn directories(&mut self) -> Vec<Walk> {
        if let Some(known) = &self.directories {
            return known.clone();
        }
        let path = self.host.environment.get("PATH").map(String::as_bytes).unwrap_or_default();
        let named = path.split(|byte| *byte == b':').filter_map(AbsolutePath::new);
        let system = PROGRAM_DIRECTORIES.iter().filter_map(|path| AbsolutePath::new(path.as_bytes()));
        let paths: BTreeSet<AbsolutePath> = named.chain(system).collect();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for path in paths {
            if let Ok(walk) = tree::walk(self.files, &path)
                && walk.entry == Entry::Directory
                && seen.insert(walk.object.clone())
            {
                found.push(walk);
            }
        }
        self.directories = Some(found.clone());
        found
    }

    fn weaker(&mut self, party: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(party) {
            report.weaker(Cause::Mechanism, sentence, text);
        }
    }
}

/// Whether an `except` names the program: its file cannot be covered then.
fn is_excepted(except: &[Item<CommandPattern>], name: &[u8]) -> bool {
    except.iter().any(|item| match &item.pattern.program {
        ProgramPattern::AnyCommand => true,
        ProgramPattern::Name(pattern) => pattern.0.matches(name),
        ProgramPattern::Path(_) => true,
    })
}
