//! What a command inside sees and can do.

use crate::Case;
use crate::plan::{mask, path, refused, rule, tree};
use crate::world::{Ran, World};
use fence_compiler::host::LinkText;
use fence_compiler::plan::{Condition, Executing, MaskKind, MemfdPlan, Mount, Writing};

pub const CASES: &[Case] = &[
    ("a_command_runs_and_its_output_is_its_own", runs),
    ("every_right_is_gone", rights),
    ("every_namespace_is_its_own", namespaces),
    ("only_what_the_plan_mounts_exists", tree_inside),
    ("a_mask_can_be_neither_read_nor_changed_nor_moved", masks),
    ("a_passage_leads_to_what_is_allowed_within", passage),
    ("a_pinned_directory_stays_where_it_is", pin),
    ("a_tree_without_exec_runs_nothing", no_execution),
    ("landlock_refuses_what_the_mounts_would_allow", landlock),
    ("calls_are_refused_with_their_errors", calls),
    ("memory_files_cannot_be_executed_where_the_kernel_offers_that", memory_files),
    ("the_network_is_a_loopback_of_its_own", network),
    ("devices_work_and_no_others_are_there", devices),
    ("the_whole_host_can_be_the_root", host_root),
    ("no_descriptor_but_the_three_is_inherited", descriptors),
    ("names_are_bytes", names),
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

fn masks(world: &World) {
    let (file, below) = (world.write("git/config", "kept"), world.write("git/hooks/a", "kept"));
    let hooks = below.parent().unwrap();
    let mut plan = world.plan();
    plan.mounts.push(pinned(file.parent().unwrap()));
    plan.mounts.push(mask(&file, MaskKind::File));
    plan.mounts.push(mask(hooks, MaskKind::Directory));
    for (command, complaint) in [
        ("cat git/config", "Permission denied"),
        ("echo x > git/config", "cannot create"),
        ("rm -f git/config", "Device or resource busy"),
        ("mv git/config x", ""),
        ("echo x > y; mv y git/config", "Device or resource busy"),
        ("chmod 644 git/config", "Read-only"),
        ("ls git/hooks", "Permission denied"),
        ("cat git/hooks/a", "Permission denied"),
        ("echo x > git/hooks/b", "cannot create"),
        ("chmod 755 git/hooks", "Read-only"),
        ("rmdir git/hooks", "Device or resource busy"),
        ("mv git/hooks x", ""),
        ("mv git away", "Device or resource busy"),
        ("ln git/config x", ""),
    ] {
        world.shell(&plan, command).refused(complaint);
    }
    for kept in [&file, &below] {
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept");
    }
    // The control: without the masks all of it works.
    let control = "cat git/config; echo x >> git/config; ls git/hooks; echo x > git/hooks/b; mv git away";
    world.shell(&world.plan(), control).fine();
}

fn passage(world: &World) {
    let (open, closed) = (world.write("ssh/known_hosts", "host"), world.write("ssh/key", "key"));
    let inner = world.write("ssh/d/e/open", "deep");
    let mut plan = world.plan();
    plan.mounts.push(mask(world.workspace.join("ssh"), MaskKind::Passage));
    plan.mounts.push(tree(&open, Writing::Refused));
    plan.mounts.push(tree(&inner, Writing::Allowed));
    plan.mounts.push(Mount::Link {
        at: path(world.workspace.join("ssh/link")),
        target: LinkText::new(b"known_hosts"),
    });
    assert_eq!(world.shell(&plan, "cat ssh/known_hosts ssh/d/e/open ssh/link").fine(), "hostdeephost");
    assert!(closed.exists());
    for (command, complaint) in [
        ("cat ssh/key", "No such file"),
        ("ls ssh", "Permission denied"),
        ("echo x > ssh/new", "cannot create"),
        ("echo x > ssh/known_hosts", "cannot create"),
        ("mv ssh x", ""),
    ] {
        world.shell(&plan, command).refused(complaint);
    }
    world.shell(&plan, "echo more >> ssh/d/e/open").fine();
    assert_eq!(std::fs::read_to_string(inner).unwrap(), "deepmore\n");
}

fn pinned(at: &std::path::Path) -> Mount {
    Mount::Pin { at: path(at), rules: Vec::new() }
}

fn pin(world: &World) {
    world.write("a/b/c", "");
    let mut plan = world.plan();
    plan.mounts.push(pinned(&world.workspace.join("a")));
    plan.mounts.push(pinned(&world.workspace.join("a/b")));
    for command in ["mv a x", "mv a/b a/x", "rm -rf a/b", "rmdir a/b"] {
        assert_ne!(world.shell(&plan, command).code, Some(0), "{command}");
    }
    world.shell(&plan, "touch a/b/d && mkdir a/e && rmdir a/e").fine();
    world.shell(&world.plan(), "mv a/b a/x && mv a x").fine();
}

fn no_execution(world: &World) {
    let mut plan = world.plan();
    let Some(Mount::Tree { executing, .. }) = plan.mounts.last_mut() else { panic!() };
    *executing = Executing::Refused;
    let copy = "cp /bin/true own && ./own";
    world.shell(&plan, copy).refused("Permission denied");
    world
        .shell(&plan, "cp /bin/true own && $(ls /lib64/ld-linux* /lib/ld-linux* 2>&- | head -n 1) ./own")
        .refused("");
    world.shell(&world.plan(), copy).fine();
}

fn landlock(world: &World) {
    let mut plan = world.plan();
    let rule = plan.landlock.rules.iter_mut().find(|rule| rule.path == path(&world.workspace)).unwrap();
    rule.write = false;
    world.shell(&plan, "touch x").refused("Permission denied");
    world.shell(&world.plan(), "touch x").fine();
}

fn calls(world: &World) {
    let mut plan = world.plan();
    let program = "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True); \
        libc.syscall(*map(int, sys.argv[1:])); print(ctypes.get_errno())";
    if !std::path::Path::new("/usr/bin/python3").exists() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "python3 is missing");
        println!("skipped: python3 is missing");
        return;
    }
    plan.seccomp.push(refused(
        &["personality"],
        Condition::AnyBit { argument: 0, width: 32, bits: 0x8 },
        "EACCES",
    ));
    let number = |name| fence::linux::seccomp::Architecture::NATIVE.number(name).unwrap().to_string();
    for (call, argument, errno) in [
        (number("unshare"), "0", libc::EPERM),
        (number("io_uring_setup"), "0", libc::ENOSYS),
        (number("personality"), "8", libc::EACCES),
        (number("personality"), "-4294967288", libc::EACCES),
        (number("getpid"), "0", 0),
        ("4000".to_owned(), "0", libc::ENOSYS),
        (0x4000_0027.to_string(), "0", libc::ENOSYS),
    ] {
        let words = ["/usr/bin/python3", "-c", program, &call, argument];
        let ran = Ran::new(world.launch(&plan, &words).output().unwrap());
        assert_eq!(ran.fine(), format!("{errno}\n"), "{call} {argument}");
    }
}

