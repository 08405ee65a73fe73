//! Lowering for Landlock and seccomp alone: no namespace, no mount, the machine's own file tree.
//!
//! Landlock only ever adds rights, each to a whole tree. Where something in an allowed tree is closed, the rights are
//! given to what lies beside it instead, directory by directory from the tree's root down; the directories on that way
//! can then be neither listed nor changed.

mod grants;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::atlas::Atlas;
use super::calls::{self, Alone, Choices, Reach};
use super::claims::{self, ClaimKind, Claims, Findings, is_for_linux};
use super::coverage::{Rights, Side};
use super::features::{self, WritableCode};
use super::judgement;
use super::linux::{Lowered, conclude_all, terminal};
use super::mounts::{FileTree, Footing, Surface, is_visible};
use super::network::Keeper;
use super::region::{self, OwnTmp, Region, RegionKind};
use super::report::{Cause, Report};
use super::seatbelt::RunId;
use super::target::{Holder, LinuxTarget};
use super::{commands, devices, environment, limits, names, network, unset, values};
use crate::bytes::AbsolutePath;
use crate::host::{Entry, Files, Host, Support};
use crate::pattern::Variable;
use crate::plan::{JudgedNetwork, LandlockPlan, LandlockRule, LinuxPlan, NetworkPlan};
use crate::policy::{Effect, PathAction, Policy, Subject};
use crate::question::Platform;
use grants::{Grants, Spot};

const SEEN: &str =
    "Landlock keeps nobody from metadata: that it exists, its size, owner and times can be seen: {}";
const CHANGED: &str = "Landlock keeps nobody from metadata: mode, owner, times and attributes of one's own files can be changed: {}";
const DIVIDED: &str = "something within is closed, and Landlock cannot take it out of a tree: the directories on the way there cannot be listed, and nothing is made in them: {}";
const NO_SOCKETS: &str = "Landlock does not know sockets, so none of the machine's can be connected to: {}";
const NO_LISTENING: &str = "without a network namespace nothing is offered: {}";

/// Lowers a policy for Landlock alone.
pub(super) fn lower(
    target: &LinuxTarget,
    run: &RunId,
    policy: &Policy,
    host: &Host,
    files: &mut dyn Files,
) -> Lowered {
    let usable = target.usable(&host.features);
    let connecting = host.features.mediation.clone();
    let host = &Host { features: usable, ..host.clone() };
    let reports = vec![Report::default(); policy.rules.len()];
    let mut findings = Findings { reports, diagnostics: features::check(target, &host.features) };
    let tmp = own_tmp(run);
    let mut values = values::of(host, policy);
    values.insert(Variable::Tmp, tmp.as_bytes().to_vec());
    let mut files = WithTmp { files, tmp };
    let mut atlas = Atlas::new(&mut files);
    let cwd = match atlas.walk(&host.cwd) {
        Ok(walk) => walk.at,
        Err(_) => atlas.place(&host.cwd),
    };
    let mut claims = claims::gather(policy, host, &values, &mut atlas, &mut findings);
    let (network, reach) = through_the_proxy(network::plan(policy, host, &values), &connecting);
    let starts = commands::starts(policy, host, &network);
    commands::judge(policy, host, &values, &mut atlas, &mut claims, &mut findings, starts);
    unset::judge(policy, Platform::Linux, &values, &mut findings);
    let devices = devices::allowed(policy, &values, &mut atlas, &claims, &mut findings);
    let plan = region::plan(&claims, cwd, &mut atlas, OwnTmp::Beside);
    let (spots, writable_executable) = {
        let chart = atlas.chart();
        let regions = region::survey(&claims, &plan, chart);
        let tree = file_tree(&regions);
        let mediation = target.usable(&host.features).mediation;
        judgement::judge(policy, chart, &claims, &regions, &tree, &mediation, &mut findings);
        (spots(&regions, &claims), tree.writable_executable)
    };
    let mut grants = Grants::new(&spots, &mut atlas);
    grants.all();
    let (mut rules, divided) = grants.finish();
    tell_divided(&spots, &divided, &claims, &mut findings);
    judge_beyond(policy, &mut findings);
    rules.extend(fixed(&devices));
    rules.sort_by(|one, other| one.path.cmp(&other.path));
    let cwd = atlas.path(cwd).clone();

    features::judge(policy, &host.features, &mut findings);
    let open = names::open_calls(policy, starts, &mut findings);
    judge_network(policy, &network, &connecting, starts, &mut findings);
    // The variables of a proxy hold what only the run knows.
    let environment = environment::plan(policy, host, &values, &NetworkPlan::Isolated, &mut findings);
    let code = if writable_executable { WritableCode::Somewhere } else { WritableCode::Nowhere };
    let (memfd, memory_files) = features::memory_files(&host.features, code);
    let terminal = terminal(policy, &mut findings);
    let (limits, limit_reports) = limits::counted_outside(policy, host, &network);
    let mut seccomp = calls::refused(&Choices {
        open: &open,
        features: &host.features,
        memfd: memory_files,
        mediated: &BTreeSet::new(),
    });
    seccomp.extend(calls::alone(Alone { landlock_abi: host.features.landlock_abi, reach }));
    let settings = network::settings(policy, &network, &mut findings);
    let concluded = conclude_all(Platform::Linux, policy, findings, limit_reports, settings);
    Lowered {
        plan: LinuxPlan {
            mounts: Vec::new(),
            landlock: LandlockPlan { rules },
            seccomp,
            network,
            environment,
            limits,
            terminal,
            memfd,
            mediated: BTreeSet::new(),
            cwd,
        },
        fidelity: concluded.fidelity,
        diagnostics: concluded.diagnostics,
        left_to_a_person: concluded.left_to_a_person,
    }
}

