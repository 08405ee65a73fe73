//! The places at which what is effective changes, each with what is effective there.

use super::atlas::{Atlas, Chart, PlaceId};
use super::claims::{Claim, ClaimKind, Claims};
use super::coverage::{ACTIONS, Coverage, Rights, Side, Undo};
use super::values::TMP;
use crate::bytes::AbsolutePath;
use crate::host::Entry;

/// A place, and what is effective from there down to the next places.
#[derive(Clone, Debug)]
pub(super) struct Region<'a> {
    /// The place.
    pub place: PlaceId,
    /// Its path.
    pub at: &'a AbsolutePath,
    /// What lies there on the host.
    pub entry: &'a Entry,
    /// What makes it.
    pub kind: RegionKind,
    /// What is effective.
    pub rights: Rights,
    /// What some rule allows, closed or not.
    pub open: Rights,
    /// What some rule allows here or anywhere beneath.
    pub reached: Rights,
    /// The region that holds this one, by number.
    pub above: Option<usize>,
    /// The parties that open something here, sorted.
    pub opening: Vec<usize>,
    /// Those that close something, sorted.
    pub closing: Vec<usize>,
    /// Whether a rule closes sockets here.
    pub socket: SocketAccess,
    /// The claims that begin here, by number.
    pub claims: &'a [usize],
    /// Whether it has to be pinned where it lies in a writable tree: a closed path lies beneath.
    pub pin: Pin,
}

/// Whether a directory has to be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// It has.
    Needed,
    /// It has not.
    NotNeeded,
}

/// Whether a rule closes sockets at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketAccess {
    /// One does.
    Closed,
    /// None does.
    NotClosed,
}

/// What makes a place special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegionKind {
    /// Rules alone.
    Plain,
    /// The directory the command starts in.
    Cwd,
    /// A link of the host.
    Link,
    /// `/proc`
    Proc,
    /// `/dev`
    Dev,
    /// `/tmp`
    Tmp,
}

/// The places that regions are made of, found before they are looked at in order.
pub(super) struct Plan {
    /// What makes each place of the atlas special; nothing where it is none of a region by itself.
    kinds: Vec<Option<RegionKind>>,
    /// The claims, by their places.
    claims: Vec<usize>,
    /// Where the claims of each place begin among them, and where they end.
    begun: Vec<(usize, usize)>,
    /// All these places and the directories above them, so that every one stands behind what holds it.
    order: Vec<PlaceId>,
}

/// Where the command's own `/tmp` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnTmp {
    /// Mounted over the machine's.
    Mounted,
    /// A directory like any other.
    Beside,
}

/// Finds out where regions begin, and looks at what lies there.
pub(super) fn plan(claims: &Claims<'_>, cwd: PlaceId, atlas: &mut Atlas<'_>, tmp: OwnTmp) -> Plan {
    let fixed = [
        (&b"/"[..], RegionKind::Plain),
        (b"/proc", RegionKind::Proc),
        (b"/dev", RegionKind::Dev),
        (b"/sys", RegionKind::Plain),
        (TMP, RegionKind::Tmp),
    ];
    let fixed: Vec<(PlaceId, RegionKind)> = fixed
        .into_iter()
        .filter(|(_, kind)| *kind != RegionKind::Tmp || tmp == OwnTmp::Mounted)
        .filter_map(|(path, kind)| Some((atlas.place(&AbsolutePath::new(path)?), kind)))
        .collect();
    let mut kinds: Vec<Option<RegionKind>> = vec![None; atlas.chart().len()];
    let links = claims.links.keys().map(|at| (*at, RegionKind::Link));
    let list = claims.list.iter().map(|claim| (claim.at, RegionKind::Plain));
    for (at, kind) in fixed.into_iter().chain(links).chain([(cwd, RegionKind::Cwd)]).chain(list) {
        atlas.entry(at);
        if let Some(known) = kinds.get_mut(at.index()) {
            known.get_or_insert(kind);
        }
    }
    let (claims, begun) = by_place(&claims.list, atlas.chart().len());
    Plan { order: order(&kinds, atlas.chart()), kinds, claims, begun }
}

