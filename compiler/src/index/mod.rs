//! The indexed decider: the same answers as [`crate::decide`], without looking at every rule.
//!
//! For each question it finds the rules that may cover it: by the path in a trie, by the name and its endings, by the
//! address in its blocks. What it finds may be more than what covers, never less; those rules alone are then asked as
//! the reference asks all of them. So it has no meaning of its own that could differ.
//!
//! Where a world has links, or does not tell letters apart (macOS), an item may cover a path that begins otherwise:
//! questions about files are then answered by looking at every rule.

mod hosts;
mod names;
mod paths;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::bytes::AbsolutePath;
use crate::cover::spoken_names;
use crate::decide::{Among, Unset, decide_among};
use crate::pattern::{CommandPattern, Component, ProgramPattern, Root, Variable, path_value};
use crate::policy::{Effect, NameAction, Policy, RuleId, Subject};
use crate::question::{Decision, Destination, Platform, Question};
use crate::world::World;
use hosts::Hosts;
use names::{Names, push};
use paths::Paths;

/// A policy prepared for many questions. Making one costs nothing; each part is built when it is first asked for.
#[derive(Debug)]
pub struct Index<'p> {
    policy: &'p Policy,
    files: OnceCell<Files>,
    hosts: OnceCell<Connections>,
    rest: OnceCell<Rest>,
}

/// Rules about files and starts.
#[derive(Debug, Default)]
struct Files {
    paths: Paths,
    /// `run` rules whose program is a path.
    programs: Paths,
    /// `run` rules by their program's name.
    commands: Names,
    /// The variables that closing items begin with: without their values an answer says so.
    variables: Vec<Variable>,
}

/// Rules about hosts.
#[derive(Debug, Default)]
struct Connections {
    connect: Hosts,
    http: Hosts,
    ssh: Hosts,
}

/// Rules about ports, names and the terminal.
#[derive(Debug, Default)]
struct Rest {
    ports: BTreeMap<u16, Vec<RuleId>>,
    ranges: Vec<RuleId>,
    names: BTreeMap<NameAction, Names>,
    tty: Vec<RuleId>,
}

impl<'p> Index<'p> {
    /// Prepares a policy.
    #[must_use]
    pub fn new(policy: &'p Policy) -> Index<'p> {
        Index { policy, files: OnceCell::new(), hosts: OnceCell::new(), rest: OnceCell::new() }
    }

    /// Answers a question, as [`crate::decide::decide`] does.
    #[must_use]
    pub fn decide(&self, world: &World, question: &Question) -> Decision {
        let mut found = Vec::new();
        let mut unset = Unset::Some;
        match question {
            Question::Path { .. } | Question::Run(_)
                if !world.links.is_empty() || world.platform == Platform::MacOs =>
            {
                return decide_among(self.policy, Among::All, world, question);
            }
            Question::Path { path, .. } => {
                let files = self.files();
                files.paths.find(world, path, &mut found);
                files.find_start(world, path.name(), Some(path), &mut found);
                let valued = |variable: &Variable| path_value(variable, &world.variables).is_ok();
                unset = if files.variables.iter().all(valued) { Unset::None } else { Unset::Some };
            }
            Question::Run(start) => self.find_run(world, start, &mut found),
            Question::Connect(destination) => {
                find_hosts(&self.connections().connect, world, destination, &mut found);
            }
            Question::Http { destination, .. } => {
                find_hosts(&self.connections().connect, world, destination, &mut found);
                find_hosts(&self.connections().http, world, destination, &mut found);
            }
            Question::Ssh { destination, .. } => {
                find_hosts(&self.connections().ssh, world, destination, &mut found);
            }
            Question::Listen(port) => {
                let rest = self.rest();
                found.extend(rest.ports.get(port).into_iter().flatten());
                found.extend(&rest.ranges);
            }
            Question::Name { action, name } => {
                if let Some(names) = self.rest().names.get(action) {
                    names.find(name.as_bytes(), &mut found);
                    names.find_any(&mut found);
                }
            }
            Question::Tty => found.extend(&self.rest().tty),
        }
        found.sort_unstable();
        found.dedup();
        decide_among(self.policy, Among::These(&found, unset), world, question)
    }

    fn files(&self) -> &Files {
        self.files.get_or_init(|| Files::of(self.policy))
    }

    fn connections(&self) -> &Connections {
        self.hosts.get_or_init(|| Connections::of(self.policy))
    }

    fn rest(&self) -> &Rest {
        self.rest.get_or_init(|| Rest::of(self.policy))
    }

    /// Finds the rules about a start: by each name and each file it may go by.
    fn find_run(&self, world: &World, start: &crate::question::Start, found: &mut Vec<RuleId>) {
        let files = self.files();
        let cwd = world.variables.get(&Variable::Cwd).and_then(|cwd| AbsolutePath::new(cwd));
        let asked = start.asked.contains('/').then(|| {
            // The same file as the reference finds: `..` is looked up there, and nothing else is.
            world.resolve_from(
                &cwd.unwrap_or_else(AbsolutePath::root),
                start.asked.as_bytes(),
                crate::world::Spelling::Exact,
            )
        });
        let asked = asked.and_then(Result::ok);
        let mut paths: Vec<&AbsolutePath> = start.resolved.iter().collect();
        if let Some(asked) = &asked {
            paths.push(&asked.object);
            paths.extend(&asked.spellings);
        }
        for path in paths {
            files.find_start(world, path.name(), Some(path), found);
        }
        for name in spoken_names(start) {
            files.find_start(world, Some(name.as_bytes()), None, found);
        }
    }
}

impl Files {
    fn of(policy: &Policy) -> Files {
        let mut files = Files::default();
        for (id, rule) in (0..).map(RuleId).zip(&policy.rules) {
            match &rule.subject {
                Subject::Path { items, .. } => {
                    for item in items {
                        files.paths.add(&item.pattern, id);
                        if let Root::Variable(variable) = &item.pattern.root
                            && rule.effect != Effect::Allow
                            && !variable.is_optional()
                            && !files.variables.contains(variable)
                        {
                            files.variables.push(variable.clone());
                        }
                    }
                }
                Subject::Run { items, .. } => {
                    for item in items {
                        files.command(&item.pattern, id);
                    }
                }
                _ => {}
            }
        }
        files
    }

