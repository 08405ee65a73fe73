//! What a start consists of: the compile, the launch, the command; and what one start for many commands saves.
//!
//! `cargo bench -p fence-sandbox --bench sandbox`. After each group the allocations of one pass are printed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![cfg_attr(not(target_os = "linux"), allow(unused))]

mod counted;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use counted::counted;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fence::host::{ProbedFiles, Surroundings, probe};
use fence::preflight::Judge;
use fence_compiler::host::Host;
use fence_compiler::lower::linux::lower;
use fence_compiler::plan::LinuxPlan;
use fence_compiler::policy::Policy;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

/// The built-in policies, and nothing else.
struct BuiltIn;

impl Loader for BuiltIn {
    fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        match reference {
            Reference::Name(name) => Ok(fence::load::built_in(name).unwrap()),
            Reference::Path(_) => Err(LoadError::NoDirectory),
        }
    }
}

/// The policies that are wrapped around a command, from short to long.
fn policies() -> Vec<(&'static str, String)> {
    let mut domains = String::from("fence 1\ninclude default\n");
    for number in 0..1_000 {
        writeln!(domains, "allow connect host-{number}.example:443").unwrap();
    }
    let mut ports = String::from("fence 1\ninclude default\n");
    for port in 0..50 {
        writeln!(ports, "allow connect localhost:{}", 9_000 + port).unwrap();
    }
    vec![
        ("minimal", "fence 1\ninclude base\n".to_owned()),
        ("agent-default", "fence 1\ninclude code\n".to_owned()),
        ("many-domains", domains),
        ("strict-reading", "fence 1\ninclude code-strict\n".to_owned()),
        ("localhost-ports", ports),
    ]
}

fn resolved(text: &str) -> Policy {
    let main =
        Source { origin: Origin::Given("bench".to_owned()), name: "bench".to_owned(), text: text.to_owned() };
    resolve(&Request { mains: vec![main], ..Request::default() }, &BuiltIn).policy
}

fn host() -> Host {
    probe(&Surroundings::of(None).unwrap(), &BTreeSet::new(), Vec::new())
}

fn planned(text: &str) -> LinuxPlan {
    lower(&resolved(text), &host(), &mut ProbedFiles).plan
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap()
}

fn shell(text: &str) -> fence::launch::Command {
    fence::launch::Command {
        program: c_string("/bin/sh"),
        argv: ["sh", "-c", text].map(c_string).into(),
        environment: vec![c_string("PATH=/usr/bin:/bin")],
    }
}

fn wrap_command(c: &mut Criterion) {
    let mut group = c.benchmark_group("wrap_command");
    for (name, text) in policies() {
        counted(&format!("wrap_command/{name}"), || planned(&text));
        group.bench_with_input(BenchmarkId::from_parameter(name), &text, |b, text| b.iter(|| planned(text)));
    }
}

fn check_command(c: &mut Criterion) {
    let mut group = c.benchmark_group("check_command");
    let host = host();
    for rules in [10, 1_000] {
        let mut text = String::from("fence 1\nallow run *\n");
        for number in 0..rules {
            writeln!(text, "deny run \"tool-{number} push\" best-effort").unwrap();
        }
        let policy = resolved(&text);
        let judge = Judge { policy: &policy, host: &host, cwd: &host.cwd };
        let words = ["git", "commit", "-m", "text"].map(str::to_owned);
        let start = || judge.start("git", None, black_box(&words)).is_ok();
        counted(&format!("check_command/{rules}-rules"), start);
        group.bench_function(format!("{rules}-rules"), |b| b.iter(start));
    }
    let policy = resolved("fence 1\ninclude code\n");
    let judge = Judge { policy: &policy, host: &host, cwd: &host.cwd };
    let start = || judge.start("git", None, &["git", "status"].map(str::to_owned)).is_ok();
    counted("check_command/code", start);
    group.bench_function("code", |b| b.iter(start));
}

