//! The machine's file tree as far as it was looked at: each place once, with links followed a component at a time.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bytes::AbsolutePath;
use crate::host::{Entry, Files};

/// After so many looks at names in one directory it is listed, if it is small: that answers for all that are missing.
const MANY: u16 = 10;

/// As many links as the kernel follows on one path.
const MOST_LINKS: usize = 40;

/// Whether links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Yes.
    Links,
    /// No: the first one ends the walk.
    Nothing,
}

/// A place: no component of its path is a link. The number of a place is smaller than those of what lies beneath.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceId(u32);

/// The places, and how to find more of them.
pub(super) struct Atlas<'f> {
    files: &'f mut dyn Files,
    chart: Chart,
    /// The last place with each hash of where it lies and of its name.
    known: BTreeMap<u64, PlaceId>,
    names: BTreeMap<PlaceId, Rc<[Vec<u8>]>>,
    listings: BTreeMap<PlaceId, Option<Vec<Vec<u8>>>>,
}

/// The places that were found.
pub(super) struct Chart {
    root: AbsolutePath,
    places: Vec<Place>,
}

struct Place {
    path: AbsolutePath,
    above: Option<PlaceId>,
    /// What lies there, once it was asked for.
    entry: Option<Entry>,
    /// How many names in it were looked at.
    looks: u16,
    /// Another place with the same hash, `/` behind the last.
    same: Option<PlaceId>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// Where it ends.
    pub at: PlaceId,
    /// The links met on the way.
    pub links: Vec<PlaceId>,
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A link that may not be followed here.
    Link(PlaceId),
    /// Too many links.
    Loop(PlaceId),
}

impl Walk {
    /// Stands at `/`.
    pub(super) fn root() -> Walk {
        Walk { at: PlaceId::ROOT, links: Vec::new() }
    }
}

impl<'f> Atlas<'f> {
    /// Knows `/` alone.
    pub(super) fn new(files: &'f mut dyn Files) -> Atlas<'f> {
        let root = AbsolutePath::root();
        let first =
            Place { path: root.clone(), above: None, entry: Some(Entry::Directory), looks: 0, same: None };
        let chart = Chart { root, places: vec![first] };
        Atlas { files, chart, known: BTreeMap::new(), names: BTreeMap::new(), listings: BTreeMap::new() }
    }

    /// The places that were found so far.
    pub(super) fn chart(&self) -> &Chart {
        &self.chart
    }

    /// The path of a place.
    pub(super) fn path(&self, at: PlaceId) -> &AbsolutePath {
        self.chart.path(at)
    }

    /// What lies at a place.
    pub(super) fn entry(&mut self, at: PlaceId) -> &Entry {
        if self.chart.get(at).is_some_and(|place| place.entry.is_none()) {
            let found = self.look(at);
            if let Some(place) = self.chart.places.get_mut(at.index()) {
                place.entry = Some(found);
            }
        }
        self.chart.seen(at)
    }

    /// Finds out what lies at a place, with as few looks at the machine as possible.
    fn look(&mut self, at: PlaceId) -> Entry {
        let path = self.chart.path(at).clone();
        if let (Some(above), Some(name)) = (self.chart.above(at), path.name()) {
            if *self.entry(above) != Entry::Directory {
                return Entry::Missing;
            }
            let directory = self.chart.places.get_mut(above.index());
            let looks = directory.map_or(0, |directory| {
                directory.looks = directory.looks.saturating_add(1);
                directory.looks
            });
            if looks > MANY && self.lacks(above, name) {
                return Entry::Missing;
            }
        }
        self.files.entry(&path)
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&mut self, at: PlaceId) -> Rc<[Vec<u8>]> {
        if let Some(known) = self.names.get(&at) {
            return Rc::clone(known);
        }
        let names: Rc<[Vec<u8>]> = self.files.names(self.chart.path(at)).into();
        self.names.insert(at, Rc::clone(&names));
        names
    }

    /// Whether a directory is known to hold nothing of a name, without a look at that name.
    pub(super) fn lacks(&mut self, directory: PlaceId, name: &[u8]) -> bool {
        let listing =
            self.listings.entry(directory).or_insert_with(|| self.files.listing(self.chart.path(directory)));
        listing
            .as_ref()
            .is_some_and(|names| names.binary_search_by(|known| known.as_slice().cmp(name)).is_err())
    }

    /// The machine's files themselves.
    pub(super) fn files(&mut self) -> &mut dyn Files {
        self.files
    }

    /// The place with a name in another.
    pub(super) fn child(&mut self, above: PlaceId, name: &[u8]) -> PlaceId {
        let last = self.known.entry(hash(above, name)).or_insert(PlaceId::ROOT);
        let mut same = Some(*last);
        while let Some((at, place)) = same.and_then(|at| Some((at, self.chart.get(at)?))) {
            if place.above == Some(above) && place.path.name() == Some(name) {
                return at;
            }
            same = place.same;
        }
        let path = self.chart.path(above).join(name);
        self.chart.places.push(Place { path, above: Some(above), entry: None, looks: 0, same: Some(*last) });
        *last = PlaceId(u32::try_from(self.chart.places.len() - 1).unwrap_or(u32::MAX));
        *last
    }

    /// The place of a path that leads over no link.
    pub(super) fn place(&mut self, path: &AbsolutePath) -> PlaceId {
        path.components().fold(PlaceId::ROOT, |at, name| self.child(at, name))
    }

    /// Walks from the root along a path.
    pub(super) fn walk(&mut self, path: &AbsolutePath) -> Result<Walk, Stop> {
        self.walk_on(Walk::root(), path.components(), Follow::Links)
    }

    /// Walks on from where a walk ended.
    pub(super) fn walk_on<'a>(
        &mut self,
        mut walk: Walk,
        names: impl Iterator<Item = &'a [u8]>,
        follow: Follow,
    ) -> Result<Walk, Stop> {
        for name in names {
            self.step(&mut walk, name, follow)?;
        }
        Ok(walk)
    }