/// The run's own `$tmp`: a directory beside others, which is made before the start and gone after the end.
#[must_use]
pub fn own_tmp(run: &RunId) -> AbsolutePath {
    AbsolutePath::root().join(b"tmp").join(format!("fence-{}", run.as_str()).as_bytes())
}

/// The machine's files, with the directory of the run among them.
struct WithTmp<'a> {
    files: &'a mut dyn Files,
    tmp: AbsolutePath,
}

impl Files for WithTmp<'_> {
    fn entry(&mut self, path: &AbsolutePath) -> Entry {
        if *path == self.tmp { Entry::Directory } else { self.files.entry(path) }
    }

    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
        self.files.names(directory)
    }

    fn listing(&mut self, directory: &AbsolutePath) -> Option<Vec<Vec<u8>>> {
        self.files.listing(directory)
    }

    fn sockets(&mut self, beneath: &BTreeSet<AbsolutePath>) -> Vec<AbsolutePath> {
        self.files.sockets(beneath)
    }
}

/// What stands at each region: the machine's own trees where something is effective.
fn file_tree(regions: &[Region<'_>]) -> FileTree {
    let mut tree = FileTree {
        mounts: Vec::new(),
        landlock: Vec::new(),
        surfaces: Vec::with_capacity(regions.len()),
        writable_executable: false,
        holder: Holder::Landlock,
    };
    for region in regions {
        let around = tree.around(region);
        let surface = match region.kind {
            RegionKind::Proc | RegionKind::Dev => Surface::Fixed,
            _ if is_visible(region) => {
                tree.writable_executable |= region.rights.write && region.rights.exec;
                Surface::Tree {
                    writing: region.rights.writing(),
                    executing: region.rights.executing(),
                    footing: Footing::Firm,
                }
            }
            _ if matches!(region.entry, Entry::Missing | Entry::Link(_)) => around,
            _ => Surface::Bare,
        };
        tree.surfaces.push(surface);
    }
    tree
}

/// What Landlock's rules are made from.
fn spots(regions: &[Region<'_>], claims: &Claims<'_>) -> Vec<Spot> {
    let watched = |region: &Region<'_>| {
        let mut rights = Rights::default();
        for claim in region.claims.iter().filter_map(|claim| claims.list.get(*claim)) {
            if claim.kind == ClaimKind::Watch
                && let Some(party) = claims.parties.get(claim.party)
            {
                rights.read |= party.actions.contains(PathAction::Read);
                rights.write |= party.actions.contains(PathAction::Write);
                rights.exec |= party.actions.contains(PathAction::Exec);
            }
        }
        rights
    };
    regions
        .iter()
        .map(|region| {
            // A link that something closed leads through must not be replaced.
            let is_way = region.claims.iter().filter_map(|claim| claims.list.get(*claim)).any(|claim| {
                claim.kind == ClaimKind::Link
                    && claims.parties.get(claim.party).is_some_and(|party| party.effect != Effect::Allow)
            });
            let rights = match region.kind {
                _ if is_way => Rights { write: false, ..region.rights },
                RegionKind::Dev => Rights::default(),
                RegionKind::Proc => Rights { read: true, ..Rights::default() },
                _ => region.rights,
            };
            Spot {
                place: region.place,
                path: region.at.clone(),
                directory: *region.entry == Entry::Directory,
                missing: matches!(region.entry, Entry::Missing | Entry::Link(_)),
                rights,
                watched: watched(region),
                opening: region.opening.clone(),
                claims: region.claims.to_vec(),
            }
        })
        .collect()
}

/// Tells which rules open less than they say, because their trees are divided.
fn tell_divided(spots: &[Spot], divided: &[usize], claims: &Claims<'_>, findings: &mut Findings) {
    for spot in divided.iter().filter_map(|number| spots.get(*number)) {
        for claim in spot.claims.iter().filter_map(|claim| claims.list.get(*claim)) {
            if claim.side == Side::Item
                && spot.opening.binary_search(&claim.party).is_ok()
                && let Some(report) = findings.report(claim.party)
            {
                report.stricter(DIVIDED, &claim.text);
            }
        }
    }
}

/// What Landlock does not know: metadata, and sockets.
fn judge_beyond(policy: &Policy, findings: &mut Findings) {
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Subject::Path { actions, items, .. } = &rule.subject else { continue };
        let Some(report) = findings.report(number) else { continue };
        for item in items {
            match rule.effect {
                Effect::Allow if actions.contains(&PathAction::Socket) => {
                    report.stricter(NO_SOCKETS, &item.text)
                }
                Effect::Allow => {}
                Effect::Deny | Effect::Never => {
                    if actions.contains(&PathAction::Read) {
                        report.weaker(Cause::Target, SEEN, &item.text);
                    }
                    if actions.contains(&PathAction::Write) {
                        report.weaker(Cause::Target, CHANGED, &item.text);
                    }
                }
            }
        }
    }
}

