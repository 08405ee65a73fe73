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

/// Whether fence can make a sandbox here; else what it says.
fn can_run() -> Result<(), String> {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_fence"))
        .args(["run", "-p", "base", "--", "true"])
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
