//! `fence overlay`: what runs wrote to an overlay.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use fence_compiler::bytes::AbsolutePath;
use serde_json::json;
use similar::TextDiff;

use super::arguments::{Format, Overlay, OverlayApply, OverlayDiff, OverlayWord};
use super::json;
use super::screen::Screen;
use crate::audit::visible;
use crate::overlay::{Change, Error, Folder, Force, Name, Node, NodeKind, Review, last_used, places};

/// Does what one word of `fence overlay` says.
pub(super) fn overlay(overlay: &Overlay, screen: Screen) -> anyhow::Result<u8> {
    let folder = Folder::of(&crate::host::person()?);
    match &overlay.word {
        OverlayWord::List(_) => list(&folder, screen),
        OverlayWord::Diff(arguments) => diff(&folder, arguments, screen),
        OverlayWord::Apply(arguments) => apply(&folder, arguments, screen),
        OverlayWord::Discard(discard) => discard_all(&folder, &discard.names, screen),
    }
}

/// Names the overlays of the caller, each with its age and what it is over.
fn list(folder: &Folder, screen: Screen) -> anyhow::Result<u8> {
    let mut text = String::new();
    for name in folder.names()? {
        let Some(kept) = folder.find(&name)? else { continue };
        let over: Vec<String> = places(&kept)?.iter().map(|place| place.over().to_string()).collect();
        let over = if over.is_empty() { "nothing yet".to_owned() } else { over.join(", ") };
        let age = last_used(&kept).and_then(|time| SystemTime::now().duration_since(time).ok());
        let age = age.map_or_else(|| "?".to_owned(), |age| age_told(age.as_secs()));
        text.push_str(&format!("{}  {age}  {over}\n", name.as_str()));
    }
    screen.print(&text)?;
    Ok(0)
}

/// How long ago, in its greatest unit.
fn age_told(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// Shows what an overlay holds that the host has not.
fn diff(folder: &Folder, arguments: &OverlayDiff, screen: Screen) -> anyhow::Result<u8> {
    let name = match &arguments.name {
        Some(name) => name.parse()?,
        None => only(folder)?,
    };
    let Some(review) = reviewed(folder, &name, screen)? else { return Ok(1) };
    match arguments.format {
        Format::Text => {
            let mut text = String::new();
            for change in review.changes() {
                text.push_str(&line(change));
                text.push('\n');
                if let Some(conflict) = change.conflict {
                    text.push_str(&format!("  conflict: {}\n", conflict.told()));
                }
                for shown in hunks(&review, change).iter().flat_map(|hunks| hunks.lines()) {
                    text.push_str(&format!("  {}\n", visible_line(shown)));
                }
            }
            screen.print(&text)?;
        }
        Format::Json => {
            let changes: Vec<_> = review
                .changes()
                .map(|change| {
                    json!({
                        "path": change.path,
                        "change": word(change),
                        "before": change.before.as_ref().map(node),
                        "after": change.after.as_ref().map(node),
                        "conflict": change.conflict.map(|conflict| conflict.told()),
                        "diff": hunks(&review, change),
                    })
                })
                .collect();
            let answer = json!({ "version": json::VERSION, "overlay": name.as_str(), "changes": changes });
            json::print(screen, &answer)?;
        }
    }
    Ok(0)
}

/// The one overlay that there is.
fn only(folder: &Folder) -> anyhow::Result<Name> {
    let mut names = folder.names()?;
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        (None, _) => bail!("there is no overlay; `fence run --overlay NAME` makes one"),
        (Some(_), false) => bail!("there are several overlays; `fence overlay list` names them"),
    }
}

/// An overlay compared with the host; `None` if there is none, which is told.
fn reviewed(folder: &Folder, name: &Name, screen: Screen) -> anyhow::Result<Option<Review>> {
    match Review::of(folder, name) {
        Err(error @ Error::None(_)) => {
            screen.say(&error.to_string());
            Ok(None)
        }
        other => Ok(Some(other?)),
    }
}

/// What a change is, in a word.
fn word(change: &Change) -> &'static str {
    match (&change.before, &change.after) {
        (None, _) => "added",
        (_, None) => "removed",
        (Some(before), Some(after)) => match (&before.kind, &after.kind) {
            (NodeKind::Directory, NodeKind::Directory) => "mode",
            (NodeKind::File(_), NodeKind::File(_)) | (NodeKind::Link(_), NodeKind::Link(_)) => "changed",
            _ => "replaced",
        },
    }
}

/// A change in one line.
fn line(change: &Change) -> String {
    let mut text = format!("{:<8} {}", word(change), change.path);
    match (&change.before, &change.after) {
        (None, Some(node)) | (Some(node), None) => text.push_str(&format!(" ({})", node.kind.word())),
        (Some(before), Some(after)) if before.kind.word() != after.kind.word() => {
            text.push_str(&format!(" ({}, was {})", after.kind.word(), before.kind.word()));
        }
        _ => {}
    }
    if let (Some(before), Some(after)) = (&change.before, &change.after)
        && before.mode != after.mode
        && before.kind.word() == after.kind.word()
    {
        text.push_str(&format!(" mode {:04o} -> {:04o}", before.mode, after.mode));
    }
    if let Some(Node { kind: NodeKind::Link(target), .. }) = &change.after {
        text.push_str(&format!(" -> {}", fence_compiler::bytes::escape(target)));
        if leads_out(change, target) {
            text.push_str(" (leads out of the tree)");
        }
    }
    if let Some(Node { kind: NodeKind::Other(_), .. }) = &change.after {
        text.push_str(", which is not carried over");
    }
    text
}

