//! What the documents show is true: every `fence` block compiles and its tests hold, or it fails just as it says; and
//! the sessions in the README go as they are printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fence_compiler::diagnostic::Severity;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};
use fence_compiler::suite::{self, Held};

/// A block of a policy in a document.
struct Block {
    /// `docs/language.md:12`
    place: String,
    /// The codes that it must fail with; empty: it is valid.
    fails: BTreeSet<String>,
    text: String,
}

/// The built-in policies, and nothing else.
struct BuiltIn;

impl Loader for BuiltIn {
    fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        match reference {
            Reference::Name(name) => {
                let text = fence_policies::get(name).ok_or_else(|| LoadError::UnknownName {
                    known: fence_policies::ALL.iter().map(|(name, _)| (*name).to_owned()).collect(),
                })?;
                Ok(Source {
                    origin: Origin::BuiltIn(name.to_owned()),
                    name: format!("<built-in {name}>"),
                    text: text.to_owned(),
                })
            }
            Reference::Path(_) => Err(LoadError::NoDirectory),
        }
    }
}

#[test]
fn every_policy_in_the_documents_means_what_the_document_says() {
    let blocks: Vec<Block> = documents().iter().flat_map(|path| blocks(path)).collect();
    assert!(blocks.len() >= 5, "only {} blocks were found", blocks.len());
    let wrong: Vec<String> =
        blocks.iter().filter_map(|block| wrong(block).map(|w| format!("{}: {w}", block.place))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a block, if anything is.
fn wrong(block: &Block) -> Option<String> {
    let main = Source {
        origin: Origin::Given(block.place.clone()),
        name: block.place.clone(),
        text: block.text.clone(),
    };
    let request = Request { mains: vec![main], ..Request::default() };
    let resolved = resolve(&request, &BuiltIn);
    let errors = resolved.diagnostics.iter().filter(|d| d.severity == Severity::Error);
    let (codes, messages): (BTreeSet<String>, Vec<String>) =
        errors.map(|d| (d.code.to_string(), format!("{} {}", d.code, d.message))).unzip();
    if codes != block.fails {
        return Some(format!("expected {:?}, got {}", block.fails, messages.join("; ")));
    }
    if !block.fails.is_empty() {
        return None;
    }
    let outcomes = suite::run(&resolved.policy);
    let failed = outcomes.iter().find(|outcome| !matches!(outcome.result, Held::Yes | Held::OnlyByAbsence));
    failed.map(|outcome| format!("a test fails: {outcome:?}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every document: those at the root, and all below `docs` but the pages of error codes, which have a test of their own.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "errors" {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    found.extend(top.filter(|path| path.extension().is_some_and(|end| end == "md")));
    found.sort();
    found
}

/// The `fence` blocks of a document.
fn blocks(path: &Path) -> Vec<Block> {
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    let text = fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut foreign = false;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.extend([line, "\n"]),
            (None, Some("")) if foreign => foreign = false,
            (None, None) => {}
            (None, Some(info)) if info == "fence" || info.starts_with("fence ") => {
                let fails = info.strip_prefix("fence").unwrap().split_whitespace().map(|word| {
                    let codes = word.strip_prefix("fails=");
                    codes.unwrap_or_else(|| panic!("{name}:{number}: what is `{word}`?")).to_owned()
                });
                open = Some(Block {
                    place: format!("{name}:{number}"),
                    fails: fails.collect(),
                    text: String::new(),
                });
            }
            (None, Some(_)) => foreign = true,
        }
    }
    assert!(open.is_none() && !foreign, "{name}: a block does not end");
    blocks
}

#[test]
fn the_sessions_in_the_readme_go_as_printed() {
    if let Err(reason) = can_run() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
        println!("skipped: the sessions of the README: {reason}");
        return;
    }
    let scene = tempfile::tempdir().unwrap();
    let repository = scene.path().join("README.in");
    fs::create_dir_all(repository.join("src")).unwrap();
    fs::create_dir_all(repository.join(".git/hooks")).unwrap();
    fs::create_dir_all(repository.join(".git/objects")).unwrap();
    fs::create_dir_all(repository.join(".git/refs")).unwrap();
    fs::write(repository.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(repository.join(".env"), "TOKEN=1\n").unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let review = readme.split("```fence\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    fs::write(repository.join("review.fence"), review).unwrap();
    fs::write(scene.path().join("README.md"), &readme).unwrap();

    trycmd::TestCases::new()
        .env("HOME", "/home/ada")
        .env("XDG_CONFIG_HOME", "/home/ada/.config")
        .env("XDG_STATE_HOME", "/home/ada/.local/state")
        .register_bin("fence", Path::new(env!("CARGO_BIN_EXE_fence")))
        .case(scene.path().join("README.md"))
        .run();
}

/// What a program of the benchmark prints; `None` if it is not needed here and Python or bash is missing.
fn benchmark(program: &str, arguments: &[&std::ffi::OsStr]) -> Option<String> {
    match std::process::Command::new(program).args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program}: {error}");
            println!("skipped: `{program}` cannot be started: {error}");
            None
        }
    }
}