    /// Goes one name further, and along the links that it leads to.
    fn step(&mut self, walk: &mut Walk, name: &[u8], follow: Follow) -> Result<(), Stop> {
        match name {
            b"" | b"." => return Ok(()),
            b".." => {
                walk.at = self.chart.above(walk.at).unwrap_or(walk.at);
                return Ok(());
            }
            _ => {}
        }
        let next = self.child(walk.at, name);
        let Entry::Link(text) = self.entry(next) else {
            walk.at = next;
            return Ok(());
        };
        if follow == Follow::Nothing {
            return Err(Stop::Link(next));
        }
        if walk.links.len() >= MOST_LINKS {
            return Err(Stop::Loop(next));
        }
        let text = text.bytes();
        if text.first() == Some(&b'/') {
            walk.at = PlaceId::ROOT;
        }
        walk.links.push(next);
        text.split(|byte| *byte == b'/').try_for_each(|name| self.step(walk, name, follow))
    }
}

impl Chart {
    /// How many places there are; their numbers are below.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// All places.
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceId> + use<> {
        (0..u32::try_from(self.places.len()).unwrap_or(u32::MAX)).map(PlaceId)
    }

    /// The path of a place.
    pub(super) fn path(&self, at: PlaceId) -> &AbsolutePath {
        self.get(at).map_or(&self.root, |place| &place.path)
    }

    /// The directory that holds a place; none for `/`.
    pub(super) fn above(&self, at: PlaceId) -> Option<PlaceId> {
        self.get(at)?.above
    }

    /// What was seen at a place; where it was not looked at, nothing.
    pub(super) fn seen(&self, at: PlaceId) -> &Entry {
        self.get(at).and_then(|place| place.entry.as_ref()).unwrap_or(&Entry::Missing)
    }

    fn get(&self, at: PlaceId) -> Option<&Place> {
        self.places.get(at.index())
    }
}

impl PlaceId {
    /// `/`
    pub(super) const ROOT: PlaceId = PlaceId(0);

