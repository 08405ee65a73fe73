//! Tells the program which commit it is built from, where that is known, and puts the pages of codes and the schemas into it.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let commit = packaged(Path::new(&here)).or_else(|| checked_out(Path::new(&here)));
    println!("cargo::rustc-env=FENCE_COMMIT={}", commit.unwrap_or_default());
    pages(&Path::new(&here).join("errors"));
    schemas(&Path::new(&here).join("schemas"));
}

/// Takes the schemas, from the folder that `schemas` leads to, without what makes them readable.
fn schemas(folder: &Path) {
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    for name in ["policy", "artifact"] {
        let path = folder.join(name).with_extension("schema.json");
        println!("cargo::rerun-if-changed={}", path.display());
        let compact = std::fs::read(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| {
                serde_json::from_slice::<serde_json::Value>(&text).map_err(|error| error.to_string())
            })
            .map(|schema| schema.to_string());
        let written = compact.and_then(|text| {
            std::fs::write(Path::new(&out).join(name).with_extension("schema.json"), text)
                .map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            println!("cargo::error=cannot take the schema {}: {error}", path.display());
        }
    }
}

/// Makes the table of the pages of codes, from the folder that `errors` leads to: `docs/errors`.
fn pages(folder: &Path) {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut rows: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter_map(|path| {
            let code = path.file_name()?.to_str()?.strip_suffix(".md")?.to_owned();
            println!("cargo::rerun-if-changed={}", path.display());
            Some(format!("    ({code:?}, include_str!({:?})),\n", path.display().to_string()))
        })
        .collect();
    rows.sort();
    let table = format!("&[\n{}]\n", rows.concat());
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    if let Err(error) = std::fs::write(Path::new(&out).join("pages.rs"), table) {
        println!("cargo::error=cannot write the table of pages: {error}");
    }
}

/// The commit that `cargo package` noted in the package.
fn packaged(here: &Path) -> Option<String> {
    let noted = std::fs::read_to_string(here.join(".cargo_vcs_info.json")).ok()?;
    let sha = noted.split("\"sha1\"").nth(1)?.split('"').nth(1)?;
    short(sha)
}

/// The commit of the repository that holds these sources, if git says that they are its own.
fn checked_out(here: &Path) -> Option<String> {
    if !here.join("../.git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").arg("-C").arg(here).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    for log in ["logs/HEAD", "HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", log])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    short(&git(&["rev-parse", "HEAD"])?)
}

fn short(sha: &str) -> Option<String> {
    let short = sha.get(..10)?;
    short.chars().all(|c| c.is_ascii_hexdigit()).then(|| short.to_owned())
}
