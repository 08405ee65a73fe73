//! npm, pip and cargo with the registries that they are set to: as root and as an ordinary person, with and without the
//! variables that name a proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Ending, Person, Scene, Suite};
use super::matrix::NAMES;
use super::{
    OTHER, Said, Test, add_for_everybody, npm_registry, reachable, rule_for, run, run_in, succeeded,
};

/// Adds a test for each tool and person.
pub(super) fn add(suite: &mut Suite) {
    let tests: [(&str, Test); 3] = [
        ("npm installs from its registry, and scripts of packages reach nothing else", npm),
        ("pip installs from its index, and what builds a package reaches nothing else", pip),
        ("cargo fetches from its registry, and build scripts reach nothing else", cargo),
    ];
    add_for_everybody(suite, &tests);
}

fn npm(scene: &Scene) -> Result<(), String> {
    let Some(registry) = npm_registry(scene)? else { return Ok(()) };
    let rule = rule_for(&registry);
    let inside = Inside { scene, policy: "npm", rule: &rule, passed: &[], path: None };
    sh(scene, "rm -rf ~/.npm && git init -q . && mkdir -p sub/deep bad && npm init -y && rm -rf ~/.npm")?;
    let script = r#"{"name":"bad","version":"1.0.0","scripts":{"postinstall":"node contact.js"}}"#;
    scene_file(scene, "bad/package.json", script)?;
    let contact = format!(
        "fetch('https://{OTHER}/').then(() => 0, error => {{ console.error(error); process.exit(1) }})"
    );
    scene_file(scene, "bad/contact.js", &contact)?;
    let installed = |at: &str| {
        let whole =
            ["is-number", "express"].map(|name| scene.path(&format!("{{work}}/{at}{name}/package.json")));
        let there = whole.iter().all(|path| path.exists());
        if there && !scene.path("{home}/.npm").exists() {
            return Ok(());
        }
        Err(format!("the packages are not in {at}, or the home was written"))
    };
    let install = ["npm", "install", "--no-audit", "--no-fund", "is-number", "express"];
    for variables in Variables::BOTH {
        succeeded(&inside.run("", variables, &install))?;
        installed("node_modules/")?;
        sh(scene, "rm -rf node_modules package-lock.json && npm init -y && rm -rf ~/.npm")?;
        // A token in the settings, and a directory far below the package.
        let settings = "//registry.invalid/:_authToken=a-token\n";
        fs::write(scene.path("{home}/.npmrc"), settings).map_err(|error| error.to_string())?;
        succeeded(&inside.run("sub/deep", variables, &install))?;
        installed("node_modules/")?;
        sh(scene, "rm -rf node_modules package-lock.json ~/.npmrc && npm init -y && rm -rf ~/.npm")?;

        let bad = ["npm", "install", "--no-audit", "--no-fund", "--install-links", "./bad"];
        told(&inside.run("", variables, &bad), OTHER)?;
        let fetch =
            format!("fetch('{registry}is-number').then(answer => console.log('status', answer.status))");
        let fetched = inside.run("", variables, &["node", "-e", &fetch]);
        if !fetched.1.contains("status 200") {
            return Err(fetched.1);
        }
        sh(scene, "rm -rf node_modules package-lock.json && npm init -y && rm -rf ~/.npm")?;
    }
    Ok(())
}

fn pip(scene: &Scene) -> Result<(), String> {
    if !reachable(&run(scene, &["/usr/bin/python3", "-m", "venv", "v"], &[]))? {
        return Ok(());
    }
    let asked = run(scene, &["./v/bin/pip", "config", "get", "global.index-url"], &[]);
    let rule = match asked {
        (Ending::Code(0), url) => rule_for(url.lines().next().unwrap_or_default()),
        _ => "allow connect localhost:1".to_owned(),
    };
    let download = ["./v/bin/pip", "download", "-q", "--no-deps", "--retries", "0", "-d", "got", "six"];
    if !reachable(&run(scene, &download, &[]))? {
        return Ok(());
    }
    let setup = format!(
        "import urllib.request\nurllib.request.urlopen('https://{OTHER}/')\n\
         from setuptools import setup\nsetup(name='bad', version='1')\n"
    );
    sh(scene, "git init -q . && mkdir -p sub bad && rm -rf got")?;
    scene_file(scene, "bad/setup.py", &setup)?;
    let inside = Inside { scene, policy: "pip", rule: &rule, passed: &[], path: None };
    let install = ["../v/bin/pip", "install", "-q", "--retries", "0", "--no-deps", "six"];
    let bad = ["./v/bin/pip", "install", "--retries", "0", "./bad"];
    let under_npm = Inside { policy: "npm", rule: "allow connect localhost:1", ..inside };
    for variables in Variables::BOTH {
        succeeded(&inside.run("sub", variables, &install))?;
        succeeded(&run(scene, &["./v/bin/python", "-c", "import six"], &[]))?;
        sh(scene, "./v/bin/pip uninstall -q -y six")?;
        told(&inside.run("", variables, &bad), OTHER)?;
        let refused = under_npm.run("", variables, &download);
        let host = refused_host(&refused.1).ok_or_else(|| format!("nothing was refused: {refused:?}"))?;
        told(&refused, &host)?;
    }
    Ok(())
}

