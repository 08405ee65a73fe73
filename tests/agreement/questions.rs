//! Questions around the edges of a policy's rules.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::pattern::{Component, GlobPiece, PathPattern, Root};
use fence_compiler::policy::{Policy, Subject};

use crate::case::Ground;

/// The most links that are planted.
const MOST_LINKS: usize = 12;

/// The least number of questions about files for each policy.
pub const LEAST: usize = 2000;

/// The places that a policy's rules name on this machine, with the wildcards filled in.
fn places(policy: &Policy, ground: &Ground) -> BTreeSet<AbsolutePath> {
    let mut found = BTreeSet::new();
    for rule in &policy.rules {
        if let Subject::Path { items, except, .. } = &rule.subject {
            for item in items.iter().chain(except) {
                found.extend(place(&item.pattern, ground));
            }
        }
    }
    found
}

fn place(pattern: &PathPattern, ground: &Ground) -> Option<AbsolutePath> {
    let start = match &pattern.root {
        Root::Anywhere => ground.workspace.join(b"deep").join(b"er"),
        _ => AbsolutePath::root(),
    };
    let ground = pattern.ground(&ground.variables).ok()?;
    let start = if ground.prefix.is_root() && !start.is_root() { start } else { ground.prefix };
    Some(ground.rest.iter().fold(start, |at, component| match component {
        Component::Literal(name) => at.join(name.as_bytes()),
        Component::AnyDepth => at.join(b"any"),
        Component::Glob(glob) => {
            let name: String = glob
                .0
                .iter()
                .map(|piece| match piece {
                    GlobPiece::Literal(text) => text.clone(),
                    GlobPiece::Star => "star".to_owned(),
                    GlobPiece::One => "o".to_owned(),
                    GlobPiece::Class { ranges, .. } => ranges[0].0.to_string(),
                })
                .collect();
            at.join(name.as_bytes())
        }
    }))
}

/// Plants what the rules name in the home, in the order of the paths: a file where nothing named lies beneath.
pub fn plant(policy: &Policy, ground: &Ground) {
    let places = places(policy, ground);
    for (number, at) in places.iter().enumerate() {
        let within = places.iter().any(|other| other != at && other.is_within(at));
        if !at.is_within(&ground.home) || at.components().count() > 40 {
            continue;
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(at.as_bytes()));
        // Every third is not there: rules hold for what is made later too.
        if number % 3 == 2 && !within {
            continue;
        }
        let _ = match path.parent() {
            Some(above) => fs::create_dir_all(above),
            None => Ok(()),
        };
        if within || number % 2 == 0 {
            let _ = fs::create_dir_all(path);
            let _ = fs::write(path.join("inner"), "x");
        } else if !path.exists() {
            let _ = fs::write(path, "#!/bin/sh\n");
            let _ = fs::set_permissions(path, PermissionsExt::from_mode(0o755));
        }
    }
    let links = Path::new(std::ffi::OsStr::from_bytes(ground.workspace.as_bytes())).join("links");
    let _ = fs::create_dir_all(&links);
    for (number, at) in linked(&places) {
        let _ = symlink(std::ffi::OsStr::from_bytes(at.as_bytes()), links.join(number.to_string()));
    }
}

/// Some of the places, to which links lead.
fn linked(places: &BTreeSet<AbsolutePath>) -> impl Iterator<Item = (usize, &AbsolutePath)> {
    let step = places.len() / MOST_LINKS + 1;
    places.iter().enumerate().filter(move |(number, _)| number % step == 0)
}

/// The paths to ask about: each place, what lies around it, and links to it.
pub fn paths(policy: &Policy, ground: &Ground) -> Vec<AbsolutePath> {
    let places = places(policy, ground);
    let mut asked = BTreeSet::new();
    for at in &places {
        around(at, &mut asked);
    }
    for (number, _) in linked(&places) {
        let link = ground.workspace.join(b"links").join(number.to_string().as_bytes());
        asked.extend([link.join(b"inner"), link.join(b"none"), link]);
    }
    for at in [&ground.home, &ground.workspace, &ground.workspace.join(b"src"), &ground.home.join(b"other")] {
        around(at, &mut asked);
    }
    let mut number = 0;
    while asked.len() * 3 < LEAST {
        for at in places.iter().chain([&ground.workspace, &ground.home]) {
            asked.insert(at.join(format!("later-{number}").as_bytes()));
            asked.insert(at.join(b"inner").join(format!("later-{number}").as_bytes()));
            if let Some(above) = at.parent() {
                asked.insert(above.join(format!("beside-{number}").as_bytes()));
            }
        }
        number += 1;
    }
    let asked: Vec<AbsolutePath> = asked.into_iter().filter(|at| ground.can_be_asked(at)).collect();
    // Where there are many more, every so many-th, unless all are asked for.
    let all = std::env::var_os("FENCE_AGREEMENT_ALL").is_some();
    let step = if all { 1 } else { (asked.len() * 3 / LEAST).max(1) };
    asked.into_iter().step_by(step).collect()
}

/// Itself, its parent, its children, and names beside it that begin as it does or that it begins as.
fn around(at: &AbsolutePath, asked: &mut BTreeSet<AbsolutePath>) {
    asked.insert(at.clone());
    asked.insert(at.join(b"inner"));
    asked.insert(at.join(b"x").join(b"y"));
    let (Some(above), Some(name)) = (at.parent(), at.name()) else { return };
    asked.insert(above.clone());
    asked.insert(above.join(&[name, b"x"].concat()));
    asked.insert(above.join(&[b"x", name].concat()));
    if name.len() > 1 {
        asked.insert(above.join(&name[..name.len() - 1]));
    }
    asked.insert(above.join(&name.to_ascii_uppercase()));
}
