//! Ordinary work that goes on inside, and what the built-in policy refuses in a repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unused_imports)]
mod harness;
#[path = "work/matrix.rs"]
mod matrix;

use std::path::Path;
use std::process::ExitCode;

use harness::{Ending, Person, Scene, Suite};

fn main() -> ExitCode {
    let mut suite = Suite::new("work");
    suite.add_cases("work/cases");
    let ground = suite.ground();
    suite.add("cargo builds and runs a crate", &Person::oneself(), move || {
        cargo(&Scene::new(&ground, &Person::oneself(), &[], &[]))
    });
    let ground = suite.ground();
    suite.add("npm installs packages, and reaches nothing else", &Person::oneself(), move || {
        npm(&Scene::new(&ground, &Person::oneself(), &[], &[]))
    });
    let ground = suite.ground();
    suite.add("pip downloads packages, and reaches nothing else", &Person::oneself(), move || {
        pip(&Scene::new(&ground, &Person::oneself(), &[], &[]))
    });
    let ground = suite.ground();
    suite.add("cargo fetches crates and builds with them", &Person::oneself(), move || {
        fetch(&Scene::new(&ground, &Person::oneself(), &[], &[]))
    });
    matrix::add(&mut suite);
    suite.run()
}

/// What a run said: its exit code and both its streams.
type Said = (Ending, String);

/// Runs words in the workspace, with the programs of whoever runs the tests.
fn run(scene: &Scene, words: &[&str], passed: &[&str]) -> Said {
    let mut start = scene.start().words(words.iter().copied());
    let certificates = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CARGO_HTTP_CAINFO"];
    for name in ["PATH", "RUSTUP_TOOLCHAIN"].iter().chain(&certificates).chain(passed) {
        start.environment.remove(std::ffi::OsStr::new(name));
        start.environment.extend(std::env::var_os(name).map(|value| ((*name).into(), value)));
    }
    start.limit = std::time::Duration::from_secs(240);
    let done = start.run();
    (done.ending, format!("{}{}", done.out(), done.err()))
}

/// Runs words under a policy and one more rule.
fn fenced(scene: &Scene, policy: &str, rule: &str, words: &[&str], passed: &[&str]) -> Said {
    let fence = scene.fence().display().to_string();
    let mut all = vec![fence.as_str(), "run", "-p", policy, "--rule", rule, "--"];
    all.extend(words);
    run(scene, &all, passed)
}

fn succeeded((ending, text): &Said) -> Result<(), String> {
    if *ending == Ending::Code(0) { Ok(()) } else { Err(format!("{ending:?}\n{text}")) }
}

/// What the same words do without fence comes first: where they fail, nothing is reached from here.
fn reachable(said: &Said) -> Result<bool, String> {
    let here = succeeded(said).is_ok();
    if !here && std::env::var("CI").as_deref() == Ok("true") {
        return Err(format!("no registry is reached from here: {}", said.1));
    }
    if !here {
        println!("skipped: no registry is reached from here");
    }
    Ok(here)
}

/// The rule that allows the host of a URL.
fn rule_for(url: &str) -> String {
    let (scheme, rest) = url.trim().split_once("://").unwrap_or(("https", url));
    let host = rest.split('/').next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let port = if scheme == "http" { 80 } else { 443 };
    if host.contains(':') { format!("allow connect {host}") } else { format!("allow connect {host}:{port}") }
}

/// Checks that a run failed, and was told which host was refused and what would allow it.
fn told_refusal(said: &Said) -> Result<(), String> {
    let told = ["refused connect ", ": nothing allows it", "to allow it, add: allow connect "];
    match said {
        (Ending::Code(code), text) if *code != 0 && told.iter().all(|words| text.contains(words)) => Ok(()),
        (ending, text) => Err(format!("it was not refused as it should be: {ending:?}\n{text}")),
    }
}