    fn command(&mut self, pattern: &CommandPattern, id: RuleId) {
        match &pattern.program {
            ProgramPattern::AnyCommand => self.commands.add_any(id),
            ProgramPattern::Name(name) => self.commands.add(&name.0, id),
            ProgramPattern::Path(path) => {
                self.programs.add(path, id);
                // A file of which only the name is known may be any file of that name.
                match path.components.last() {
                    Some(Component::Literal(name)) => self.commands.add_exact(name.as_bytes(), id),
                    Some(Component::Glob(glob)) => self.commands.add(glob, id),
                    Some(Component::AnyDepth) | None => self.commands.add_any(id),
                }
            }
        }
    }

    /// Finds the rules about a start by a name and a file.
    fn find_start(
        &self,
        world: &World,
        name: Option<&[u8]>,
        path: Option<&AbsolutePath>,
        found: &mut Vec<RuleId>,
    ) {
        self.commands.find_any(found);
        if let Some(name) = name {
            self.commands.find(name, found);
            // What a part of git is asked for, git is.
            if name.starts_with(b"git-") {
                self.commands.find(b"git", found);
            }
            // A name that is no text is compared as the text that stands for it.
            if let std::borrow::Cow::Owned(text) = String::from_utf8_lossy(name) {
                self.commands.find(text.as_bytes(), found);
            }
        }
        if let Some(path) = path {
            self.programs.find(world, path, found);
        }
    }
}

impl Connections {
    fn of(policy: &Policy) -> Connections {
        let mut all = Connections::default();
        for (id, rule) in (0..).map(RuleId).zip(&policy.rules) {
            match &rule.subject {
                Subject::Connect { items, .. } => {
                    items.iter().for_each(|item| all.connect.add(&item.pattern.host, id));
                }
                Subject::Http { items, .. } => {
                    items.iter().for_each(|item| all.http.add(&item.pattern.host, id));
                }
                Subject::Ssh { items, .. } => {
                    items.iter().for_each(|item| all.ssh.add(&item.pattern.host, id));
                }
                _ => {}
            }
        }
        all
    }
}

impl Rest {
    fn of(policy: &Policy) -> Rest {
        let mut rest = Rest::default();
        for (id, rule) in (0..).map(RuleId).zip(&policy.rules) {
            match &rule.subject {
                Subject::Listen { items, .. } => {
                    for item in items {
                        if item.pattern.low == item.pattern.high {
                            push(rest.ports.entry(item.pattern.low).or_default(), id);
                        } else {
                            push(&mut rest.ranges, id);
                        }
                    }
                }
                Subject::Name { action, items, .. } => {
                    let names = rest.names.entry(*action).or_default();
                    items.iter().for_each(|item| names.add(&item.pattern.0, id));
                }
                Subject::Tty => push(&mut rest.tty, id),
                _ => {}
            }
        }
        rest
    }
}

fn find_hosts(hosts: &Hosts, world: &World, destination: &Destination, found: &mut Vec<RuleId>) {
    let mut addresses: Vec<IpAddr> = destination.address.into_iter().collect();
    if let (Some(name), None) = (&destination.name, destination.address) {
        addresses.extend(crate::cover::addresses_of(world, name));
    }
    hosts.find(destination.name.as_ref(), &addresses, found);
}
