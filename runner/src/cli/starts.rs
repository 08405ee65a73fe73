//! Judging what is started and written inside a run, and telling at its end what was refused.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::grant::can_be_asked;
use fence_compiler::paths::PathRules;
use fence_compiler::pattern::{DomainName, HostPattern, NamePattern, Polarity, ProgramPattern, Variable};
use fence_compiler::plan::NetworkPlan;
use fence_compiler::policy::{Effect, Policy, Rule, Subject};
use fence_compiler::question::{Decision, Destination, Platform, Question, Reason, Verdict};
use fence_compiler::world::World;

use super::backend::Backend;
use super::counted::Counted;
use super::record::{Live, Record};
use super::refused;
use super::remedy::remedy;
use super::run::Prepared;
use crate::asking::{self, Answer, Asker};
use crate::audit::{Event, EventSource, LogError, REPEATS, Told, visible};
use crate::host::listing;
use crate::launch::{Arbiter, Asked, Links, Observed, Refused, Role, Seen, Step, Ways};
use crate::preflight::{self, Refusal, ssh, told, world};
use crate::proxy::Summary;

/// Why nothing is reached directly with Landlock alone, although the policy allows it.
const PAST_THE_PROXY: &str = "with Landlock alone it is reached through the proxy that `HTTP_PROXY` and its like name, and not directly";

/// Judges the starts of a run by its policy.
pub(super) struct Starts<'a> {
    prepared: &'a Prepared,
    ssh: Ssh,
    /// The homes that an `ssh` takes settings from: looked up before rights are given up.
    homes: Vec<AbsolutePath>,
    /// The world that every question is asked in, but for the links on its way.
    world: World,
    record: Record<'a>,
    /// What was refused and allowed, of each command of a session by itself; a run is one.
    counted: BTreeMap<Option<RawFd>, Counted>,
    /// The command that it is about.
    command: Option<RawFd>,
    /// What was taken note of since the turn to it.
    told: Vec<Told>,
    /// Who is asked before a start is refused.
    asker: Option<Asker>,
    /// How often what the person has allowed has been told: there is no more of it than they gave answers.
    granted: BTreeMap<(&'static str, String), u64>,
    /// What the person has refused last, and whose it was: a shell tries again by another directory of `PATH`.
    newest: Option<(Vec<String>, u32)>,
}

