//! What a run leaves behind on the host.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What there is on the host, as far as a run of fence could add to it: processes of the persons who run it (and
/// every process named `fence`), mounts, sockets, and the directories where things are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    sockets: BTreeSet<String>,
    entries: BTreeSet<String>,
}

impl World {
    /// Looks at the host. `mark` stands in the command line of every process that belongs to the runs; other
    /// processes, mounts and files of the host come and go as they like.
    pub fn now(mark: &str, directories: &[&Path]) -> World {
        let places = [Path::new("/tmp"), Path::new("/dev/shm"), Path::new("/run")];
        World {
            processes: processes(mark),
            mounts: lines("/proc/self/mountinfo", |line| line.contains("fence")),
            // The name that one who asks holds ends with its process, and other tests ask meanwhile.
            sockets: lines("/proc/net/unix", |line| {
                (line.contains("fence") && !line.contains("@fence-ask-")) || line.contains(mark)
            }),
            entries: places
                .iter()
                .flat_map(|place| names(place, mark))
                .chain(directories.iter().flat_map(|d| everything(d)))
                .collect(),
        }
    }

    /// What is there now and was not before; waits for what is about to end.
    pub fn leftovers(&self, mark: &str, directories: &[&Path], patience: Duration) -> Vec<String> {
        let began = Instant::now();
        loop {
            let now = World::now(mark, directories);
            let came: Vec<String> = [
                ("process", &self.processes, &now.processes),
                ("mount", &self.mounts, &now.mounts),
                ("socket", &self.sockets, &now.sockets),
                ("entry", &self.entries, &now.entries),
            ]
            .into_iter()
            .flat_map(|(kind, before, after)| {
                after.difference(before).map(move |what| format!("{kind}: {what}"))
            })
            .collect();
            if came.is_empty() || began.elapsed() > patience {
                return came;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn processes(mark: &str) -> BTreeSet<String> {
    marked(mark).into_iter().map(|(pid, line)| format!("{pid} {line}")).collect()
}

/// The processes whose command line or environment holds the mark, this one aside.
pub fn marked(mark: &str) -> Vec<(u32, String)> {
    let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|part| part == mark.as_bytes());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if pid == std::process::id() {
            continue;
        }
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // One that has ended and is not waited for yet has neither.
        if holds(&line) || holds(&fs::read(entry.path().join("environ")).unwrap_or_default()) {
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

fn lines(path: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| wanted(line)).map(str::to_owned).collect()
}

/// The names in a directory that everybody writes to, less those that others may make meanwhile.
fn names(directory: &Path, mark: &str) -> BTreeSet<String> {
    let ours = |name: &str| name.contains("fence") || name.contains(mark);
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| ours(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// Every path below a directory, with what can be seen of it.
fn everything(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        found.insert(format!("{} {:o} {}", path.display(), metadata.mode(), metadata.len()));
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    found
}