/// With an empty home, and with a setting and a token in it.
fn npm(scene: &Scene) -> Result<(), String> {
    let registry = run(scene, &["npm", "config", "get", "registry"], &[]);
    if !reachable(&registry)? {
        return Ok(());
    }
    let rule = rule_for(registry.1.lines().next().unwrap_or_default());
    let install = ["npm", "install", "--no-audit", "--no-fund", "is-number"];
    let work = scene.path("{work}");
    let save = |path: &Path, text: &str| {
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(path, text))
            .map_err(|e| e.to_string())
    };
    save(&work.join("package.json"), "{\"name\":\"tiny\",\"version\":\"1.0.0\"}")?;
    if !reachable(&run(scene, &install, &[]))? {
        return Ok(());
    }
    for clean in ["node_modules", "package-lock.json"] {
        let _ = std::fs::remove_dir_all(work.join(clean));
        let _ = std::fs::remove_file(work.join(clean));
    }
    let _ = std::fs::remove_dir_all(scene.path("{home}/.npm"));
    succeeded(&fenced(scene, "npm", &rule, &install, &[]))?;
    if !work.join("node_modules/is-number/package.json").exists() || scene.path("{home}/.npm").exists() {
        return Err("the package is not there, or the home was written".to_owned());
    }
    save(&scene.path("{home}/.npmrc"), "fund=false\n//registry.invalid/:_authToken=a-token\n")?;
    succeeded(&fenced(scene, "npm", &rule, &["npm", "install", "--no-audit", "is-odd"], &[]))?;
    // A script of a package that speaks to another host.
    let contact = "require('https').get('https://other.invalid/').on('error', () => process.exit(1))";
    let script = r#"{"name":"bad","version":"1.0.0","scripts":{"postinstall":"node contact.js"}}"#;
    save(&work.join("bad/package.json"), script)?;
    save(&work.join("bad/contact.js"), contact)?;
    let bad = ["npm", "install", "--no-audit", "--install-links", "./bad"];
    told_refusal(&fenced(scene, "npm", &rule, &bad, &[]))?;
    let fetch = "fetch('https://other.invalid/').then(() => 0, () => process.exit(1))";
    told_refusal(&fenced(scene, "npm", &rule, &["node", "-e", fetch], &[]))?;
    // Without any variable, Node asks the resolver: a name that is allowed is answered, and fetched from.
    let url = registry.1.lines().next().unwrap_or_default().to_owned() + "is-number";
    let fetch = format!("fetch('{url}').then(r => console.log('status', r.status))");
    let bare = [
        "env",
        "-u",
        "http_proxy",
        "-u",
        "https_proxy",
        "-u",
        "HTTP_PROXY",
        "-u",
        "HTTPS_PROXY",
        "-u",
        "ALL_PROXY",
        "-u",
        "all_proxy",
        "-u",
        "NODE_USE_ENV_PROXY",
        "node",
        "-e",
        fetch.as_str(),
    ];
    let said = fenced(scene, "npm", &rule, &bare, &[]);
    if said.1.contains("status 200") { Ok(()) } else { Err(said.1) }
}

fn pip(scene: &Scene) -> Result<(), String> {
    if !reachable(&run(scene, &["/usr/bin/python3", "-m", "venv", "v"], &[]))? {
        return Ok(());
    }
    let asked = run(scene, &["./v/bin/pip", "config", "get", "global.index-url"], &[]);
    let rule = if asked.0 == Ending::Code(0) {
        rule_for(asked.1.lines().next().unwrap_or_default())
    } else {
        "allow connect localhost:1".to_owned()
    };
    let download = ["./v/bin/pip", "download", "--no-deps", "--retries", "0", "-d", "got", "six"];
    if !reachable(&run(scene, &download, &[]))? {
        return Ok(());
    }
    std::fs::remove_dir_all(scene.path("{work}/got")).map_err(|error| error.to_string())?;
    succeeded(&fenced(scene, "pip", &rule, &download, &[]))?;
    if !scene.path("{work}/got").exists() {
        return Err("nothing was downloaded".to_owned());
    }
    told_refusal(&fenced(scene, "npm", "allow connect localhost:1", &download, &[]))
}

fn fetch(scene: &Scene) -> Result<(), String> {
    let work = scene.path("{work}");
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nitoa = \"1\"\n\n[workspace]\n";
    let main = "fn main() {\n    println!(\"{}\", itoa::Buffer::new().format(7));\n}\n";
    std::fs::create_dir_all(work.join("src"))
        .and_then(|()| std::fs::write(work.join("Cargo.toml"), manifest))
        .and_then(|()| std::fs::write(work.join("src/main.rs"), main))
        .map_err(|error| error.to_string())?;
    let passed = ["HOME", "RUSTUP_HOME"];
    if !reachable(&run(scene, &["env", "CARGO_HOME=own", "cargo", "fetch"], &passed))? {
        return Ok(());
    }
    for made in ["own", "Cargo.lock"] {
        let _ = std::fs::remove_dir_all(work.join(made));
        let _ = std::fs::remove_file(work.join(made));
    }
    let said = fenced(scene, "cargo", "allow connect localhost:1", &["cargo", "run", "-q"], &passed);
    succeeded(&said)?;
    if !said.1.lines().any(|line| line == "7") {
        return Err(said.1);
    }
    std::fs::remove_file(work.join("Cargo.lock")).map_err(|error| error.to_string())?;
    let refused = ["env", "CARGO_NET_RETRY=0", "cargo", "fetch"];
    told_refusal(&fenced(scene, "npm", "set env CARGO_HOME = $tmp/none", &refused, &passed))
}

/// Cargo builds under the built-in policy, with the home, the toolchain and the cache of whoever runs the tests.
fn cargo(scene: &Scene) -> Result<(), String> {
    let fence = scene.fence().display().to_string();
    let work = scene.path("{work}");
    let write = |name: &str, text: &str| {
        let path = work.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
            .and_then(|()| std::fs::write(path, text))
            .map_err(|error| error.to_string())
    };
    write(
        "Cargo.toml",
        "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
    )?;
    write("src/main.rs", "fn main() {\n    println!(\"built inside\");\n}\n")?;
    let mut start = scene.start().words([
        fence.as_str(),
        "run",
        "-p",
        "default",
        "--",
        "cargo",
        "run",
        "-q",
        "--offline",
    ]);
    for name in ["HOME", "PATH", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        start.environment.remove(std::ffi::OsStr::new(name));
        start.environment.extend(std::env::var_os(name).map(|value| (name.into(), value)));
    }
    start.limit = std::time::Duration::from_secs(180);
    let done = start.run();
    match (done.ending, done.out().trim()) {
        (Ending::Code(0), "built inside") => Ok(()),
        _ => Err(format!("{:?}\n{}{}", done.ending, done.out(), done.err())),
    }
}
