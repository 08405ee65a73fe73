//! What a start consists of: the compile, the launch, the command; and what one start for many commands saves.
//!
//! `cargo bench -p fence-sandbox --bench sandbox`. After each group the allocations of one pass are printed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![cfg_attr(not(target_os = "linux"), allow(unused))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fence::host::{ProbedFiles, Surroundings, probe};
use fence::preflight::Judge;
use fence_compiler::host::Host;
use fence_compiler::lower::linux::lower;
use fence_compiler::plan::LinuxPlan;
use fence_compiler::policy::Policy;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

/// The system's allocator, with a count of what is asked of it.
struct Counted;

static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static MEMORY: Counted = Counted;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Does something once, and prints what it asked of the allocator.
fn counted<R>(name: &str, what: impl FnOnce() -> R) {
    let (blocks, bytes) = (BLOCKS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    drop(black_box(what()));
    let (blocks, bytes) = (BLOCKS.load(Ordering::Relaxed) - blocks, BYTES.load(Ordering::Relaxed) - bytes);
    println!("{name}: {blocks} allocations, {bytes} bytes in one pass");
}

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
        group.bench_function(format!("{rules}-rules"), |b| {
            b.iter(|| judge.start("git", None, black_box(&words)).is_ok());
        });
    }
    let policy = resolved("fence 1\ninclude code\n");
    let judge = Judge { policy: &policy, host: &host, cwd: &host.cwd };
    group.bench_function("code", |b| {
        b.iter(|| judge.start("git", None, &["git", "status"].map(str::to_owned)).is_ok());
    });
}

#[cfg(target_os = "linux")]
fn launches(c: &mut Criterion) {
    use fence::launch::{Options, Standard, Timings};

    let options = Options { timings: Timings::Off, standard: Standard::Kept };
    let run = |plan: &LinuxPlan, command: &fence::launch::Command| fence::linux::run(plan, command, &options);
    let text = "fence 1\ninclude default\n";
    let plan = planned(text);
    if let Err(error) = run(&plan, &shell(":")) {
        println!("cold_sandbox, warm_sandbox, amortized: left out, no sandbox can be made here: {error}");
        return;
    }
    let plain = |text: &str| {
        std::process::Command::new("/bin/sh").args(["-c", text]).status().unwrap();
    };
    c.bench_function("baseline/sh", |b| b.iter(|| plain(":")));
    c.bench_function("cold_sandbox/sh", |b| b.iter(|| run(&planned(text), &shell(":")).unwrap()));
    c.bench_function("warm_sandbox/sh", |b| b.iter(|| run(&plan, &shell(":")).unwrap()));
    counted("warm_sandbox/sh", || run(&plan, &shell(":")));
    session(c);
    let mut group = c.benchmark_group("amortized");
    for count in [10, 100] {
        let text = format!("for i in $(seq {count}); do /bin/true; done");
        group.bench_function(format!("{count}/outside"), |b| b.iter(|| plain(&text)));
        group.bench_function(format!("{count}/inside"), |b| b.iter(|| run(&plan, &shell(&text)).unwrap()));
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
}

#[cfg(not(target_os = "linux"))]
fn launches(_: &mut Criterion) {}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = wrap_command, check_command, launches
}
criterion_main!(benches);