#[cfg(target_os = "linux")]
fn launches(c: &mut Criterion) {
    use fence::launch::{Observed, Options, Standard, Timings};

    let options = Options { timings: Timings::Off, standard: Standard::Kept, observed: Observed::Nothing };
    let run = |plan: &LinuxPlan, command: &fence::launch::Command| fence::linux::run(plan, command, &options);
    let text = "fence 1\ninclude default\n";
    let plan = planned(text);
    if let Err(error) = run(&plan, &shell(":")) {
        println!(
            "cold_sandbox, warm_sandbox, amortized, overhead, session, manager_initialize: left out, no sandbox can be made here: {error}"
        );
        return;
    }
    let plain = |text: &str| {
        std::process::Command::new("/bin/sh").args(["-c", text]).status().unwrap();
    };
    c.bench_function("baseline/sh", |b| b.iter(|| plain(":")));
    c.bench_function("cold_sandbox/sh", |b| b.iter(|| run(&planned(text), &shell(":")).unwrap()));
    c.bench_function("warm_sandbox/sh", |b| b.iter(|| run(&plan, &shell(":")).unwrap()));
    counted("cold_sandbox/sh", || run(&planned(text), &shell(":")));
    counted("warm_sandbox/sh", || run(&plan, &shell(":")));
    manager_initialize(c);
    session(c);
    overhead(c, &plan);
    let mut group = c.benchmark_group("amortized");
    for count in [10, 100] {
        let text = format!("for i in $(seq {count}); do /bin/true; done");
        group.bench_function(format!("{count}/outside"), |b| b.iter(|| plain(&text)));
        group.bench_function(format!("{count}/inside"), |b| b.iter(|| run(&plan, &shell(&text)).unwrap()));
        counted(&format!("amortized/{count}/inside"), || run(&plan, &shell(&text)));
    }
}

/// One more command in a sandbox that is there, beside a plain spawn of it.
#[cfg(target_os = "linux")]
fn session(c: &mut Criterion) {
    use fence::session::{Sandbox, Stdio};

    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let sandbox = Sandbox::builder().directory(folder.path()).start().unwrap();
    let mut group = c.benchmark_group("session");
    group.bench_function("plain/true", |b| {
        b.iter(|| {
            std::process::Command::new("/bin/true").stdin(std::process::Stdio::null()).status().unwrap()
        });
    });
    let command = || sandbox.command("/bin/true").stdin(Stdio::Null);
    group.bench_function("inside/true", |b| b.iter(|| command().status().unwrap()));
    group.finish();
    counted("session/inside/true", || command().status());
    let plain = || std::process::Command::new("/bin/true").stdin(std::process::Stdio::null()).status();
    in_turn("session/true", "a plain spawn", plain, || command().status());
}

/// Measures two things in turn, and prints how the second compares with the first: in a group of its own, each would meet
/// the machine in another state.
#[cfg(target_os = "linux")]
fn in_turn<A, B, E>(
    name: &str,
    of: &str,
    one: impl Fn() -> Result<A, E>,
    other: impl Fn() -> Result<B, fence::session::Error>,
) where
    E: std::fmt::Debug,
{
    const PAIRS: usize = 500;
    let pair = |_| {
        let started = Instant::now();
        one().unwrap();
        let between = Instant::now();
        other().unwrap();
        (between - started, between.elapsed())
    };
    let (mut ones, mut others): (Vec<Duration>, Vec<Duration>) = (0..PAIRS).map(pair).unzip();
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(PAIRS / 2).copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    let (plain, inside) = (median(&mut ones), median(&mut others));
    println!(
        "{name}: {inside:.0} us, {of} {plain:.0} us, ratio {:.3} (medians of {PAIRS}, in turn)",
        inside / plain
    );
}

/// The same commands without a sandbox, in one of their own, and in one that stands.
#[cfg(target_os = "linux")]
fn overhead(c: &mut Criterion, plan: &LinuxPlan) {
    use fence::launch::{Observed, Options, Standard, Timings};
    use fence::session::{Sandbox, Stdio};

    let options = Options { timings: Timings::Off, standard: Standard::Kept, observed: Observed::Nothing };
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let sandbox = Sandbox::builder().directory(folder.path()).start().unwrap();
    let mut group = c.benchmark_group("overhead");
    for (name, text) in [
        ("true", "exec /bin/true"),
        ("git", "exec git --version > /dev/null"),
        ("python3", "exec python3 -S -c pass"),
        ("files", "i=0; while [ $i -lt 100 ]; do echo > /tmp/bench-$i; i=$((i+1)); done; rm /tmp/bench-*"),
    ] {
        let plain = || {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", text]).stdin(std::process::Stdio::null()).status().unwrap()
        };
        if !plain().success() {
            println!("overhead/{name}: left out, it fails without a sandbox");
            continue;
        }
        let kept = || sandbox.command("/bin/sh").args(["-c", text]).stdin(Stdio::Null).status().unwrap();
        let own = || fence::linux::run(plan, &shell(text), &options).unwrap();
        group.bench_function(format!("{name}/none"), |b| b.iter(plain));
        group.bench_function(format!("{name}/run"), |b| b.iter(own));
        group.bench_function(format!("{name}/session"), |b| b.iter(kept));
        counted(&format!("overhead/{name}/run"), own);
        counted(&format!("overhead/{name}/session"), kept);
    }
}