#[test]
fn the_report_of_the_benchmark_is_what_its_result_renders_to() {
    let kept = root().join("docs/benchmarks");
    let fresh = tempfile::tempdir().unwrap();
    fs::copy(kept.join("benchmark.json"), fresh.path().join("benchmark.json")).unwrap();
    let script = root().join("benches/whole/report.py");
    let arguments = [script.as_os_str(), "render".as_ref(), fresh.path().as_os_str()];
    if benchmark("python3", &arguments).is_none() {
        return;
    }
    let names = |folder: &Path| -> BTreeSet<std::ffi::OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(names(fresh.path()), names(&kept));
    for name in names(&kept) {
        let same = fs::read(fresh.path().join(&name)).unwrap() == fs::read(kept.join(&name)).unwrap();
        assert!(
            same,
            "docs/benchmarks/{}: run `benches/whole/report.py render docs/benchmarks`",
            name.display()
        );
    }
}

#[test]
fn a_result_compared_with_itself_changed_nothing_and_one_that_grew_is_told() {
    let result = root().join("docs/benchmarks/benchmark.json");
    let script = root().join("benches/benchmark.sh");
    let arguments = [script.as_os_str(), "--compare".as_ref(), result.as_os_str(), result.as_os_str()];
    let Some(table) = benchmark("bash", &arguments) else { return };
    assert!(table.contains("| `true` | fence | +0.0% | "), "{table}");

    let fresh = tempfile::tempdir().unwrap();
    let mut slower: serde_json::Value = serde_json::from_slice(&fs::read(&result).unwrap()).unwrap();
    for time in slower["workloads"][0]["times_ms"]["fence"].as_array_mut().unwrap() {
        *time = (time.as_f64().unwrap() * 20.0).into();
    }
    let file = fresh.path().join("slower.json");
    fs::write(&file, slower.to_string()).unwrap();
    let output = std::process::Command::new("bash")
        .arg(&script)
        .arg("--compare")
        .args([&result, &file])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("| `true` | fence | +1900.0% | ")
            && told.contains("grew by more than 10 %: true (fence)"),
        "{told}"
    );
}

#[test]
fn the_benchmark_says_of_itself_what_the_document_and_the_workflow_use() {
    let script = root().join("benches/benchmark.sh");
    let Some(help) = benchmark("bash", &[script.as_os_str(), "--help".as_ref()]) else { return };
    let document = fs::read_to_string(root().join("docs/benchmarking.md")).unwrap();
    assert!(
        document.contains(&format!("```text\n{help}```")),
        "docs/benchmarking.md shows another help:\n{help}"
    );
    let workflow = fs::read_to_string(root().join(".github/workflows/benchmark.yml")).unwrap();
    for line in workflow.lines().chain(document.lines()).filter(|line| line.contains("benchmark.sh ")) {
        let words = line.split("benchmark.sh ").nth(1).unwrap().split('#').next().unwrap().split_whitespace();
        for option in words.filter(|word| word.starts_with('-')).map(|word| word.trim_end_matches('`')) {
            let known = help.split([' ', ',', '\n']).any(|word| word == option);
            assert!(known, "`{option}` is no option of the benchmark: {line}");
        }
    }
}

/// Whether fence can make a sandbox here; else what it says.
fn can_run() -> Result<(), String> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fence"))
        .args(["run", "-p", "base", "--", "true"])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