fn memory_files(world: &World) {
    let mut plan = world.plan();
    plan.memfd = MemfdPlan::NeverExecutable;
    let text =
        "import os; f = os.memfd_create('x', 0); os.write(f, b'#!/bin/true\\n'); os.execve(f, ['x'], {})";
    let run = |plan| Ran::new(world.launch(plan, &["/usr/bin/python3", "-c", text]).output().unwrap());
    let ran = run(&plan);
    if ran.code == Some(125) && ran.err.contains("memfd_noexec") {
        println!("skipped: this user may not set `vm.memfd_noexec`, and is told so");
        return;
    }
    ran.refused("Permission denied");
    run(&world.plan()).fine();
}

fn network(world: &World) {
    let plan = world.plan();
    let interfaces = world.shell(&plan, "cat /proc/self/net/dev").fine();
    let names: Vec<&str> =
        interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(names, ["lo"]);
    let text = "import socket; s = socket.create_server(('127.0.0.1', 0)); \
        c = socket.create_connection(s.getsockname()); print('ok')";
    assert_eq!(
        Ran::new(world.launch(&plan, &["/usr/bin/python3", "-c", text]).output().unwrap()).fine(),
        "ok\n"
    );
}

fn devices(world: &World) {
    let mut plan = world.plan();
    world
        .shell(&plan, "head -c 5 /dev/zero > /dev/null; head -c 5 /dev/urandom > x; echo y > /dev/shm/z")
        .fine();
    world.shell(&plan, "cat x > /dev/full").refused("No space left");
    world.shell(&plan, "cat /dev/kmsg").refused("No such file");
    let Some(Mount::Dev { devices, .. }) =
        plan.mounts.iter_mut().find(|mount| matches!(mount, Mount::Dev { .. }))
    else {
        panic!()
    };
    devices.push(path("/dev/kmsg"));
    assert_eq!(world.shell(&plan, "ls /dev/kmsg").fine(), "/dev/kmsg\n");
}

fn host_root(world: &World) {
    let mut plan = world.plan();
    plan.mounts.retain(|mount| !matches!(mount, Mount::Link { .. } | Mount::Tree { .. }));
    plan.mounts.insert(0, tree("/", Writing::Refused));
    plan.mounts.push(tree(&world.workspace, Writing::Allowed));
    plan.landlock.rules.retain(|rule| ["/proc", "/dev", "/tmp"].iter().any(|own| rule.path == path(own)));
    plan.landlock.rules.extend([rule("/", "rx"), rule(&world.workspace, "rwx")]);
    let host: Vec<String> =
        std::fs::read_dir("/").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let inside = world.shell(&plan, "ls -A /").fine();
    assert_eq!(inside.lines().count(), host.len());
    assert_eq!(world.shell(&plan, "touch x; ls -A /tmp; ls /dev | wc -l").fine(), "13\n");
    world.shell(&plan, "touch /var/tmp/x").refused("Read-only");
}

fn descriptors(world: &World) {
    let plan = world.launch(&world.plan(), &["/bin/ls", "/proc/self/fd"]);
    let words: Vec<_> = [plan.get_program()].into_iter().chain(plan.get_args()).collect();
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "exec 5</etc 7</etc/passwd; exec \"$@\"", "sh"])
        .args(words)
        .current_dir(&world.workspace);
    assert_eq!(Ran::new(command.output().unwrap()).fine(), "0\n1\n2\n3\n");
}

fn names(world: &World) {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"a b\n\xff\\*'");
    let inner = world.workspace.join(name);
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("file"), "closed").unwrap();
    let mut plan = world.plan();
    plan.mounts.push(mask(inner.join("file"), MaskKind::File));
    plan.cwd = path(&inner);
    world.shell(&plan, "cat file").refused("Permission denied");
    let words = "x".repeat(100_000);
    let ran = Ran::new(world.launch(&world.plan(), &["/bin/echo", &words, &words]).output().unwrap());
    assert_eq!(ran.fine().len(), 200_002);
}