impl<'a> Starts<'a> {
    /// Is ready to judge, if the plan wants starts or writing judged, and to take what is observed.
    pub(super) fn new(
        prepared: &'a Prepared,
        observed: Observed,
        record: impl FnOnce() -> Result<Record<'a>, LogError>,
    ) -> anyhow::Result<Option<Starts<'a>>> {
        let connects = matches!(prepared.backend, Backend::Landlock(_))
            && prepared.plan.network != NetworkPlan::Isolated;
        if prepared.plan.mediated.is_empty() && observed == Observed::Nothing && !connects {
            return Ok(None);
        }
        let mut record = record()?;
        record.get_ready();
        let world = world(&prepared.host, &prepared.policy, &[], preflight::Ways::Programs);
        let ssh = Ssh::of(&prepared.policy);
        let homes = if ssh == Ssh::Judged { homes(prepared) } else { Vec::new() };
        Ok(Some(Starts {
            prepared,
            ssh,
            homes,
            world,
            record,
            counted: BTreeMap::new(),
            command: None,
            told: Vec::new(),
            asker: None,
            granted: BTreeMap::new(),
            newest: None,
        }))
    }

    /// Asks the person before a start is refused.
    pub(super) fn asking(self, asker: Option<Asker>) -> Starts<'a> {
        Starts { asker, ..self }
    }

    /// The question about a step of a start; `None` where no person may allow it, or cannot be shown what it is.
    fn question(&self, refusals: &[Refusal], step: &Step<'_>) -> Option<asking::Question> {
        let mut reasons = Vec::new();
        for Refusal { action, item, decision } in refusals {
            if !can_be_asked(self.policy(), &decision.reason) {
                return None;
            }
            if *action == "ssh" {
                reasons.push(format!("it asks by ssh for {item}"));
            }
            for reason in super::remedy::reasons(self.policy(), decision) {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        let word = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        Some(asking::Question {
            number: 0,
            action: "run".to_owned(),
            words: step.argv.iter().map(|bytes| word(bytes)).collect::<Option<_>>()?,
            file: Some(word(step.file?.as_bytes())?),
            program: step.program.clone(),
            reasons,
        })
    }

    /// The descriptors that it writes to.
    pub(super) fn descriptors(&self) -> Vec<std::os::fd::RawFd> {
        self.record.descriptors()
    }

    fn event(&self, source: EventSource, seen: &Seen) -> Event {
        let Seen { action, item, decision, process, program } = seen;
        let policy = self.policy();
        let event = Event::decided(source, action, item.clone(), decision.verdict, &decision.reason, policy);
        Event { pid: *process, program: program.clone(), ..event }
    }

    /// Counts a refusal, and tells it if it has not been told often.
    fn take_refusal(&mut self, source: EventSource, seen: Seen) {
        let event = self.event(source, &seen);
        let policy = self.policy();
        let lift = || remedy(policy, seen.action, Some(&seen.item), &seen.decision);
        let counted = self.counted.entry(self.command).or_default();
        let (times, remedy) = counted.refuse((seen.action, &seen.item), || event.told(), lift);
        if times <= REPEATS {
            self.add(Told { event, remedy });
        }
    }

    fn add(&mut self, told: Told) {
        self.record.add(&told);
        if self.command.is_some() {
            self.told.push(told);
        }
    }

    fn policy(&self) -> &'a Policy {
        &self.prepared.policy
    }

    /// The directories where programs are looked for.
    fn directories(&self) -> Vec<Directory> {
        let path = self.prepared.host.environment.get("PATH").map(String::as_str).unwrap_or_default();
        let named = path.split(':').filter(|directory| directory.starts_with('/'));
        let system = fence_compiler::cover::PROGRAM_DIRECTORIES.iter().copied();
        let mut directories: Vec<PathBuf> =
            named.chain(system).filter_map(|directory| Path::new(directory).canonicalize().ok()).collect();
        directories.sort_unstable();
        directories.dedup();
        directories.into_iter().map(|path| Directory { names: listing(&path), path }).collect()
    }
}

/// A directory where programs are looked for.
struct Directory {
    path: PathBuf,
    /// What is in it, sorted, where that is little: one look instead of one for each name that rules close.
    names: Option<Vec<Vec<u8>>>,
}

impl Directory {
    /// The program of a name, where it is there and counts under any name.
    fn program(&self, name: &str) -> Option<AbsolutePath> {
        let lacks = |names: &Vec<Vec<u8>>| {
            names.binary_search_by(|known| known.as_slice().cmp(name.as_bytes())).is_err()
        };
        if self.names.as_ref().is_some_and(lacks) { None } else { program(&self.path.join(name)) }
    }
}