/// What serves and what keeps a sandbox: how long it takes until it can be used, and to be put away, each alone.
#[cfg(target_os = "linux")]
fn manager_initialize(c: &mut Criterion) {
    use fence::session::Sandbox;

    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let started = || Sandbox::builder().directory(folder.path()).start().unwrap();
    let mut group = c.benchmark_group("manager_initialize");
    let serving =
        serving::Prepared::new(&resolved("fence 1\ninclude base\nallow connect localhost, *.example:443\n"));
    group.bench_function("serving", |b| b.iter_custom(|times| serving.times(times).0));
    group.bench_function("serving-clean-up", |b| b.iter_custom(|times| serving.times(times).1));
    group.bench_function("session", |b| {
        b.iter_custom(|times| {
            let timed = |_| {
                let before = Instant::now();
                let sandbox = started();
                let took = before.elapsed();
                drop(sandbox);
                took
            };
            (0..times).map(timed).sum()
        });
    });
    group.bench_function("session-clean-up", |b| {
        b.iter_custom(|times| {
            let timed = |_| {
                let sandbox = started();
                let before = Instant::now();
                drop(sandbox);
                before.elapsed()
            };
            (0..times).map(timed).sum()
        });
    });
    group.finish();
    counted("manager_initialize/serving and its clean-up", || serving.times(1));
    counted("manager_initialize/session", started);
    let sandbox = started();
    counted("manager_initialize/session-clean-up", move || drop(sandbox));
}

/// The proxy, the responder of names and their listeners, without anything that they serve.
#[cfg(target_os = "linux")]
mod serving {
    use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
    use std::ops::ControlFlow;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use fence::proxy::{Callers, Inside, Setting, Trusted, Watch, serve};
    use fence_compiler::plan::{JudgedNetwork, RESOLVER};
    use fence_compiler::policy::{Policy, Tls};
    use fence_compiler::question::Platform;
    use fence_compiler::world::World;

    /// What is served with, time and again.
    pub struct Prepared(Setting);

    /// Ends the serving as soon as it has begun, and remembers when that was.
    struct Once {
        ready: UnixStream,
        begun: Option<Instant>,
    }

    impl Watch for Once {
        fn descriptors(&self) -> std::io::Result<Vec<OwnedFd>> {
            Ok(vec![self.ready.try_clone()?.into()])
        }

        fn turn(&mut self) -> ControlFlow<()> {
            self.begun = Some(Instant::now());
            ControlFlow::Break(())
        }
    }

    impl Prepared {
        pub fn new(policy: &Policy) -> Prepared {
            Prepared(Setting {
                policy: policy.clone(),
                world: World::test_default(Platform::Linux),
                network: JudgedNetwork {
                    names: Vec::new(),
                    addresses: Vec::new(),
                    host_ports: Vec::new(),
                    proxy: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9),
                    resolver: RESOLVER,
                    tls: Tls::Strict,
                    connect_time: None,
                    idle_time: None,
                },
                callers: Callers::default(),
                trusted: Trusted::OfTheHost,
                credential: None,
                asks: None,
            })
        }

        /// How long it takes to begin and to end, so many times.
        pub fn times(&self, times: u64) -> (Duration, Duration) {
            let mut sums = (Duration::ZERO, Duration::ZERO);
            for _ in 0..times {
                let setting = self.0.clone();
                // Whoever serves gives up its rights: a thread of its own.
                let served = std::thread::spawn(move || once(setting)).join().unwrap();
                sums = (sums.0 + served.0, sums.1 + served.1);
            }
            sums
        }
    }

    fn once(setting: Setting) -> (Duration, Duration) {
        let (ready, other) = UnixStream::pair().unwrap();
        drop(other);
        let mut watch = Once { ready, begun: None };
        let before = Instant::now();
        let inside = Inside {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(),
            resolver_udp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(),
            resolver_tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(),
            log: None,
        };
        serve(setting, inside, &mut |_| {}, &mut watch).unwrap();
        let begun = watch.begun.unwrap();
        (begun - before, begun.elapsed())
    }
}

#[cfg(not(target_os = "linux"))]
fn launches(_: &mut Criterion) {}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = wrap_command, check_command, launches
}
criterion_main!(benches);
