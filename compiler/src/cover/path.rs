//! Paths: links, case and Unicode.

use super::Covers;
use crate::bytes::AbsolutePath;
use crate::fold;
use crate::pattern::glob::Case;
use crate::pattern::{Component, Grounded, NamePattern, PathPattern, Polarity, Root, Variable, path_value};
use crate::question::Platform;
use crate::world::{Spelling, TooManyLinks, World};

/// The directories that programs are looked up in beside those of `PATH`: where a closing one-word `run` by
/// name closes the file.
pub const PROGRAM_DIRECTORIES: &[&str] =
    &["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// A path that is asked about, resolved in its world.
#[derive(Clone, Debug)]
pub struct PathAsked<'w> {
    world: &'w World,
    /// Every path that a closing item is compared with: as spelled, at each link met, the object.
    candidates: Vec<AbsolutePath>,
    /// The paths it may lead to: one, but on a file system that ignores case two where a link's name is
    /// spelled differently.
    objects: Vec<AbsolutePath>,
}

impl<'w> PathAsked<'w> {
    /// Resolves the path in its world.
    ///
    /// # Errors
    /// It leads over too many links.
    pub fn new(world: &'w World, path: &AbsolutePath) -> Result<PathAsked<'w>, TooManyLinks> {
        // Without links a path leads to what it spells.
        if world.links.is_empty() {
            return Ok(PathAsked::resolved(world, vec![path.clone()], vec![path.clone()]));
        }
        PathAsked::from(world, &AbsolutePath::root(), path.as_bytes())
    }

    /// A path that somebody has resolved: by what it was reached, and where that leads.
    pub(crate) fn resolved(
        world: &'w World,
        candidates: Vec<AbsolutePath>,
        objects: Vec<AbsolutePath>,
    ) -> PathAsked<'w> {
        PathAsked { world, candidates, objects }
    }

    /// The same for a path that may be relative to a directory and may hold `..`.
    ///
    /// # Errors
    /// It leads over too many links.
    pub fn from(
        world: &'w World,
        directory: &AbsolutePath,
        path: &[u8],
    ) -> Result<PathAsked<'w>, TooManyLinks> {
        let mut asked = PathAsked { world, candidates: Vec::new(), objects: Vec::new() };
        for spelling in spellings(world) {
            let found = world.resolve_from(directory, path, *spelling)?;
            asked.candidates.extend(found.spellings);
            asked.candidates.push(found.object.clone());
            asked.objects.push(found.object);
        }
        asked.candidates.sort_unstable();
        asked.candidates.dedup();
        asked.objects.dedup();
        Ok(asked)
    }

    /// The paths that it leads to.
    #[must_use]
    pub fn objects(&self) -> &[AbsolutePath] {
        &self.objects
    }

    /// Every path that it touches: as spelled, at each link met, the object.
    #[must_use]
    pub fn candidates(&self) -> &[AbsolutePath] {
        &self.candidates
    }

    /// Whether one of the paths it touches is this one or lies beneath it, in any spelling.
    #[must_use]
    pub fn touches(&self, path: &AbsolutePath) -> bool {
        let pattern = Grounded { prefix: path.clone(), rest: Vec::new() };
        self.candidates.iter().any(|candidate| closes(&pattern, candidate, self.world.platform))
    }

    /// Whether one of the paths it touches has this last name, in any spelling.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        let same = |found: &[u8]| match self.world.platform {
            Platform::Linux => found == name.as_bytes(),
            Platform::MacOs => fold::composed(found) == fold::composed(name.as_bytes()),
        };
        self.candidates.iter().any(|path| path.name().is_some_and(same))
    }

    /// Whether what it leads to has a name that matches; on macOS, where file systems fold names, any name may.
    #[must_use]
    pub fn has_name(&self, pattern: &NamePattern) -> bool {
        self.world.platform == Platform::MacOs
            || self.objects.iter().any(|path| path.name().is_some_and(|name| pattern.0.matches(name)))
    }

    /// Whether one of the paths it touches lies directly in a directory that programs are looked up in.
    #[must_use]
    pub fn is_in_program_directory(&self) -> bool {
        let path = self.world.variables.get(&Variable::Environment("PATH".into()));
        let listed = path.into_iter().flat_map(|value| value.split(|byte| *byte == b':'));
        let directories: Vec<AbsolutePath> = listed
            .chain(PROGRAM_DIRECTORIES.iter().map(|directory| directory.as_bytes()))
            .filter_map(AbsolutePath::new)
            .collect();
        let parents: Vec<AbsolutePath> = self.candidates.iter().filter_map(AbsolutePath::parent).collect();
        parents.iter().any(|parent| directories.contains(parent))
    }
}

impl Covers<PathPattern> for PathAsked<'_> {
    /// A variable without a value makes the item cover nothing.
    fn covers(&self, pattern: &PathPattern, polarity: Polarity) -> bool {
        let readings = readings(pattern, self.world, polarity);
        match polarity {
            Polarity::Opening => self
                .objects
                .iter()
                .all(|object| readings.iter().any(|pattern| pattern.matches_at_or_above(object))),
            Polarity::Closing => readings.iter().any(|pattern| {
                self.candidates.iter().any(|candidate| closes(pattern, candidate, self.world.platform))
            }),
        }
    }
}

fn spellings(world: &World) -> &'static [Spelling] {
    match world.platform {
        Platform::MacOs if !world.links.is_empty() => &[Spelling::Exact, Spelling::Folded],
        _ => &[Spelling::Exact],
    }
}

/// Whether a pattern closes a path: on macOS in every spelling that its file system takes for the same.
fn closes(pattern: &Grounded, path: &AbsolutePath, platform: Platform) -> bool {
    pattern.matches_at_or_above(path)
        || (platform == Platform::MacOs
            && fold::FORMS
                .iter()
                .any(|form| fold::pattern(pattern, *form).matches_in(&fold::path(path, *form), Case::Either)))
}

/// The pattern with its variable's value put in, and with the links in its literal beginning resolved.
pub(crate) fn readings(pattern: &PathPattern, world: &World, polarity: Polarity) -> Vec<Grounded> {
    let Ok(written) = pattern.ground(&world.variables) else { return Vec::new() };
    if world.links.is_empty() || pattern.root == Root::Anywhere {
        return vec![written];
    }
    let with = |prefix: AbsolutePath| Grounded { prefix, rest: written.rest.clone() };
    let opening = opening_prefix(pattern, world, &written.prefix);
    match polarity {
        Polarity::Opening => opening.map(with).into_iter().collect(),
        Polarity::Closing => {
            let resolved = spellings(world)
                .iter()
                .filter_map(|spelling| world.resolve(&written.prefix, *spelling).ok())
                .map(|found| found.object);
            opening.into_iter().chain(resolved).map(with).chain([written.clone()]).collect()
        }
    }
}

/// The literal beginning of an opening pattern: links are followed in a variable's value and in paths of the
/// machine's own (`/…`, `~/…`), not below the working directory, where whoever runs inside may make them.
fn opening_prefix(pattern: &PathPattern, world: &World, written: &AbsolutePath) -> Option<AbsolutePath> {
    let resolve = |path: &AbsolutePath| world.resolve(path, Spelling::Exact).ok().map(|found| found.object);
    match &pattern.root {
        Root::Variable(variable) if *variable != Variable::Home => {
            let value = resolve(&path_value(variable, &world.variables).ok()?)?;
            let names = pattern.components.iter().map_while(Component::as_literal).map(str::as_bytes);
            Some(value.join_all(names))
        }
        _ => resolve(written),
    }
}
