//! Rules on commands: files that are covered by name, and what is judged before the command starts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::atlas::{Atlas, Follow, PlaceId, Walk};
use super::calls::CHANGING;
use super::claims::{Claim, ClaimKind, Claims, Findings, is_for_linux};
use super::coverage::Side;
use super::network::opens_every_ssh;
use super::report::Cause;
use crate::bytes::AbsolutePath;
use crate::cover::PROGRAM_DIRECTORIES;
use crate::fidelity::Mechanism;
use crate::host::{Entry, Host, Support};
use crate::pattern::{CommandPattern, NamePattern, ProgramPattern, Variable};
use crate::plan::NetworkPlan;
use crate::policy::{Acceptance, Effect, Item, NameAction, Policy, Rule, Subject};

const ELSEWHERE: &str =
    "a program of that name starts where it lies outside the search path and the system's directories: {}";
const COPY: &str = "a copy, or the same program under another name, starts: {}";
const MULTICALL: &str = "one of several names of a program, which starts when another program starts it: {}";
const LINKED: &str = "a name of another program, which can be read, and started under its own: {}";
const ARGUMENTS: &str =
    "arguments are judged for the command that fence starts, not for what that one starts in turn: {}";
const LIST: &str = "the list is judged for the command that fence starts, but what that one starts in turn may be any command: {}";

/// Programs that do different things under different names.
const MULTICALL_PROGRAMS: [&[u8]; 4] = [b"busybox", b"toybox", b"coreutils", b"uutils"];

/// Whether something outside has to judge what is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    /// The policy lets everything be started.
    Free,
    /// It does not, and each start is judged.
    Judged,
    /// It does not, and this machine cannot judge what the command starts in turn.
    Unjudged,
}

/// Adds what one-word rules close, and reports how all rules on commands are enforced.
pub(super) fn judge<'p>(
    policy: &'p Policy,
    host: &Host,
    values: &BTreeMap<Variable, Vec<u8>>,
    atlas: &mut Atlas<'_>,
    claims: &mut Claims<'p>,
    findings: &mut Findings,
    starts: Starts,
) {
    let any_allowed = allows(policy).next().is_some();
    let every_allowed = allows(policy).any(opens_everything);
    let mut commands = Commands { starts, directories: None, host, values, atlas, claims, findings };
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Subject::Run { items, except } = &rule.subject else { continue };
        if let Some(report) = commands.findings.report(number) {
            report.by(Mechanism::Preflight);
            if starts == Starts::Judged && !opens_everything(rule) {
                report.by(Mechanism::Mediator);
            }
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

/// Whether starts are judged: where rules close commands or list them, or say what an `ssh` may be asked.
pub(super) fn starts(policy: &Policy, host: &Host, network: &NetworkPlan) -> Starts {
    let any_allowed = allows(policy).next().is_some();
    let every_allowed = allows(policy).any(opens_everything);
    let commands = any_allowed && (!every_allowed || closing(policy).next().is_some());
    let ssh = *network != NetworkPlan::Isolated && ssh_rules(policy).any(|rule| !opens_every_ssh(rule));
    match &host.features.mediation {
        _ if !commands && !ssh => Starts::Free,
        // Judging costs each start inside: a policy may prefer that it does not, where it insists on no rule.
        Support::Yes if every_allowed && !ssh && closing(policy).all(prefers_cheap) => Starts::Unjudged,
        // Whoever traces changes what was judged: a policy may prefer that where it insists on no rule.
        Support::Yes
            if opens_changing(policy)
                && every_allowed
                && closing(policy).all(accepts_less)
                && ssh_rules(policy).all(|rule| opens_every_ssh(rule) || accepts_less(rule)) =>
        {
            Starts::Unjudged
        }
        Support::Yes => Starts::Judged,
        Support::No(_) => Starts::Unjudged,
    }
}

fn ssh_rules(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| is_for_linux(rule) && matches!(rule.subject, Subject::Ssh { .. }))
}

fn closing(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| {
        is_for_linux(rule) && rule.effect != Effect::Allow && matches!(rule.subject, Subject::Run { .. })
    })
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

fn accepts_less(rule: &Rule) -> bool {
    rule.effect == Effect::Deny
        && matches!(rule.acceptance, Acceptance::BestEffort | Acceptance::BestEffortCheaply)
}

/// Whether a rule accepts less than it says, on a machine that could hold it, because that costs.
fn prefers_cheap(rule: &Rule) -> bool {
    rule.effect == Effect::Deny && rule.acceptance == Acceptance::BestEffortCheaply
}

/// Whether the policy opens, in so many words, a call that changes other processes.
pub(super) fn opens_changing(policy: &Policy) -> bool {
    policy.rules.iter().filter(|rule| is_for_linux(rule) && rule.effect == Effect::Allow).any(|rule| {
        matches!(&rule.subject, Subject::Name { action: NameAction::Syscall, items, .. }
            if items.iter().any(|item| CHANGING.iter().any(|name| item.pattern.matches(name))))
    })
}

struct Commands<'a, 'f, 'p> {
    starts: Starts,
    /// Where programs are looked for, no component a link; found when first needed.
    directories: Option<Vec<PlaceId>>,
    host: &'a Host,
    values: &'a BTreeMap<Variable, Vec<u8>>,
    atlas: &'a mut Atlas<'f>,
    claims: &'a mut Claims<'p>,
    findings: &'a mut Findings,
}

