//! File systems of the kernel that somebody has mounted in a tree of files: the `/proc` of a root for a container, say.

use std::io::Read;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{LandlockRule, MaskKind, Mount};

/// The kinds through which processes and the kernel itself are reached. What root may write in them follows from its
/// number alone, which it keeps inside.
const KINDS: [&[u8]; 14] = [
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devtmpfs",
    b"efivarfs",
    b"mqueue",
    b"proc",
    b"pstore",
    b"securityfs",
    b"sysfs",
    b"tracefs",
];

/// Where they are mounted, but for the directories that exist for them.
fn all() -> Vec<AbsolutePath> {
    let table = table();
    let mut places: Vec<AbsolutePath> = table.split(|byte| *byte == b'\n').filter_map(place).collect();
    places.sort();
    places.dedup();
    places
}

/// One that lies in a tree to which Landlock gives rights: nothing can be taken out of that again.
pub(super) fn opened(rules: &[LandlockRule]) -> Option<AbsolutePath> {
    all().into_iter().find(|at| rules.iter().any(|rule| at.is_within(&rule.path)))
}

/// Covers those that would come inside with a tree of the host.
pub(super) fn covers(mounts: &[Mount]) -> Vec<Mount> {
    let places = all();
    let mut covered: Vec<AbsolutePath> = Vec::new();
    for at in places {
        if comes_inside(&at, mounts) && !covered.iter().any(|above| at.is_within(above)) {
            covered.push(at);
        }
    }
    let mask = |at| Mount::Mask { at, kind: MaskKind::Directory, rules: Vec::new() };
    covered.into_iter().map(mask).collect()
}

/// Where something is mounted, as a table of mounts says.
pub(super) fn places(table: &[u8]) -> Vec<AbsolutePath> {
    let lines = table.split(|byte| *byte == b'\n');
    lines.filter_map(|line| AbsolutePath::new(&unescape(line.split(|byte| *byte == b' ').nth(4)?))).collect()
}

/// The table of mounts. The kernel makes it anew for each read, so the first should be able to hold it.
pub(super) fn table() -> Vec<u8> {
    let mut table = Vec::with_capacity(1 << 16);
    // INVARIANT: without /proc there is no sandbox: its first process writes to it.
    let _ = std::fs::File::open("/proc/self/mountinfo").and_then(|mut file| file.read_to_end(&mut table));
    table
}

/// Where a line of the table says that one of these kinds is mounted, but for the directories that exist for them:
/// what lies there is mounted anew, or read-only.
fn place(line: &[u8]) -> Option<AbsolutePath> {
    let dash = line.windows(3).position(|three| three == b" - ")?;
    let kind = line.get(dash + 3..)?.split(|byte| *byte == b' ').next()?;
    let at = AbsolutePath::new(&unescape(line.split(|byte| *byte == b' ').nth(4)?))?;
    let own = matches!(at.components().next(), Some(b"proc" | b"sys" | b"dev") | None);
    (KINDS.contains(&kind) && !own).then_some(at)
}

/// Whether a place is part of a tree of the host inside.
fn comes_inside(at: &AbsolutePath, mounts: &[Mount]) -> bool {
    let covering = mounts.iter().rfind(|mount| match mount {
        Mount::Tree { at: top, .. }
        | Mount::Overlaid { at: top, .. }
        | Mount::Copy { at: top, .. }
        | Mount::Mask { at: top, .. }
        | Mount::Names { at: top, .. }
        | Mount::Private { at: top, .. }
        | Mount::Proc { at: top, .. }
        | Mount::Dev { at: top, .. } => at.is_within(top),
        Mount::Directory { .. } | Mount::Link { .. } | Mount::Pin { .. } | Mount::Layer { .. } => false,
    });
    matches!(covering, Some(Mount::Tree { .. }))
}

/// A field of the table, which writes a blank, a tab, a line end and a backslash as three octal digits.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| *byte == b'\\' && digits.iter().all(u8::is_ascii_digit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(number) => {
                plain.push(number);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_file_system_of_the_kernel_elsewhere_is_found() {
        for (line, at) in [
            ("40 30 0:22 / /srv/root/proc rw,nosuid shared:9 - proc proc rw", Some("/srv/root/proc")),
            ("40 30 0:22 / /a\\040b/sys rw - sysfs sysfs rw", Some("/a b/sys")),
            ("40 30 0:22 / /proc rw - proc proc rw", None),
            ("40 30 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", None),
            ("40 30 8:1 / /home rw shared:1 - ext4 /dev/sda1 rw", None),
            ("", None),
        ] {
            assert_eq!(place(line.as_bytes()).map(|at| at.to_string()).as_deref(), at, "{line}");
        }
    }
}