/// The same network where its only way out is a proxy on the machine's own loopback: `connect` is answered by a process outside, which
/// knows one address. Where calls cannot be answered so, there is none.
fn through_the_proxy(network: NetworkPlan, connecting: &Support) -> (NetworkPlan, Reach) {
    match network {
        NetworkPlan::Judged(judged) if connecting.is_yes() => {
            let (names, addresses, host_ports) = (Vec::new(), Vec::new(), Vec::new());
            let (proxy, resolver) = (SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), Ipv4Addr::LOCALHOST);
            let judged = JudgedNetwork { names, addresses, host_ports, proxy, resolver, ..judged };
            (NetworkPlan::Judged(judged), Reach::Proxy)
        }
        _ => (NetworkPlan::Isolated, Reach::Nothing),
    }
}

/// What of the network is reached is reached through the proxy, and nothing is offered.
fn judge_network(
    policy: &Policy,
    network: &NetworkPlan,
    connecting: &Support,
    starts: commands::Starts,
    findings: &mut Findings,
) {
    network::judge(policy, network, Keeper::Connector(connecting), starts, findings);
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Some(report) = findings.report(number) else { continue };
        if let Subject::Listen { .. } = &rule.subject
            && rule.effect == Effect::Allow
        {
            report.stricter(NO_LISTENING, "listen");
        }
    }
}

/// Devices that programs take for granted, and what is allowed beside them. The machine's pseudo-terminals are not
/// among them: others have theirs there.
const DEVICES: [&[u8]; 6] = [b"null", b"zero", b"full", b"random", b"urandom", b"tty"];

fn fixed(devices: &[AbsolutePath]) -> Vec<LandlockRule> {
    let dev = AbsolutePath::root().join(b"dev");
    let always = DEVICES.iter().map(|name| dev.join(name));
    always
        .chain(devices.iter().cloned())
        .map(|path| LandlockRule { path, read: true, write: true, execute: false, device: true })
        .collect()
}
