//! What compiling costs: parsing, resolving, deciding and lowering, on the built-in policies and on long ones.
#![allow(clippy::unwrap_used, missing_docs)]

mod counted;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;

use counted::counted;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::host::{Entry, Features, FileFacts, Host, Person, Support};
use fence_compiler::index::Index;
use fence_compiler::lower::linux::lower;
use fence_compiler::pattern::DomainName;
use fence_compiler::policy::{PathAction, Policy};
use fence_compiler::question::{Destination, Platform, Question};
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};
use fence_compiler::world::World;

/// The built-in policies, and nothing else.
#[derive(Clone, Copy)]
enum BuiltIn {
    /// As a run takes them: read when fence was built.
    Prepared,
    /// As texts.
    Text,
}

impl Loader for BuiltIn {
    fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        match reference {
            Reference::Name(name) => Ok(source(name, fence_policies::get(name).unwrap())),
            Reference::Path(_) => Err(LoadError::NoDirectory),
        }
    }

    fn prepared(&self, source: &Source) -> Option<&'static [u8]> {
        match (self, &source.origin) {
            (BuiltIn::Prepared, Origin::BuiltIn(name)) => fence_policies::prepared(name),
            _ => None,
        }
    }
}

fn source(name: &str, text: &str) -> Source {
    Source { origin: Origin::BuiltIn(name.to_owned()), name: name.to_owned(), text: text.to_owned() }
}

fn resolved(text: &str) -> Policy {
    resolved_by(BuiltIn::Text, text)
}

fn resolved_by(library: BuiltIn, text: &str) -> Policy {
    resolve(&Request { mains: vec![source("bench", text)], ..Request::default() }, &library).policy
}

/// A policy with that many rules, each on a path of its own.
fn long(rules: usize) -> String {
    let mut text = String::from("fence 1\n");
    for number in 0..rules {
        writeln!(text, "allow read ~/data/{}/{number} as rule-{}", number % 97, number % 13).unwrap();
    }
    text
}

const DEFAULT: &str = "include default\n";

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let long_texts = [100, 1_000, 10_000].map(|rules| (rules.to_string(), long(rules)));
    let built_in = fence_policies::ALL.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    for (name, text) in built_in.chain(long_texts) {
        counted(&format!("parse/{name}"), || fence_grammar::parse(&text));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &text, |b, text| {
            b.iter(|| fence_grammar::parse(black_box(text)));
        });
    }
}

fn resolving(c: &mut Criterion) {
    let mut group = c.benchmark_group("resolve");
    counted("resolve/default", || resolved(DEFAULT));
    group.bench_function("default", |b| b.iter(|| resolved(black_box(DEFAULT))));
    for rules in [100, 1_000, 10_000, 100_000] {
        let text = long(rules);
        counted(&format!("resolve/{rules}"), || resolved(&text));
        group.sample_size(if rules > 10_000 { 10 } else { 100 });
        group
            .bench_with_input(BenchmarkId::from_parameter(rules), &text, |b, text| b.iter(|| resolved(text)));
    }
}

fn deciding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide");
    let world = World::test_default(Platform::Linux);
    let read = |text| Question::Path { action: PathAction::Read, path: path(text) };
    let covered = read("/home/user/data/7/7");
    for (name, text) in
        [("default", DEFAULT.to_owned()), ("10-rules", long(10)), ("100000-rules", long(100_000))]
    {
        let policy = resolved(&text);
        let question = read("/home/user/work/src/main.rs");
        counted(&format!("decide/naive/{name}"), || decide(&policy, &world, &question));
        group.bench_function(format!("naive/{name}"), |b| {
            b.iter(|| decide(&policy, &world, black_box(&question)))
        });
        let index = Index::new(&policy);
        for (kind, question) in [("path", &question), ("covered-path", &covered)] {
            counted(&format!("decide/index/{kind}/{name}"), || index.decide(&world, question));
            group.bench_function(format!("index/{kind}/{name}"), |b| {
                b.iter(|| index.decide(&world, black_box(question)));
            });
        }
    }
    for rules in [10, 100_000] {
        let mut text = String::from("fence 1\n");
        for number in 0..rules {
            writeln!(text, "allow connect h{number}.d{}.example:443", number % 97).unwrap();
        }
        let policy = resolved(&text);
        let index = Index::new(&policy);
        let name = DomainName::new("h7.d7.example").unwrap();
        let question = Question::Connect(Destination { name: Some(name), address: None, port: 443 });
        counted(&format!("decide/index/connect/{rules}-rules"), || index.decide(&world, &question));
        group.bench_function(format!("index/connect/{rules}-rules"), |b| {
            b.iter(|| index.decide(&world, black_box(&question)));
        });
    }
}

fn lowering(c: &mut Criterion) {
    let mut group = c.benchmark_group("lower");
    let policy = resolved(DEFAULT);
    let host = host();
    let files = files();
    counted("lower/default", || lower(&policy, &host, &mut files.clone()));
    group.bench_function("default", |b| b.iter(|| lower(&policy, &host, &mut files.clone())));
}

/// All of it: from the text of a policy to a plan.
fn compiling(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    let host = host();
    let files = files();
    for name in ["default", "code"] {
        let text = format!("include {name}\n");
        for (library, kind) in [(BuiltIn::Prepared, ""), (BuiltIn::Text, "/from-texts")] {
            let lowered = || lower(&resolved_by(library, black_box(&text)), &host, &mut files.clone());
            counted(&format!("compile/{name}{kind}"), lowered);
            group.bench_function(format!("{name}{kind}"), |b| b.iter(lowered));
        }
    }
}

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text.as_bytes()).unwrap()
}

/// A machine with a repository.
fn host() -> Host {
    Host {
        platform: Platform::Linux,
        person: Person { name: "ada".to_owned(), home: path("/home/ada"), uid: 1000, gid: 1000 },
        cwd: path("/home/ada/work"),
        git_root: Some(path("/home/ada/work")),
        git_common: None,
        environment_names: ["HOME", "LANG", "PATH", "TERM", "USER"].map(str::to_owned).into(),
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
        features: Features {
            kernel: (6, 18),
            user_namespaces: Support::Yes,
            landlock_abi: 7,
            seccomp: Support::Yes,
            fresh_proc: Support::Yes,
            mount_api: Support::Yes,
            memfd_noexec: Support::Yes,
            pid_max: Support::Yes,
            tiocsti_off: Support::Yes,
            mediation: Support::Yes,
            cgroup: None,
        },
        protected: Vec::new(),
    }
}

fn files() -> FileFacts {
    let directories = [
        "/",
        "/usr",
        "/usr/bin",
        "/usr/sbin",
        "/usr/lib",
        "/etc",
        "/opt",
        "/proc",
        "/dev",
        "/home",
        "/home/ada",
        "/home/ada/work",
        "/home/ada/work/.git",
        "/home/ada/work/.git/hooks",
        "/home/ada/.cargo",
        "/home/ada/.cargo/bin",
        "/home/ada/.cargo/registry",
        "/home/ada/.rustup",
    ];
    let regular =
        ["/etc/shadow", "/usr/bin/su", "/usr/bin/sudo", "/home/ada/work/.git/config", "/home/ada/.gitconfig"];
    let mut files = FileFacts::default();
    files.entries.extend(directories.map(|at| (path(at), Entry::Directory)));
    files.entries.extend(regular.map(|at| (path(at), Entry::File)));
    files
}

criterion_group!(benches, parse, resolving, deciding, lowering, compiling);
criterion_main!(benches);