/// The numbers of claims by their places, and which of them are those of each place.
fn by_place(list: &[Claim<'_>], places: usize) -> (Vec<usize>, Vec<(usize, usize)>) {
    let mut claims: Vec<usize> = (0..list.len()).collect();
    let place = |claim: &usize| list.get(*claim).map_or(0, |claim| claim.at.index());
    claims.sort_by_key(place);
    let mut begun = vec![(0, 0); places];
    for (index, claim) in claims.iter().enumerate() {
        if let Some((begin, end)) = begun.get_mut(place(claim)) {
            if *end == 0 {
                *begin = index;
            }
            *end = index + 1;
        }
    }
    (claims, begun)
}

/// The special places and the directories above them: parents first, then by name.
fn order(kinds: &[Option<RegionKind>], chart: &Chart) -> Vec<PlaceId> {
    let mut children: Vec<Vec<PlaceId>> = vec![Vec::new(); kinds.len()];
    let mut met = vec![false; kinds.len()];
    for at in chart.places().filter(|at| kinds.get(at.index()).is_some_and(Option::is_some)) {
        let mut at = at;
        while let Some(known) = met.get_mut(at.index())
            && !std::mem::replace(known, true)
            && let Some(above) = chart.above(at)
        {
            if let Some(children) = children.get_mut(above.index()) {
                children.push(at);
            }
            at = above;
        }
    }
    let mut order = Vec::new();
    let mut todo = vec![PlaceId::ROOT];
    while let Some(at) = todo.pop() {
        order.push(at);
        if let Some(children) = children.get_mut(at.index()) {
            children.sort_unstable_by(|one, other| chart.path(*other).name().cmp(&chart.path(*one).name()));
            todo.append(children);
        }
    }
    order
}

/// Finds the regions, in an order in which every one stands behind what holds it.
pub(super) fn survey<'a>(claims: &'a Claims<'_>, plan: &'a Plan, chart: &'a Chart) -> Vec<Region<'a>> {
    let mut survey =
        Survey { claims, plan, chart, coverage: Coverage::new(&claims.parties), met: Vec::new() };
    survey.all();
    let mut met = survey.met;
    pin(&mut met, chart);
    let mut regions: Vec<Region<'a>> = met
        .into_iter()
        .filter(|met| met.itself == Itself::Region || met.region.pin == Pin::Needed)
        .map(|met| met.region)
        .collect();
    find_above(&mut regions);
    reach(&mut regions);
    regions
}

/// A place on the way through the file tree.
struct Met<'a> {
    region: Region<'a>,
    itself: Itself,
}

/// Whether a place is a region by itself, or only if it has to be pinned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Itself {
    Region,
    IfPinned,
}

struct Survey<'a> {
    claims: &'a Claims<'a>,
    plan: &'a Plan,
    chart: &'a Chart,
    coverage: Coverage<'a>,
    met: Vec<Met<'a>>,
}

impl<'a> Survey<'a> {
    fn all(&mut self) {
        // The regions that hold the place, by number.
        let mut stack: Vec<(usize, Undo)> = Vec::new();
        for place in &self.plan.order {
            let at = self.chart.path(*place);
            while let Some((region, undo)) = stack
                .pop_if(|(above, _)| self.met.get(*above).is_some_and(|above| !at.is_within(above.region.at)))
            {
                let begun = self.met.get(region).map_or(&[][..], |met| met.region.claims);
                self.coverage.leave(undo, covering(self.claims, begun));
            }
            let above = stack.last().map(|(number, _)| *number);
            let kind = self.plan.kinds.get(place.index()).copied().flatten();
            let Some(kind) = kind else {
                // A directory can be moved where the one above it can be written.
                if above.and_then(|above| self.met.get(above)).is_some_and(|above| above.region.rights.write)
                {
                    let region = self.region(*place, RegionKind::Plain, above, &[]);
                    self.met.push(Met { region, itself: Itself::IfPinned });
                }
                continue;
            };
            let (begin, end) = self.plan.begun.get(place.index()).copied().unwrap_or_default();
            let begun = self.plan.claims.get(begin..end).unwrap_or_default();
            let undo = self.coverage.enter(covering(self.claims, begun));
            let region = self.region(*place, kind, above, begun);
            self.met.push(Met { region, itself: Itself::Region });
            // What opens `/tmp` is about the directory of this run, not about the host's.
            if kind == RegionKind::Tmp {
                self.coverage.forget_openings();
            }
            stack.push((self.met.len() - 1, undo));
        }
    }

