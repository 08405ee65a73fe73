//! A Mac made by hand, policies on it, and their profiles.

use std::collections::BTreeMap;

use fence_compiler::artifact::{Artifact, Lowering, Target, compile_for};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::{Diagnostic, Severity};
use fence_compiler::host::{Entry, Features, FileFacts, Host, LinkText, Person};
use fence_compiler::lower::seatbelt::{Run, RunId};
use fence_compiler::lower::values;
use fence_compiler::pattern::Variable;
use fence_compiler::policy::Policy;
use fence_compiler::profile::SeatbeltPlan;
use fence_compiler::question::Platform;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::world::World;

use crate::profile::Profile;
use crate::table::catalina;
use crate::texts::{Texts, file};

pub const RUN: &str = "0123456789abcdef";
pub const TMP: &str = "/private/tmp/fence-0123456789abcdef";

pub fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text.as_bytes()).unwrap()
}

/// Ada's Mac, in a repository.
pub fn host() -> Host {
    Host {
        platform: Platform::MacOs,
        person: Person { name: "ada".into(), home: path("/Users/ada"), uid: 501, gid: 20 },
        cwd: path("/Users/ada/work"),
        git_root: Some(path("/Users/ada/work")),
        git_common: None,
        environment_names: ["PATH", "HOME", "TERM", "GITHUB_TOKEN"].map(String::from).into(),
        environment: BTreeMap::from([("PATH".to_owned(), "/opt/homebrew/bin:/usr/bin:/bin".to_owned())]),
        features: Features::none("this is macOS"),
        protected: vec![path("/Users/ada/.local/state/fence")],
    }
}

/// What lies on it.
pub fn files() -> FileFacts {
    let mut files = FileFacts::default();
    for line in "
        /etc -> private/etc
        /tmp -> private/tmp
        /var -> private/var
        /private/etc/hosts
        /private/tmp/
        /private/var/db/timezone/
        /usr/bin/env
        /usr/bin/sudo
        /bin/sh
        /System/Library/
        /opt/homebrew/bin/git -> ../Cellar/git/bin/git
        /opt/homebrew/Cellar/git/bin/git
        /Users/ada/.ssh/id_ed25519
        /Users/ada/.ssh/known_hosts
        /Users/ada/.gitconfig
        /Users/ada/dotfiles/vimrc
        /Users/ada/.vimrc -> dotfiles/vimrc
        /Users/ada/work/.git/hooks/
        /Users/ada/work/.git/config
        /Users/ada/work/.env
        /Users/ada/work/src/main.rs
        /Users/ada/work/notes -> /Users/ada/.ssh/id_ed25519
    "
    .lines()
    .map(str::trim)
    .filter(|line| !line.is_empty())
    {
        files = if let Some((at, to)) = line.split_once(" -> ") {
            files.with(path(at), Entry::Link(LinkText::new(to.as_bytes())))
        } else if let Some(directory) = line.strip_suffix('/') {
            files.with(path(directory), Entry::Directory)
        } else {
            files.with(path(line), Entry::File)
        };
    }
    files
}

/// The policy of a text, and what is wrong with it.
pub fn resolved(text: &str) -> (Policy, Vec<Diagnostic>) {
    let main = file("policy.fence", text);
    let resolved = resolve(&Request { mains: vec![main], ..Request::default() }, &Texts::default());
    (resolved.policy, resolved.diagnostics)
}

/// The policy of a text that has no error.
pub fn policy(text: &str) -> Policy {
    let (policy, found) = resolved(text);
    let errors: Vec<_> = found.iter().filter(|found| found.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{text}: {errors:#?}");
    policy
}

/// A policy that was lowered.
pub struct Lowered {
    pub artifact: Artifact,
    pub diagnostics: Vec<Diagnostic>,
}

impl Lowered {
    pub fn plan(&self) -> &SeatbeltPlan {
        match &self.artifact.lowering {
            Lowering::Seatbelt { plan } => plan,
            other => panic!("not for Seatbelt: {other:?}"),
        }
    }

    pub fn profile(&self) -> Profile {
        read(&self.plan().profile)
    }
}

pub fn read(text: &str) -> Profile {
    let parameters = BTreeMap::from([("PROXY", "localhost:4711")]);
    Profile::new(text, &parameters, catalina()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub fn lower(policy: Policy, host: Host, files: FileFacts) -> Lowered {
    lower_for(Run::named(RunId::new(RUN).unwrap()), policy, host, files)
}

pub fn lower_for(run: Run, policy: Policy, host: Host, mut files: FileFacts) -> Lowered {
    let target = Target::Seatbelt(run);
    let checked = compile_for(&target, policy, host, &mut files, "0.1.0");
    Lowered { artifact: checked.value, diagnostics: checked.diagnostics }
}

/// The world that the reference answers in: the same machine.
pub fn world(policy: &Policy, host: &Host, files: &FileFacts) -> World {
    let mut variables = values::of(host, policy);
    variables.insert(Variable::Tmp, TMP.as_bytes().to_vec());
    let links = files.entries.iter().filter_map(|(path, entry)| match entry {
        Entry::Link(text) => Some((path.clone(), text.bytes())),
        _ => None,
    });
    World {
        platform: Platform::MacOs,
        variables,
        links: links.collect(),
        hosts: BTreeMap::new(),
        protected: host.protected.clone(),
    }
}