impl Arbiter for Starts<'_> {
    fn programs(&self) -> Vec<AbsolutePath> {
        let directories = self.directories();
        let mut found = Vec::new();
        for rule in &self.policy().rules {
            let Subject::Run { items, .. } = &rule.subject else { continue };
            if rule.effect == Effect::Allow || rule.platform.is_some_and(|named| named != Platform::Linux) {
                continue;
            }
            for item in items {
                match &item.pattern.program {
                    ProgramPattern::AnyCommand => {}
                    ProgramPattern::Name(name) => found.extend(named(&directories, name)),
                    ProgramPattern::Path(path) => {
                        if let Ok(ground) = path.ground(&self.world.variables)
                            && ground.rest.is_empty()
                            && let Some(name) = ground.prefix.name()
                            && let Some(path) = ground.prefix.parent()
                        {
                            found.extend(program(
                                &Path::new(OsStr::from_bytes(path.as_bytes())).join(OsStr::from_bytes(name)),
                            ));
                        }
                    }
                }
            }
        }
        if self.ssh == Ssh::Judged {
            found.extend(directories.iter().filter_map(|directory| directory.program("ssh")));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn judge(&self, asked: &Asked) -> Result<(), Refusal> {
        let question = Question::Run(asked.start.clone());
        let decision = if asked.links.is_empty() {
            decide(self.policy(), &self.world, &question)
        } else {
            let mut world = self.world.clone();
            world.links.extend(asked.links.clone());
            decide(self.policy(), &world, &question)
        };
        match (decision.verdict, asked.role, &decision.reason) {
            (Verdict::Allowed, _, _) | (_, Role::Interpreter, Reason::NothingAllows) => Ok(()),
            _ => Err(Refusal { action: "run", item: told(&asked.start.argv), decision }),
        }
    }

    fn directly(&self, meant: SocketAddr) -> Refusal {
        let destination =
            Destination { name: None, address: Some(meant.ip().to_canonical()), port: meant.port() };
        let decided = decide(self.policy(), &self.world, &Question::Connect(destination));
        let reason = match decided.verdict {
            Verdict::Allowed => Reason::AlwaysClosed(PAST_THE_PROXY.to_owned()),
            Verdict::Denied => decided.reason,
        };
        let decision = Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() };
        Refusal { action: "connect", item: meant.to_string(), decision }
    }

    fn homes(&self) -> Option<Vec<AbsolutePath>> {
        (self.ssh == Ssh::Judged).then(|| self.homes.clone())
    }

    fn judge_ssh(&self, argv: &[String], settings: &[String]) -> Vec<Refusal> {
        let unclear = |why: String| vec![unclear(told(argv), why)];
        let asked = match ssh::remote(argv, settings) {
            Ok(Some(asked)) => asked,
            Ok(None) => return Vec::new(),
            Err(why) => return unclear(why),
        };
        if asked.text == ssh::Text::Unknown && closes_commands(self.policy()) {
            return unclear("what the other machine would be asked cannot be read".to_owned());
        }
        let address: Option<std::net::IpAddr> = asked.host.parse().ok();
        let name = match address {
            Some(_) => None,
            None => match DomainName::new(&asked.host) {
                Ok(name) => Some(name),
                Err(_) => return unclear("the host it is for is no name".to_owned()),
            },
        };
        let mut refusals = Vec::new();
        for command in asked.commands {
            let destination = Destination { name: name.clone(), address, port: asked.port };
            let item = format!("{} {}", asked.host, told(&command)).trim_end().to_owned();
            let decision = decide(self.policy(), &self.world, &Question::Ssh { destination, command });
            if decision.verdict == Verdict::Denied {
                refusals.push(Refusal { action: "ssh", item, decision });
            }
        }
        refusals
    }

    fn ways(&self) -> Ways {
        let ways = |polarity| PathRules::ways(self.policy(), &self.world, polarity);
        Ways { opening: ways(Polarity::Opening), closing: ways(Polarity::Closing) }
    }

    fn paths(&self, opening: &Links, closing: &Links) -> PathRules {
        let world = |links: &Links| World { links: links.clone(), ..self.world.clone() };
        PathRules::new(self.policy(), &world(opening), world(closing))
    }

    fn ask(&mut self, refusals: &[Refusal], step: &Step<'_>, until: BorrowedFd<'_>) -> bool {
        if self.asker.is_none() {
            return false;
        }
        let Some(question) = self.question(refusals, step) else { return false };
        let start = step.process.map(|process| (question.words.clone(), process));
        if start.is_some() && self.newest == start {
            return false;
        }
        let Some(asker) = &mut self.asker else { return false };
        if asker.ask(question, Some(until)) == Answer::Refused {
            self.newest = start;
            return false;
        }
        for Refusal { action, item, .. } in refusals {
            let times = self.granted.entry((action, item.clone())).or_default();
            *times += 1;
            if *times > REPEATS {
                continue;
            }
            let event = Event::granted(EventSource::Mediator, action, item.clone());
            let event = Event { pid: step.process, program: step.program.clone(), ..event };
            self.add(Told { event, remedy: None });
        }
        true
    }

    fn refused(&mut self, refused: Refused) {
        let Refused { refusal: Refusal { action, item, decision }, process, program } = refused;
        self.take_refusal(EventSource::Mediator, Seen { action, item, decision, process, program });
    }

    fn workspace(&self) -> Option<AbsolutePath> {
        AbsolutePath::new(self.world.variables.get(&Variable::Workspace)?)
    }

    fn seen(&mut self, seen: Seen) {
        if seen.decision.verdict == Verdict::Denied {
            return self.take_refusal(EventSource::Kernel, seen);
        }
        let counted = self.counted.entry(self.command).or_default();
        if counted.allow((seen.action, &seen.item)) {
            let event = self.event(EventSource::Kernel, &seen);
            self.add(Told { event, remedy: None });
        }
    }

    fn turn_to(&mut self, command: Option<RawFd>) {
        self.command = command;
        self.told.clear();
    }

    fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    fn further(&self, command: RawFd) -> Option<Told> {
        let beyond = self.counted.get(&Some(command))?.beyond;
        (beyond > 0).then(|| Told { event: Event::further(EventSource::Mediator, beyond), remedy: None })
    }

    fn gone(&mut self, command: RawFd) {
        let counted = self.counted.remove(&Some(command));
        self.record.add_further(EventSource::Mediator, counted.map_or(0, |counted| counted.beyond));
    }

    fn conclude(&mut self) {
        for counted in std::mem::take(&mut self.counted).into_values() {
            let beyond = counted.beyond;
            if self.record.live() == Live::Summed {
                let summary = Summary { connections: 0, refused: counted.into_refused(), beyond };
                refused::tell(&summary, self.record.screen());
            }
            self.record.add_further(EventSource::Mediator, beyond);
        }
        if let Err(error) = self.record.conclude() {
            self.record.screen().say(&visible(&format!("{:#}", anyhow::Error::from(error))));
        }
    }
}

