//! `fence trust`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::render;
use serde_json::json;

use super::arguments::{Changes, Format, Trust};
use super::policy::{How, enter, load};
use super::screen::Screen;
use super::{distrust, json};
use crate::audit::{Timestamp, visible};
use crate::host::Surroundings;
use crate::load::{FOUND_NAMES, find, to_path};
use crate::trust::{RECORD_VERSION, Record, Revoked, Store};

/// Trusts the policy of a directory, lists what is trusted, or revokes it.
pub(super) fn trust(arguments: &Trust, screen: Screen) -> anyhow::Result<u8> {
    if let Some(directory) = &arguments.directory {
        enter(directory)?;
    }
    let place = Surroundings::of(None)?;
    let store = Store::new(&place.person.home, place.person.uid);
    match (arguments.first.as_deref().and_then(std::ffi::OsStr::to_str), &arguments.second) {
        (Some("list"), None) => list(&store, arguments.format, screen),
        (Some("revoke"), file) => revoke(&store, &place, file.as_ref(), screen),
        (_, None) => add(&store, &place, arguments.first.as_ref(), screen),
        (_, Some(more)) => {
            bail!("one policy at a time: `{}` is one too many", visible(&more.to_string_lossy()))
        }
    }
}

fn list(store: &Store, format: Format, screen: Screen) -> anyhow::Result<u8> {
    let records = store.list()?;
    match format {
        Format::Json => json::print(screen, &json!({ "version": json::VERSION, "trusted": records }))?,
        Format::Text => {
            if records.is_empty() {
                screen.note("nothing is trusted");
            }
            for record in records {
                screen.print(&format!("{}  since {}  {}\n", record.file, record.time, record.sha256))?;
            }
        }
    }
    Ok(0)
}

fn add(store: &Store, place: &Surroundings, file: Option<&OsString>, screen: Screen) -> anyhow::Result<u8> {
    let file = the_file(place, file)?;
    let directory = file.parent().unwrap_or_else(AbsolutePath::root);
    // Resolved as a run there would: so that the hash is of the same closure.
    let changes =
        Changes { rule: Vec::new(), set: Vec::new(), directory: Some(to_path(&directory).to_owned()) };
    let loaded = load(&[], &changes)?;
    let How::Found { found, closure } = &loaded.how else {
        bail!(
            "`{file}` would not be found by a run in `{directory}`: it is not yours, or lies beyond the repository"
        );
    };
    if found.file != file {
        bail!("a run in `{directory}` would find `{}`, not `{file}`", found.file);
    }
    if loaded.has_errors() {
        screen.tell(&render::text(&loaded.resolved.diagnostics, &loaded.resolved.sources, screen.err));
        return Ok(1);
    }
    let record = Record {
        version: RECORD_VERSION,
        file: file.clone(),
        sha256: closure.clone(),
        fence: env!("CARGO_PKG_VERSION").to_owned(),
        time: Timestamp::now(),
    };
    store.trust(&record)?;
    let mut text = format!("trusted: {file}\n");
    for line in distrust::beyond_default(&loaded) {
        text.push_str(&format!("  beyond `default`: {line}\n"));
    }
    screen.print(&text)?;
    Ok(0)
}

fn revoke(
    store: &Store,
    place: &Surroundings,
    file: Option<&OsString>,
    screen: Screen,
) -> anyhow::Result<u8> {
    let file = match file {
        // A record outlives its file.
        Some(file) => place_of(Path::new(file))?,
        None => the_file(place, None)?,
    };
    match store.revoke(&file)? {
        Revoked::Yes => {
            screen.print(&format!("revoked: {file}\n"))?;
            Ok(0)
        }
        Revoked::WasNone => {
            screen.say(&format!("`{file}` was not trusted"));
            Ok(1)
        }
    }
}

/// The file that is meant: the one named (a directory means the policy in it), or the one found here.
fn the_file(place: &Surroundings, file: Option<&OsString>) -> anyhow::Result<AbsolutePath> {
    let Some(file) = file else {
        let root = place.repository.as_ref().map(|repository| &repository.root);
        let found = find(&place.cwd, root, place.person.uid)?;
        return found
            .map(|found| found.file)
            .ok_or_else(|| anyhow!("no policy is found here: name its file, or make a `policy.fence`"));
    };
    let mut path = PathBuf::from(file);
    if path.is_dir() {
        let inside = FOUND_NAMES.iter().map(|name| path.join(name)).find(|path| path.is_file());
        path = inside.ok_or_else(|| anyhow!("`{}` holds no policy", visible(&file.to_string_lossy())))?;
    }
    let named_as_found =
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| FOUND_NAMES.contains(&name));
    if !named_as_found {
        bail!(
            "only what fence finds by itself needs trust ({}); a policy that you name with -p runs as it is",
            FOUND_NAMES.join(", ")
        );
    }
    std::fs::metadata(&path)
        .with_context(|| format!("cannot read `{}`", visible(&path.to_string_lossy())))?;
    place_of(&path)
}

/// A file by its directory without links and its own name: as it is found.
fn place_of(path: &Path) -> anyhow::Result<AbsolutePath> {
    let shown = visible(&path.to_string_lossy());
    let name = path.file_name().ok_or_else(|| anyhow!("`{shown}` is no file"))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory =
        parent.canonicalize().with_context(|| format!("cannot find the directory of `{shown}`"))?;
    AbsolutePath::new(directory.as_os_str().as_bytes())
        .map(|directory| directory.join(name.as_bytes()))
        .ok_or_else(|| anyhow!("`{shown}` is no path"))
}
