//! The host's sockets in trees that rules open: every one that is bound, and those in the usual places (a program in
//! another network namespace may have bound them), are covered one by one. What comes later is judged, where a rule asks
//! for that.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::atlas::{Atlas, PlaceId};
use super::claims::{Claim, ClaimKind, Claims, Findings};
use super::coverage::{Party, Side};
use crate::bytes::AbsolutePath;
use crate::host::{Entry, Host};
use crate::policy::{Effect, PathAction};

const OTHERS: &str =
    "the sockets that are there are covered; those that programs outside make there later answer: {}";

/// Directories that hold the sockets of services and agents.
const SERVICES: [&[u8]; 11] = [
    b"/run",
    b"/run/dbus",
    b"/run/containerd",
    b"/run/podman",
    b"/run/nscd",
    b"/run/systemd",
    b"/run/systemd/resolve",
    b"/run/systemd/userdb",
    b"/run/libvirt",
    b"/run/cups",
    b"/run/avahi-daemon",
];

/// A rule that opens a place where services have their sockets, and the item.
pub(super) type Opened<'p> = (usize, Cow<'p, str>);

/// Tells what answers later where nothing judges connections.
pub(super) fn tell(opened: &[Opened<'_>], findings: &mut Findings) {
    for (party, text) in opened {
        if let Some(report) = findings.report(*party) {
            report.note(OTHERS, text);
        }
    }
}

/// Covers every socket that no rule opens; the rules that open where later ones may be.
pub(super) fn close<'p>(host: &Host, atlas: &mut Atlas<'_>, claims: &mut Claims<'p>) -> Vec<Opened<'p>> {
    let files: Vec<&Claim<'_>> = claims
        .list
        .iter()
        .filter(|claim| opens(claims, claim, &[PathAction::Read, PathAction::Write]))
        .collect();
    let sockets: BTreeSet<PlaceId> = claims
        .list
        .iter()
        .filter(|claim| opens(claims, claim, &[PathAction::Socket]))
        .map(|claim| claim.at)
        .collect();
    let is_opened = |atlas: &Atlas<'_>, at: PlaceId| {
        std::iter::successors(Some(at), |at| atlas.chart().above(*at)).any(|at| sockets.contains(&at))
    };
    let opened: BTreeSet<AbsolutePath> = files.iter().map(|claim| atlas.path(claim.at).clone()).collect();
    let mut found: BTreeSet<AbsolutePath> = BTreeSet::new();
    for path in atlas.files().sockets(&opened) {
        let at = atlas.place(&path);
        if *atlas.entry(at) == Entry::Socket && !is_opened(atlas, at) {
            found.insert(path);
        }
    }
    let mut later = Vec::new();
    for directory in directories(host) {
        let openers: Vec<&&Claim<'_>> =
            files.iter().filter(|claim| directory.is_within(atlas.path(claim.at))).collect();
        if openers.is_empty() {
            continue;
        }
        let Ok(walk) = atlas.walk(&directory) else { continue };
        if *atlas.entry(walk.at) != Entry::Directory {
            continue;
        }
        later.extend(openers.iter().map(|claim| (claim.party, claim.text.clone())));
        for name in atlas.names(walk.at).iter() {
            let at = atlas.child(walk.at, name);
            if *atlas.entry(at) == Entry::Socket && !is_opened(atlas, at) {
                found.insert(atlas.path(at).clone());
            }
        }
    }
    let party = claims.parties.len();
    claims.parties.push(Party { effect: Effect::Deny, actions: [PathAction::Socket].into_iter().collect() });
    for path in found {
        let (at, text) = (atlas.place(&path), Cow::Owned(path.to_string()));
        claims.list.push(Claim { party, side: Side::Item, at, text, kind: ClaimKind::Object });
    }
    later
}

fn directories(host: &Host) -> Vec<AbsolutePath> {
    let own = AbsolutePath::new(format!("/run/user/{}", host.person.uid).as_bytes());
    let gnupg = own.as_ref().map(|own| own.join(b"gnupg"));
    let services = SERVICES.iter().filter_map(|path| AbsolutePath::new(path));
    services.chain(own).chain(gnupg).chain([host.person.home.join(b".gnupg")]).collect()
}

/// Whether an item opens places for one of these actions.
fn opens(claims: &Claims<'_>, claim: &Claim<'_>, actions: &[PathAction]) -> bool {
    claim.side == Side::Item
        && claims.parties.get(claim.party).is_some_and(|party| {
            party.effect == Effect::Allow && actions.iter().any(|action| party.actions.contains(*action))
        })
}