impl<'p> Commands<'_, '_, 'p> {
    fn closed(&mut self, party: usize, item: &'p Item<CommandPattern>, except: &[Item<CommandPattern>]) {
        if !item.pattern.words.is_empty() {
            return self.weaker(party, ARGUMENTS, &item.text);
        }
        match &item.pattern.program {
            ProgramPattern::AnyCommand => {}
            ProgramPattern::Name(name) => {
                self.weaker(party, ELSEWHERE, &item.text);
                self.named(party, item, except, name);
            }
            ProgramPattern::Path(path) => {
                self.weaker(party, COPY, &item.text);
                if let Ok(ground) = path.ground(self.values)
                    && ground.rest.is_empty()
                    && let Some(name) = ground.prefix.name()
                    && let Ok(walk) = self.atlas.walk(&ground.prefix)
                {
                    self.program(party, item, except, name, &walk);
                }
            }
        }
    }

    /// Covers the programs of a name, or of the names that a pattern matches.
    fn named(
        &mut self,
        party: usize,
        item: &'p Item<CommandPattern>,
        except: &[Item<CommandPattern>],
        pattern: &NamePattern,
    ) {
        let directories = self.directories.take().unwrap_or_else(|| self.find_directories());
        for directory in &directories {
            match pattern.0.as_literal() {
                Some(name) if self.atlas.lacks(*directory, name.as_bytes()) => {}
                Some(name) => self.found(party, item, except, *directory, name.as_bytes()),
                None => {
                    for name in self.atlas.names(*directory).iter().filter(|name| pattern.0.matches(name)) {
                        self.found(party, item, except, *directory, name);
                    }
                }
            }
        }
        self.directories = Some(directories);
    }

    /// Covers a program that may be in a directory.
    fn found(
        &mut self,
        party: usize,
        item: &'p Item<CommandPattern>,
        except: &[Item<CommandPattern>],
        directory: PlaceId,
        name: &[u8],
    ) {
        let begun = Walk { at: directory, links: Vec::new() };
        if let Ok(walk) = self.atlas.walk_on(begun, std::iter::once(name), Follow::Links) {
            self.program(party, item, except, name, &walk);
        }
    }

    /// Covers a file, unless it is there under other names too.
    fn program(
        &mut self,
        party: usize,
        item: &'p Item<CommandPattern>,
        except: &[Item<CommandPattern>],
        name: &[u8],
        walk: &Walk,
    ) {
        if matches!(self.atlas.entry(walk.at), Entry::Missing | Entry::Directory) || is_excepted(except, name)
        {
            return;
        }
        let last = self.atlas.path(walk.at).name().unwrap_or_default();
        if last != name || MULTICALL_PROGRAMS.contains(&last) {
            self.weaker(party, MULTICALL, &item.text);
            if self.starts == Starts::Judged
                && let Some(report) = self.findings.report(party)
            {
                report.note(LINKED, &item.text);
            }
            return;
        }
        if let Some(report) = self.findings.report(party) {
            report.by(Mechanism::Mount);
        }
        self.claims.list.push(Claim {
            party,
            side: Side::Item,
            at: walk.at,
            text: Cow::Borrowed(&item.text),
            kind: ClaimKind::Object,
        });
    }

    fn find_directories(&mut self) -> Vec<PlaceId> {
        let path = self.host.environment.get("PATH").map(String::as_bytes).unwrap_or_default();
        let named = path.split(|byte| *byte == b':').filter_map(AbsolutePath::new);
        let system = PROGRAM_DIRECTORIES.iter().filter_map(|path| AbsolutePath::new(path.as_bytes()));
        let paths: BTreeSet<AbsolutePath> = named.chain(system).collect();
        let mut found = Vec::new();
        for path in paths {
            if let Ok(walk) = self.atlas.walk(&path)
                && *self.atlas.entry(walk.at) == Entry::Directory
                && !found.contains(&walk.at)
            {
                found.push(walk.at);
            }
        }
        found
    }

    /// Something is left open, unless each start is judged.
    fn weaker(&mut self, party: usize, sentence: &'static str, text: &str) {
        if self.starts != Starts::Judged
            && let Some(report) = self.findings.report(party)
        {
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
