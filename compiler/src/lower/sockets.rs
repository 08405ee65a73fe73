//! The host's sockets in trees that rules open: nothing mediates connections to them yet, so every one that is
//! bound, and those in the usual places (a program in another network namespace may have bound them), are covered
//! one by one.

use std::collections::BTreeSet;

use super::claims::{Claim, ClaimKind, Claims, Findings};
use super::coverage::{Party, Side};
use super::tree;
use crate::bytes::AbsolutePath;
use crate::host::{Entry, Files, Host};
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

/// Covers every socket that no rule opens.
pub(super) fn close(host: &Host, files: &mut dyn Files, claims: &mut Claims, findings: &mut Findings) {
    let opened: BTreeSet<AbsolutePath> =
        claims.list.iter().filter(|claim| opens_files(claims, claim)).map(|claim| claim.at.clone()).collect();
    let mut found: BTreeSet<AbsolutePath> = files.sockets(&opened).into_iter().collect();
    found.retain(|path| files.entry(path) == Entry::Special && !is_opened(claims, path));
    for directory in directories(host) {
        let openers: Vec<(usize, String)> = claims
            .list
            .iter()
            .filter(|claim| opens_files(claims, claim) && directory.is_within(&claim.at))
            .map(|claim| (claim.party, claim.text.clone()))
            .collect();
        if openers.is_empty() {
            continue;
        }
        let Ok(walk) = tree::walk(files, &directory) else { continue };
        if walk.entry != Entry::Directory {
            continue;
        }
        for (party, text) in openers {
            if let Some(report) = findings.report(party) {
                report.note(OTHERS, &text);
            }
        }
        for name in files.names(&walk.object) {
            let path = walk.object.join(&name);
            if files.entry(&path) == Entry::Special && !is_opened(claims, &path) {
                found.insert(path);
            }
        }
    }
    let party = claims.parties.len();
    claims.parties.push(Party { effect: Effect::Deny, actions: BTreeSet::from([PathAction::Socket]) });
    for at in found {
        let text = at.to_string();
        claims.list.push(Claim { party, side: Side::Item, at, text, kind: ClaimKind::Object });
    }
}

fn directories(host: &Host) -> Vec<AbsolutePath> {
    let own = AbsolutePath::new(format!("/run/user/{}", host.person.uid).as_bytes());
    let gnupg = own.as_ref().map(|own| own.join(b"gnupg"));
    let services = SERVICES.iter().filter_map(|path| AbsolutePath::new(path));
    services.chain(own).chain(gnupg).chain([host.person.home.join(b".gnupg")]).collect()
}

/// Whether an item lets files be seen.
fn opens_files(claims: &Claims, claim: &Claim) -> bool {
    claim.side == Side::Item
        && claims.parties.get(claim.party).is_some_and(|party| {
            party.effect == Effect::Allow
                && (party.actions.contains(&PathAction::Read) || party.actions.contains(&PathAction::Write))
        })
}

fn is_opened(claims: &Claims, path: &AbsolutePath) -> bool {
    claims.list.iter().any(|claim| {
        claim.side == Side::Item
            && path.is_within(&claim.at)
            && claims.parties.get(claim.party).is_some_and(|party| {
                party.effect == Effect::Allow && party.actions.contains(&PathAction::Socket)
            })
    })
}