    /// As an index into what is kept for each place.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Eight bytes at a time; what has the same hash is told apart afterwards.
fn hash(above: PlaceId, name: &[u8]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    name.chunks(8).fold(mix(0, u64::from(above.0)), |hash, chunk| {
        mix(hash, chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{FileFacts, LinkText};

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text.as_bytes()).unwrap()
    }

    fn tree() -> FileFacts {
        let link = |to: &str| Entry::Link(LinkText::new(to.as_bytes()));
        FileFacts::default()
            .with(path("/usr/bin/sh"), Entry::File)
            .with(path("/bin"), link("usr/bin"))
            .with(path("/a/up"), link("../bin/./sh"))
            .with(path("/a/gone"), link("/nowhere/x"))
            .with(path("/loop"), link("loop"))
    }

    #[test]
    fn links_are_followed_a_component_at_a_time() {
        for (from, to, entry, links) in [
            ("/usr/bin/sh", "/usr/bin/sh", Entry::File, 0),
            ("/bin/sh", "/usr/bin/sh", Entry::File, 1),
            ("/a/up", "/usr/bin/sh", Entry::File, 2),
            ("/a/gone/y", "/nowhere/x/y", Entry::Missing, 1),
            ("/usr/bin/sh/below", "/usr/bin/sh/below", Entry::Missing, 0),
            ("/", "/", Entry::Directory, 0),
        ] {
            let mut files = tree();
            let mut atlas = Atlas::new(&mut files);
            let found = atlas.walk(&path(from)).unwrap();
            let seen = atlas.entry(found.at).clone();
            assert_eq!((atlas.path(found.at), seen, found.links.len()), (&path(to), entry, links), "{from}");
        }
    }

    #[test]
    fn a_walk_ends_at_a_loop_and_where_no_link_is_followed() {
        let mut files = tree();
        let mut atlas = Atlas::new(&mut files);
        let Err(Stop::Loop(at)) = atlas.walk(&path("/loop/x")) else { panic!("the loop has no end") };
        assert_eq!(atlas.path(at), &path("/loop"));
        let names = [&b"a"[..], b"up"].into_iter();
        let Err(Stop::Link(at)) = atlas.walk_on(Walk::root(), names, Follow::Nothing) else {
            panic!("the link was followed")
        };
        assert_eq!(atlas.path(at), &path("/a/up"));
    }

    /// Small directories, with a count of the looks at single names.
    struct Small {
        tree: FileFacts,
        looks: usize,
        listed: bool,
    }

    impl Files for Small {
        fn entry(&mut self, path: &AbsolutePath) -> Entry {
            self.looks += 1;
            self.tree.entry(path)
        }

        fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
            self.tree.names(directory)
        }

        fn listing(&mut self, directory: &AbsolutePath) -> Option<Vec<Vec<u8>>> {
            self.listed.then(|| self.tree.names(directory))
        }

        fn sockets(&mut self, beneath: &std::collections::BTreeSet<AbsolutePath>) -> Vec<AbsolutePath> {
            self.tree.sockets(beneath)
        }
    }

    #[test]
    fn many_names_in_a_small_directory_are_answered_by_its_listing_as_by_looks() {
        let paths: Vec<AbsolutePath> = (0..1000).map(|number| path(&format!("/home/{number}"))).collect();
        let present = |number: usize| number.is_multiple_of(97);
        let mut tree = FileFacts::default();
        for (number, path) in paths.iter().enumerate().filter(|(number, _)| present(*number)) {
            let link = Entry::Link(LinkText::new(b"0"));
            tree = tree.with(path.clone(), if number == 97 { link } else { Entry::File });
        }
        let mut answers = Vec::new();
        for listed in [false, true] {
            let mut files = Small { tree: tree.clone(), looks: 0, listed };
            let mut atlas = Atlas::new(&mut files);
            answers.push(
                paths
                    .iter()
                    .map(|path| {
                        let at = atlas.place(path);
                        atlas.entry(at).clone()
                    })
                    .collect::<Vec<Entry>>(),
            );
            // The directory itself, and, when it is listed, the first few and what is there.
            let there = (0..1000).filter(|number| present(*number)).count();
            let most = if listed { 1 + usize::from(MANY) + there } else { 1001 };
            assert!(files.looks <= most, "{} looks", files.looks);
        }
        assert_eq!(answers[0], answers[1]);
    }

    #[test]
    fn a_path_has_one_place() {
        let mut files = tree();
        let mut atlas = Atlas::new(&mut files);
        let paths: Vec<AbsolutePath> =
            (0..1000).map(|number| path(&format!("/x{}/{number}", number % 7))).collect();
        let places: Vec<PlaceId> = paths.iter().map(|path| atlas.place(path)).collect();
        assert_eq!(atlas.chart().len(), 1 + 7 + 1000);
        for (path, place) in paths.iter().zip(&places) {
            assert_eq!((atlas.place(path), atlas.path(*place)), (*place, path));
        }
    }
}
