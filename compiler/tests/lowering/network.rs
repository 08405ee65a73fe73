//! What a network is lowered to agrees with what is decided.

use std::net::IpAddr;

use fence_compiler::decide::decide;
use fence_compiler::fidelity::Level;
use fence_compiler::lower::linux::lower;
use fence_compiler::pattern::{DomainName, PortRange};
use fence_compiler::plan::{JudgedNetwork, Mount, NetworkPlan};
use fence_compiler::question::{Destination, Platform, Question, Verdict};
use fence_compiler::reach;
use fence_compiler::world::World;

use crate::machine;
use crate::written::policy;

const POLICIES: &[&str] = &[
    "allow connect a.example:443, *.b.example:80-90, c.b.example:22\n",
    "allow connect *\ndeny connect *.b.example, a.example:1-100\n",
    "allow connect *.example except *.b.example:80\nallow connect a.b.example\n",
    "allow connect *:443\nallow connect a.example:1-65535\nnever connect *:442-444 except a.example:443\n",
    "allow connect localhost:5432, 127.0.0.1:80-81, [::1]:90\ndeny connect *:81\n",
    "allow connect localhost\ndeny connect 127.0.0.0/8:22, localhost:23 except [::1]:23\n",
    "allow connect 10.0.0.0/8:443, 192.0.2.1, [2001:db8::/32]:22\n",
    "deny connect *\nallow connect a.example, localhost:1\n",
    "on macos {\n  allow connect a.example\n}\n",
];

const FILES: &str = "
    /home/ada/
    /etc/
    /etc/hosts
    /etc/nsswitch.conf
    /etc/resolv.conf -> ../run/resolver/stub.conf
    /run/resolver/stub.conf
";

const NAMES: &[&str] = &[
    "a.example",
    "b.example",
    "c.b.example",
    "d.b.example",
    "a.b.example",
    "e.c.b.example",
    "other",
    "localhost",
];

const PORTS: &[u16] = &[1, 21, 22, 23, 79, 80, 81, 90, 91, 100, 101, 441, 442, 443, 444, 445, 5432, 65535];

fn judged(text: &str) -> Option<JudgedNetwork> {
    match lower(&policy(text), &machine::host("/home/ada"), &mut machine::files(FILES)).plan.network {
        NetworkPlan::Isolated => None,
        NetworkPlan::Judged(network) => Some(network),
    }
}

fn allowed(text: &str, name: Option<&str>, address: Option<&str>, port: u16) -> bool {
    let destination = Destination {
        name: name.map(|name| DomainName::new(name).unwrap()),
        address: address.map(|address| address.parse::<IpAddr>().unwrap()),
        port,
    };
    let world = World::test_default(Platform::Linux);
    decide(&policy(text), &world, &Question::Connect(destination)).verdict == Verdict::Allowed
}

fn contains(ranges: &[PortRange], port: u16) -> bool {
    ranges.iter().any(|range| range.contains(port))
}

#[test]
fn the_ports_of_a_name_are_those_that_are_decided() {
    let world = World::test_default(Platform::Linux);
    for text in POLICIES {
        let (policy, network) = (policy(text), judged(text));
        for name in NAMES.iter().filter(|name| **name != "localhost") {
            let named = DomainName::new(name).unwrap();
            let ports = reach::ports_of(&policy, &world, &named);
            let block = network.as_ref().and_then(|network| network.block_for(&policy, &world, &named));
            assert_eq!(block.is_none(), ports.is_empty(), "{text}: {name}");
            for port in PORTS {
                let allowed = allowed(text, Some(name), None, *port);
                assert_eq!(ports.contains(*port), allowed, "{text}: {name}:{port}");
                let led = block.is_some_and(|block| contains(&block.ports, *port));
                assert_eq!(led, allowed, "{text}: {name}:{port} in {block:?}");
            }
        }
    }
}

#[test]
fn the_ports_of_loopback_are_those_that_are_decided() {
    for text in POLICIES.iter().filter(|text| !text.contains("10.0.0.0")) {
        let ports = judged(text).map(|network| network.host_ports).unwrap_or_default();
        for port in PORTS {
            let either = ["127.0.0.1", "::1"].iter().any(|at| allowed(text, None, Some(at), *port));
            assert_eq!(contains(&ports, *port), either, "{text}: {port}");
        }
    }
}

#[test]
fn an_address_that_may_be_allowed_lies_in_a_block() {
    for text in POLICIES {
        let Some(network) = judged(text) else { continue };
        for address in ["10.1.2.3", "192.0.2.1", "192.0.2.2", "203.0.113.9", "2001:db8::5", "2001:db9::5"] {
            for port in PORTS {
                let at: IpAddr = address.parse().unwrap();
                let led = network
                    .addresses
                    .iter()
                    .any(|block| block.block.contains(&at) && contains(&block.ports, *port));
                let allowed = allowed(text, None, Some(address), *port);
                assert!(led || !allowed, "{text}: {address}:{port}");
            }
        }
    }
}