/// Whether a link's own text leads out of the directory that the layer is over.
fn leads_out(change: &Change, target: &[u8]) -> bool {
    let mut at = if target.first() == Some(&b'/') {
        AbsolutePath::root()
    } else {
        change.path.parent().unwrap_or_else(AbsolutePath::root)
    };
    for name in target.split(|byte| *byte == b'/') {
        at = match name {
            b"" | b"." => at,
            b".." => at.parent().unwrap_or_else(AbsolutePath::root),
            name => at.join(name),
        };
    }
    !at.is_within(&change.over)
}

fn node(node: &Node) -> serde_json::Value {
    let (size, target) = match &node.kind {
        NodeKind::File(size) => (Some(*size), None),
        NodeKind::Link(target) => (None, Some(fence_compiler::bytes::escape(target))),
        NodeKind::Directory | NodeKind::Other(_) => (None, None),
    };
    json!({ "kind": node.kind.word(), "mode": format!("{:04o}", node.mode), "size": size, "target": target })
}

/// What a change does to a small text, in lines.
fn hunks(review: &Review, change: &Change) -> Option<String> {
    let (before, after) = review.texts(change)?;
    if before == after {
        return None;
    }
    Some(TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).to_string())
}

/// A line of a file, which may have tabs.
fn visible_line(line: &str) -> String {
    line.split('\t').map(visible).collect::<Vec<_>>().join("\t")
}

/// Carries over to the host what an overlay holds.
fn apply(folder: &Folder, arguments: &OverlayApply, screen: Screen) -> anyhow::Result<u8> {
    let name: Name = arguments.name.parse()?;
    let paths = arguments.paths.iter().map(|path| absolute(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let Some(mut review) = reviewed(folder, &name, screen)? else { return Ok(1) };
    for path in &paths {
        if !review.changes().any(|change| change.path.is_within(path)) {
            bail!("the overlay `{}` has no change at `{path}` (fence overlay diff {0})", name.as_str());
        }
    }
    let chosen = |change: &Change| {
        // What lies above something chosen has to be there for it.
        let needed = |path: &AbsolutePath| {
            let makes = change.after.as_ref().is_some_and(|after| after.kind == NodeKind::Directory);
            change.path.is_within(path) || makes && word(change) != "mode" && path.is_within(&change.path)
        };
        paths.is_empty() || paths.iter().any(needed)
    };
    let special = |change: &Change| matches!(&change.after, Some(Node { kind: NodeKind::Other(_), .. }));
    let wanted: Vec<Change> = review.changes().filter(|change| chosen(change)).cloned().collect();
    let conflicts: Vec<&Change> = wanted.iter().filter(|change| change.conflict.is_some()).collect();
    if !conflicts.is_empty() && !arguments.force {
        for change in conflicts {
            let why = change.conflict.map_or("", |conflict| conflict.told());
            screen.say(&format!("{}: {why}", change.path));
        }
        screen.say("nothing was carried over; `--force` replaces what the host has, and naming other paths leaves it");
        return Ok(1);
    }
    let all = wanted.iter().filter(|change| !special(change)).count();
    let force = if arguments.force { Force::Yes } else { Force::No };
    let mut carried = 0;
    let mut told = Ok(());
    let failed = review.apply(&|change| chosen(change) && !special(change), force, &mut |change| {
        carried += 1;
        let shown = screen.print(&format!("{}\n", line(change)));
        if told.is_ok() {
            told = shown;
        }
    })?;
    for change in wanted.iter().filter(|change| special(change)) {
        let kind = change.after.as_ref().map_or("", |after| after.kind.word());
        screen.note(&format!("{} is a {kind}, which is not carried over", change.path));
    }
    told?;
    match failed {
        None => Ok(0),
        Some((path, failure)) => {
            screen.say(&visible(&super::in_words(&format!(
                "{path}: {failure}; {carried} of {all} changes were carried over, and the overlay keeps the rest"
            ))));
            Ok(1)
        }
    }
}

/// A path as it is meant from here; what lies there is not looked at.
fn absolute(path: &Path) -> anyhow::Result<AbsolutePath> {
    let here = std::env::current_dir().context("cannot use the current directory")?;
    let whole = here.join(path);
    let names = whole.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|name| *name != b".");
    let whole: Vec<&OsStr> = names.map(OsStr::from_bytes).collect();
    let whole = whole.join(OsStr::new("/"));
    AbsolutePath::new(whole.as_bytes())
        .ok_or_else(|| anyhow!("`{}` is no path without `..`", visible(&path.to_string_lossy())))
}

/// Drops overlays.
fn discard_all(folder: &Folder, names: &[String], screen: Screen) -> anyhow::Result<u8> {
    let mut code = 0;
    for name in names {
        let name: Name = name.parse()?;
        match folder.discard(&name) {
            Err(error @ Error::None(_)) => {
                screen.say(&error.to_string());
                code = 1;
            }
            other => other?,
        }
    }
    Ok(code)
}