    fn region(
        &self,
        place: PlaceId,
        kind: RegionKind,
        above: Option<usize>,
        claims: &'a [usize],
    ) -> Region<'a> {
        let (at, coverage) = (self.chart.path(place), &self.coverage);
        let mut rights = coverage.rights();
        if is_kernel(at) {
            rights.write = false;
        }
        let socket = if coverage.closed().socket { SocketAccess::Closed } else { SocketAccess::NotClosed };
        Region {
            place,
            at,
            entry: self.chart.seen(place),
            kind,
            rights,
            open: coverage.open(),
            reached: Rights::default(),
            above,
            opening: coverage.opening().to_vec(),
            closing: coverage.closing().to_vec(),
            socket,
            claims,
            pin: Pin::NotNeeded,
        }
    }
}

/// The claims among these that cover something.
fn covering<'a>(
    claims: &'a Claims<'_>,
    numbers: &'a [usize],
) -> impl Iterator<Item = (usize, Side)> + Clone + 'a {
    numbers
        .iter()
        .filter_map(|number| claims.list.get(*number))
        .filter(|claim| matches!(claim.kind, ClaimKind::Object | ClaimKind::Match))
        .map(|claim| (claim.party, claim.side))
}

/// Below `/proc` and `/sys` nothing is ever written.
fn is_kernel(path: &AbsolutePath) -> bool {
    matches!(path.components().next(), Some(b"proc" | b"sys"))
}

/// Marks the directories that could be moved aside together with something closed that lies beneath.
fn pin(met: &mut [Met<'_>], chart: &Chart) {
    let mut number_of: Vec<Option<usize>> = vec![None; chart.len()];
    for (number, one) in met.iter().enumerate() {
        if let Some(slot) = number_of.get_mut(one.region.place.index()) {
            *slot = Some(number);
        }
    }
    let number_at = |at: PlaceId| number_of.get(at.index()).copied().flatten();
    for number in 0..met.len() {
        let Some(Met { region, itself: Itself::Region }) = met.get(number) else { continue };
        let Some(Met { region: above, .. }) = region.above.and_then(|above| met.get(above)) else { continue };
        let narrows = ACTIONS.iter().any(|action| above.rights.has(*action) && !region.rights.has(*action));
        if !narrows || region.claims.is_empty() {
            continue;
        }
        let mut directory = chart.above(region.place);
        while let Some(at) = directory
            && let Some(holder) = number_at(at).and_then(|number| met.get(number)?.region.above)
            && met.get(holder).is_some_and(|holder| holder.region.rights.write)
            && let Some(one) = number_at(at).and_then(|number| met.get_mut(number))
            && std::mem::replace(&mut one.region.pin, Pin::Needed) == Pin::NotNeeded
        {
            directory = chart.above(at);
        }
    }
}

/// Finds for each region the one that holds it.
fn find_above(regions: &mut [Region<'_>]) {
    let mut stack: Vec<(usize, &AbsolutePath)> = Vec::new();
    for (number, region) in regions.iter_mut().enumerate() {
        while stack.pop_if(|(_, above)| !region.at.is_within(above)).is_some() {}
        region.above = stack.last().map(|(above, _)| *above);
        stack.push((number, region.at));
    }
}

fn reach(regions: &mut [Region<'_>]) {
    for number in (0..regions.len()).rev() {
        let Some((open, beneath, above)) = regions.get(number).map(|r| (r.open, r.reached, r.above)) else {
            continue;
        };
        let all = union(open, beneath);
        if let Some(region) = regions.get_mut(number) {
            region.reached = all;
        }
        if let Some(above) = above.and_then(|above| regions.get_mut(above)) {
            above.reached = union(above.reached, all);
        }
    }
}

/// What either of two has.
pub(super) fn union(one: Rights, other: Rights) -> Rights {
    Rights {
        read: one.read || other.read,
        write: one.write || other.write,
        exec: one.exec || other.exec,
        socket: one.socket || other.socket,
    }
}