#[test]
fn nothing_allowed_is_no_network() {
    for text in ["", "deny connect *\n", "allow listen 3000\n", "on macos {\n  allow connect *\n}\n"] {
        assert_eq!(judged(text), None, "{text}");
    }
}

#[test]
fn more_sets_of_ports_than_blocks_share_the_last() {
    let text: String = (0..100).map(|n| format!("allow connect h{n}.example:{}\n", n + 1)).collect();
    let network = judged(&text).unwrap();
    assert_eq!(network.names.len(), 31);
    assert_eq!(network.names.last().unwrap().ports, [PortRange::ALL]);
    let world = World::test_default(Platform::Linux);
    for n in 0..100 {
        let name = DomainName::new(&format!("h{n}.example")).unwrap();
        let block = network.block_for(&policy(&text), &world, &name).unwrap();
        assert!(contains(&block.ports, n + 1), "{n}: {block:?}");
    }
    let blocks: std::collections::BTreeSet<_> = network.names.iter().map(|names| names.block).collect();
    assert_eq!(blocks.len(), 31);
    assert!(
        !blocks.iter().any(|block| block.contains(&network.resolver) || block.contains(network.proxy.ip()))
    );
}

#[test]
fn as_many_sets_and_blocks_as_there_is_room_for_are_told_apart() {
    let sets = |count: u16| -> Vec<Vec<PortRange>> {
        let text: String =
            (1..=count).map(|port| format!("allow connect h{port}.example:{port}\n")).collect();
        judged(&text).unwrap().names.into_iter().map(|names| names.ports).collect()
    };
    let alone = |port| vec![PortRange { low: port, high: port }];
    assert_eq!(sets(31), (1..=31).map(alone).collect::<Vec<_>>());
    assert_eq!(sets(32), (1..=30).map(alone).chain([vec![PortRange::ALL]]).collect::<Vec<_>>());
    let blocks = |count: u16| {
        let text: String = (0..count)
            .map(|n| format!("allow connect 10.{}.{}.0/24:443, [2001:db8::]:22\n", n / 256, n % 256))
            .collect();
        judged(&text).unwrap().addresses
    };
    assert_eq!(blocks(255).len(), 256);
    let both = [PortRange { low: 22, high: 22 }, PortRange { low: 443, high: 443 }];
    let whole = blocks(256);
    assert_eq!(whole.len(), 2);
    assert!(whole.iter().all(|all| all.block.prefix_len() == 0 && all.ports == both), "{whole:?}");
}

#[test]
fn the_smallest_limit_of_each_kind_holds_for_connections() {
    let limits = |rules: &str| {
        let network = judged(&format!("allow connect a.example:443\n{rules}")).unwrap();
        (network.connect_time, network.idle_time)
    };
    assert_eq!(limits("limit time 1s\n"), (None, None));
    assert_eq!(limits("limit idle-time 9s\n"), (None, Some(9_000)));
    let several = "limit connect-time 5s\nlimit connect-time 3s\non macos {\n  limit connect-time 1s\n}\n\
                   on linux {\n  limit connect-time 4s\n}\n";
    assert_eq!(limits(several), (Some(3_000), None));
}

#[test]
fn names_are_resolved_by_files_of_fences_own_only_where_something_connects() {
    let names = |text: &str| {
        let plan = lower(&policy(text), &machine::host("/home/ada"), &mut machine::files(FILES)).plan;
        let mounts = plan.mounts.into_iter();
        let placed = mounts.filter_map(|mount| match mount {
            Mount::Names { at, .. } => Some(at.to_string()),
            _ => None,
        });
        placed.collect::<Vec<_>>()
    };
    assert_eq!(names("allow read /etc\n"), [""; 0]);
    assert_eq!(
        names("allow read /etc\nallow connect a.example\n"),
        ["/etc/hosts", "/run/resolver/stub.conf", "/etc/nsswitch.conf"]
    );
    assert_eq!(names("allow connect a.example\n"), ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"]);
    let closed = "allow read /etc\ndeny read /etc/hosts\nallow connect a.example\n";
    assert_eq!(names(closed), ["/run/resolver/stub.conf", "/etc/nsswitch.conf"]);
}

#[test]
fn what_is_closed_beyond_a_rule_is_told() {
    for (text, level, told) in [
        ("allow connect a.example:443\n", Level::Exact, None),
        ("allow connect 0.0.0.0/0:443\n", Level::Stricter, Some("loopback stays the sandbox's own")),
        ("allow connect 198.18.4.0/24:443\n", Level::Stricter, Some("stand for names inside")),
        ("deny connect 169.254.0.0/16\n", Level::Exact, None),
        (
            "allow connect a.example\nallow http \"GET a.example/x\"\n",
            Level::Stricter,
            Some("cannot be seen in TLS"),
        ),
    ] {
        let lowered = lower(&policy(text), &machine::host("/home/ada"), &mut machine::files(FILES));
        let last = lowered.fidelity.iter().rfind(|told| !told.by.is_empty()).unwrap();
        assert_eq!(last.level, level, "{text}");
        if let Some(told) = told {
            assert!(last.why.iter().any(|why| why.contains(told)), "{text}: {:?}", last.why);
        }
    }
}