fn cargo(scene: &Scene) -> Result<(), String> {
    let whose = scene.start().person;
    let passed = if whose == Person::oneself() { &["HOME", "RUSTUP_HOME"][..] } else { &[][..] };
    // The toolchain is that of whoever runs the tests, in a home that may be closed to others.
    let theirs = if whose == Person::oneself() { None } else { Some(Toolchain::link(scene)?) };
    let path = theirs.as_ref().map(|toolchain| toolchain.path.as_str());
    let rule = theirs.as_ref().map_or("allow connect localhost:1", |toolchain| toolchain.rule.as_str());
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n";
    let with = "\n[dependencies]\nitoa = \"1\"\n";
    let main = "fn main() {\n    println!(\"{}\", itoa::Buffer::new().format(7));\n}\n";
    let build = format!(
        "fn main() {{\n    println!(\"cargo:rerun-if-changed=none\");\n    \
         if let Err(error) = std::net::TcpStream::connect(\"{OTHER}:443\") {{\n        panic!(\"{{error}}\");\n    }}\n}}\n"
    );
    sh(scene, "git init -q . && mkdir -p good/src bad/src")?;
    scene_file(scene, "good/Cargo.toml", &format!("{manifest}{with}"))?;
    scene_file(scene, "good/src/main.rs", main)?;
    scene_file(scene, "bad/Cargo.toml", manifest)?;
    scene_file(scene, "bad/src/main.rs", "fn main() {}\n")?;
    scene_file(scene, "bad/build.rs", &build)?;
    let fetch = ["CARGO_HOME=own", "cargo", "fetch", "-q", "--manifest-path", "good/Cargo.toml"];
    let fetch: Vec<&str> = ["env"].into_iter().chain(path).chain(fetch).collect();
    if !reachable(&run(scene, &fetch, passed))? {
        return Ok(());
    }
    sh(scene, "rm -rf own good/Cargo.lock")?;
    let inside = Inside { scene, policy: "cargo", rule, passed, path };
    for variables in Variables::BOTH {
        let said = inside.run("good/src", variables, &["cargo", "run", "-q"]);
        succeeded(&said)?;
        if !said.1.lines().any(|line| line == "7") {
            return Err(said.1);
        }
        told(&inside.run("bad", variables, &["cargo", "build", "-q"]), OTHER)?;
        sh(scene, "rm -rf good/Cargo.lock good/target")?;
    }
    Ok(())
}

/// A toolchain that everybody may use, of the same files.
struct Toolchain {
    /// `PATH=…`
    path: String,
    /// What lets a command use it, where it lies.
    rule: String,
}

impl Toolchain {
    fn link(scene: &Scene) -> Result<Toolchain, String> {
        let told = |error: std::io::Error| error.to_string();
        let asked = Command::new("rustc").args(["--print", "sysroot"]).output().map_err(told)?;
        let original = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
        let place = scene.path("{root}/toolchain");
        fs::create_dir(&place).map_err(told)?;
        for part in ["bin", "lib"] {
            let copied = |how: &str| {
                Command::new("cp").arg(how).arg(original.join(part)).arg(&place).output().map_err(told)
            };
            // Links need one file system.
            if !copied("-al")?.status.success() && !copied("-a")?.status.success() {
                return Err(format!("cannot copy the toolchain of {}", original.display()));
            }
        }
        Ok(Toolchain {
            path: format!("PATH={}/bin:/usr/local/bin:/usr/bin:/bin", place.display()),
            rule: format!("allow read exec {}", place.display()),
        })
    }
}

/// Runs of one tool under one policy and one more rule.
#[derive(Clone, Copy)]
struct Inside<'a> {
    scene: &'a Scene,
    policy: &'a str,
    rule: &'a str,
    /// Variables of whoever runs the tests that are passed on.
    passed: &'a [&'a str],
    /// Another `PATH=…` than that of whoever runs the tests.
    path: Option<&'a str>,
}

impl Inside<'_> {
    /// Runs words in a directory below the workspace.
    fn run(&self, at: &str, variables: Variables, words: &[&str]) -> Said {
        let fence = self.scene.fence().display().to_string();
        let mut all: Vec<&str> = self.path.map(|path| ["env", path]).into_iter().flatten().collect();
        all.extend([fence.as_str(), "run", "-p", self.policy, "--rule", self.rule, "--"]);
        if matches!(variables, Variables::Unset) {
            all.push("env");
            all.extend(NAMES.iter().flat_map(|name| ["-u", name]));
        }
        all.extend(words);
        run_in(self.scene, at, &all, self.passed)
    }
}

/// Whether the variables that name a proxy are there.
#[derive(Clone, Copy)]
enum Variables {
    Unset,
    Set,
}

impl Variables {
    const BOTH: [Variables; 2] = [Variables::Unset, Variables::Set];
}

/// Checks that a run failed, and that its summary names the host, the reason and the line to add.
fn told(said: &Said, host: &str) -> Result<(), String> {
    let told = [
        format!("refused connect {host}"),
        ": nothing allows it".to_owned(),
        format!("to allow it, add: allow connect {host}"),
    ];
    match said {
        (Ending::Code(code), text) if *code != 0 && told.iter().all(|words| text.contains(words)) => Ok(()),
        (ending, text) => Err(format!("it was not refused as it should be: {ending:?}\n{text}")),
    }
}

/// The first host that was refused.
fn refused_host(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("refused connect ")?;
    Some(rest.split([':', ' ']).next()?.to_owned())
}

/// Runs a line of the shell in the workspace, without fence.
fn sh(scene: &Scene, line: &str) -> Result<(), String> {
    succeeded(&run(scene, &["/bin/sh", "-c", line], &[]))
}

/// Writes a file of the workspace, in a directory that its person made.
fn scene_file(scene: &Scene, name: &str, text: &str) -> Result<(), String> {
    let path = scene.path("{work}").join(Path::new(name));
    fs::write(path, text).map_err(|error| error.to_string())
}
