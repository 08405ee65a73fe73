//! What a command inside sees and can do.

use crate::Case;
use crate::plan::rule;
use crate::world::World;

pub const CASES: &[Case] = &[
    ("a_command_runs_and_its_output_is_its_own", runs),
    ("every_right_is_gone", rights),
    ("every_namespace_is_its_own", namespaces),
    ("only_what_the_plan_mounts_exists", tree_inside),
];

fn runs(world: &World) {
    assert_eq!(
        world.shell(&world.plan(), "echo here; pwd; id -u > id").fine(),
        format!("here\n{}\n", world.workspace.display())
    );
    assert!(world.workspace.join("id").exists());
}

fn rights(world: &World) {
    let status = world.shell(&world.plan(), "cat /proc/self/status").fine();
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&value(set), 16), Ok(0), "{set}");
    }
    assert_eq!((value("NoNewPrivs"), value("Seccomp")), ("1".to_owned(), "2".to_owned()));
}

fn namespaces(world: &World) {
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let link = format!("/proc/self/ns/{kind}");
        let inside = world.shell(&world.plan(), &format!("readlink {link}")).fine();
        let outside = std::fs::read_link(&link).unwrap();
        assert_ne!(inside.trim(), outside.to_str().unwrap(), "{kind}");
    }
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(world.shell(&world.plan(), "uname -n").fine(), hostname);
}

fn tree_inside(world: &World) {
    let mut plan = world.plan();
    plan.landlock.rules.push(rule("/", "r"));
    let roots = world.shell(&plan, "ls -A /").fine();
    let mut expected = vec!["bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "tmp", "usr", "var"];
    expected.retain(|name| roots.contains(name));
    assert_eq!(roots.split_whitespace().filter(|name| *name != "lib32").collect::<Vec<_>>(), expected);
    let devices = world.shell(&plan, "ls -A /dev /tmp /dev/shm").fine();
    let expected = "/dev:\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\n/dev/shm:\n\n/tmp:\n";
    assert_eq!(devices, expected);
    for (command, complaint) in [
        ("ls /root", "No such file"),
        ("ls /var/lib", "No such file"),
        ("ls /home", "No such file"),
        ("touch /x", "Read-only"),
        ("touch /usr/x", "Read-only"),
        ("touch /dev/x", "Read-only"),
        ("mkdir /var/x", "Read-only"),
        ("echo > /etc/passwd", "Read-only"),
    ] {
        world.shell(&plan, command).refused(complaint);
    }
}
