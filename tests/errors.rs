//! The pages of the codes: each policy that fails gives just that code, and its repair gives nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod texts;

use std::collections::{BTreeMap, BTreeSet};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::render::{Color, text};
use fence_compiler::diagnostic::{Code, Diagnostic, page};
use fence_compiler::host::{Entry, Features, FileFacts, Host, Person, Support};
use fence_compiler::lower::linux::lower;
use fence_compiler::question::Platform;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::suite;
use texts::{Texts, file, given};

/// A policy of a page: a `fence` or a `yaml` block.
#[derive(Debug)]
struct Block {
    /// What its file is called.
    name: &'static str,
    /// The words behind `fence` or `yaml`.
    words: Vec<String>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, block)) = rest.split_once("```") {
        let (head, text) = block.split_once('\n').expect("a block has lines");
        let (text, after) = text.split_once("```").expect("a block ends");
        rest = after;
        let (form, words) = head.split_once(' ').unwrap_or((head, ""));
        let name = match form {
            "fence" => "policy.fence",
            "yaml" => "policy.fence.yaml",
            _ => continue,
        };
        let words = words.split_whitespace().map(str::to_owned).collect();
        blocks.push(Block { name, words, text: text.to_owned() });
    }
    blocks
}

impl Block {
    fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }
}

/// Everything that is found in a block: by resolving, and where it says so by its tests or by lowering.
fn findings(block: &Block, beside: &BTreeMap<String, String>) -> (Vec<Diagnostic>, String) {
    let texts = Texts(beside.iter().map(|(name, text)| (name.clone(), text.clone())).collect());
    let mut texts = texts;
    texts.0.insert(block.name.to_owned(), block.text.clone());
    let main =
        if block.value("as") == Some("rule") { given(&block.text) } else { file(block.name, &block.text) };
    let set = block.value("set").and_then(|set| set.split_once('=')).into_iter();
    let set = set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let resolved = resolve(&Request { mains: vec![main], set, above: Vec::new() }, &texts);
    let mut found = resolved.diagnostics.clone();
    if block.has("test") {
        found.extend(suite::diagnostics(&resolved.policy, &suite::run(&resolved.policy)));
    }
    if block.has("lower") {
        let (host, mut files) = machine();
        found.extend(lower(&resolved.policy, &host, &mut files).diagnostics);
    }
    let shown = text(&found, &resolved.sources, Color::Plain);
    (found, shown)
}

fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text.as_bytes()).unwrap()
}

/// A machine that offers everything.
fn machine() -> (Host, FileFacts) {
    let features = Features {
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
    };
    let host = Host {
        platform: Platform::Linux,
        person: Person { name: "ada".to_owned(), home: path("/home/ada"), uid: 1000, gid: 1000 },
        cwd: path("/home/ada/work"),
        git_root: Some(path("/home/ada/work")),
        git_common: None,
        environment_names: BTreeSet::new(),
        environment: BTreeMap::new(),
        features,
        protected: Vec::new(),
    };
    let files = FileFacts::default()
        .with(path("/home/ada/work/private"), Entry::Directory)
        .with(path("/home/ada/keys"), Entry::Directory)
        .with(path("/usr/bin/git"), Entry::File);
    (host, files)
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/errors");
    let mut pages = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        pages.insert(entry.unwrap().file_name().into_string().unwrap());
    }
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
    assert_eq!(pages, codes);
    for code in Code::ALL {
        let on_disk = std::fs::read_to_string(format!("{directory}/{code}.md")).unwrap();
        assert_eq!(page(*code), on_disk, "{code}: built from another page than the one in docs/errors");
    }
}

#[test]
fn every_page_has_one_form() {
    for code in Code::ALL {
        let page = page(*code);
        let title = page.lines().next().unwrap_or_default();
        assert!(title.starts_with(&format!("# {code}: ")), "{code}: {title}");
        let blocks = blocks(page);
        let fails = blocks.iter().filter(|block| block.value("fails").is_some()).count();
        let repaired = blocks.iter().filter(|block| block.has("repaired")).count();
        let without_example = page.contains("There is no ");
        assert!(
            (fails, repaired, without_example) == (1, 1, false)
                || (fails, repaired, without_example) == (0, 0, true),
            "{code}: {fails} failing and {repaired} repaired policies"
        );
    }
}

#[test]
fn the_policies_of_every_page_do_what_they_say() {
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let blocks = blocks(page(*code));
        let beside: BTreeMap<String, String> = blocks
            .iter()
            .filter_map(|block| Some((block.value("file")?.to_owned(), block.text.clone())))
            .collect();
        for block in blocks.iter().filter(|block| block.value("file").is_none()) {
            let (found, shown) = findings(block, &beside);
            let codes: BTreeSet<&str> = found.iter().map(|found| found.code.name()).collect();
            let expected: BTreeSet<&str> = block.value("fails").into_iter().collect();
            if codes != expected || (found.len() > 1 && block.value("fails").is_some()) {
                wrong.push(format!("{code} {:?}: {codes:?}\n{shown}", block.words));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
