//! Machines made by hand.

use std::collections::BTreeMap;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::{Entry, Features, FileFacts, Host, LinkText, Person, Support};
use fence_compiler::question::Platform;

pub fn path(text: &str) -> AbsolutePath {
    AbsolutePath::new(text.as_bytes()).unwrap()
}

/// An ordinary person on a kernel that has everything.
pub fn host(cwd: &str) -> Host {
    Host {
        platform: Platform::Linux,
        person: Person { name: "ada".into(), home: path("/home/ada"), uid: 1000, gid: 1000 },
        cwd: path(cwd),
        git_root: None,
        git_common: None,
        environment_names: ["PATH", "HOME", "SECRET_TOKEN", "LD_PRELOAD", "LC_ALL"].map(String::from).into(),
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
        features: Features {
            kernel: (6, 18),
            user_namespaces: Support::Yes,
            landlock_abi: 7,
            seccomp: Support::Yes,
            fresh_proc: Support::Yes,
            mount_api: Support::Yes,
            memfd_noexec: Support::Yes,
            pid_max: Support::Yes,
            tiocsti_off: Support::Yes,
            mediation: Support::Yes,
            cgroup: None,
        },
        protected: Vec::new(),
    }
}

/// A tree from lines: `/a/` a directory, `/a` a file, `/a -> b` a link, `/a =` a socket, `/a |` a FIFO, `/a %` a device.
pub fn files(lines: &str) -> FileFacts {
    let mut files = FileFacts::default();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        files = if let Some((at, to)) = line.split_once(" -> ") {
            files.with(path(at), Entry::Link(LinkText::new(to.as_bytes())))
        } else if let Some(at) = line.strip_suffix(" =") {
            files.with(path(at), Entry::Socket)
        } else if let Some(at) = line.strip_suffix(" |") {
            files.with(path(at), Entry::Fifo)
        } else if let Some(at) = line.strip_suffix(" %") {
            files.with(path(at), Entry::Device)
        } else if line.ends_with('/') {
            files.with(path(line), Entry::Directory)
        } else {
            files.with(path(line), Entry::File)
        };
    }
    files
}

/// A usr-merged Debian with a repository.
pub const DEBIAN: &str = "
    /bin -> usr/bin
    /sbin -> usr/sbin
    /lib -> usr/lib
    /lib64 -> usr/lib64
    /usr/bin/git
    /usr/bin/sudo
    /usr/bin/dash
    /usr/bin/sh -> dash
    /usr/bin/busybox
    /usr/sbin/mkfs.ext4
    /usr/sbin/mkfs.xfs
    /usr/lib/
    /usr/lib64/ld.so
    /etc/passwd
    /etc/shadow
    /etc/shadow-
    /etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf
    /run/systemd/resolve/stub-resolv.conf
    /run/docker.sock =
    /dev/kvm %
    /dev/null %
    /proc/
    /sys/
    /tmp/
    /home/ada/.ssh/id_ed25519
    /home/ada/.ssh/id_ed25519.pub
    /home/ada/.ssh/known_hosts
    /home/ada/work/.git/config
    /home/ada/work/.git/hooks/
    /home/ada/work/src/main.rs
    /home/ada/work/.env
    /home/ada/work/node_modules/
";