/// Whether what an `ssh` asks of other machines is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ssh {
    Judged,
    Unjudged,
}

impl Ssh {
    /// It is where a rule says more than `allow ssh *`.
    fn of(policy: &Policy) -> Ssh {
        let says_more = |rule: &Rule| match &rule.subject {
            Subject::Ssh { items, except } => {
                rule.effect != Effect::Allow
                    || !except.is_empty()
                    || items
                        .iter()
                        .any(|item| item.pattern.host != HostPattern::Any || item.pattern.command.is_some())
            }
            _ => false,
        };
        if policy.rules.iter().any(says_more) { Ssh::Judged } else { Ssh::Unjudged }
    }
}

/// The person's home, and the one that the system has for them, which is where OpenSSH looks.
fn homes(prepared: &Prepared) -> Vec<AbsolutePath> {
    let own = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let own = own.and_then(|own| AbsolutePath::new(own.dir.as_os_str().as_bytes()));
    let mut homes = vec![prepared.host.person.home.clone()];
    homes.extend(own.filter(|own| !homes.contains(own)));
    homes
}

/// Whether a rule closes commands on other machines.
fn closes_commands(policy: &Policy) -> bool {
    policy.rules.iter().filter(|rule| rule.effect != Effect::Allow).any(|rule| match &rule.subject {
        Subject::Ssh { items, .. } => items.iter().any(|item| item.pattern.command.is_some()),
        _ => false,
    })
}

fn unclear(item: String, why: String) -> Refusal {
    let reason = Reason::AlwaysClosed(why);
    Refusal {
        action: "ssh",
        item,
        decision: Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() },
    }
}

/// The programs of a name, or of the names that a pattern matches.
fn named(directories: &[Directory], name: &NamePattern) -> Vec<AbsolutePath> {
    let mut found = Vec::new();
    for directory in directories {
        match name.0.as_literal() {
            Some(name) => found.extend(directory.program(name)),
            None => {
                let names = std::fs::read_dir(&directory.path).into_iter().flatten().flatten();
                for entry in names.filter(|entry| name.0.matches(entry.file_name().as_bytes())) {
                    found.extend(program(&entry.path()));
                }
            }
        }
    }
    found
}

/// A program that counts under any name: one file, and not a name among several of a program that goes by its name.
fn program(path: &Path) -> Option<AbsolutePath> {
    let found = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    let shares = |other: &std::fs::DirEntry| {
        other.path() != path
            && other.metadata().is_ok_and(|other| (other.dev(), other.ino()) == (found.dev(), found.ino()))
    };
    if found.nlink() > 1 && path.parent()?.read_dir().ok()?.flatten().any(|other| shares(&other)) {
        return None;
    }
    const MULTICALL: [&[u8]; 4] = [b"busybox", b"toybox", b"coreutils", b"uutils"];
    let path = AbsolutePath::new(path.as_os_str().as_bytes())?;
    path.name().is_some_and(|name| !MULTICALL.contains(&name)).then_some(path)
}
