//! The settings that an `ssh` inside would read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;

use super::place::{Ground, Look, walk};

/// The most bytes that a file of settings may hold.
const LONGEST: u64 = 1 << 20;
/// How deep files may include one another, as in OpenSSH.
const DEEPEST: u32 = 16;

/// The texts of the settings, the person's first, with what they include; why they cannot be told.
pub(super) fn texts(ground: &Ground, homes: &[AbsolutePath]) -> Result<Vec<String>, String> {
    let mut texts = Vec::new();
    for home in homes {
        let folder = home.join(b".ssh");
        let reader = Reader { ground, folder: &folder, home };
        texts.push(reader.file(&folder.join(b"config"), 0)?);
    }
    if let (Some(folder), Some(home)) = (AbsolutePath::new(b"/etc/ssh"), homes.first()) {
        texts.push(Reader { ground, folder: &folder, home }.file(&folder.join(b"ssh_config"), 0)?);
    }
    Ok(texts)
}

struct Reader<'a> {
    ground: &'a Ground,
    /// Where what is included lies.
    folder: &'a AbsolutePath,
    home: &'a AbsolutePath,
}

impl Reader<'_> {
    /// A file, empty if it is not there; nobody inside may be able to make or change it.
    fn file(&self, path: &AbsolutePath, depth: u32) -> Result<String, String> {
        if depth > DEEPEST {
            return Err("its settings include one another too deep".to_owned());
        }
        match walk(self.ground, path.as_bytes(), Look::Seals) {
            Ok(found) if found.sealed && found.is_file() => {
                let link = format!("/proc/self/fd/{}", found.file.as_raw_fd());
                let mut text = Vec::new();
                File::options()
                    .read(true)
                    .custom_flags(libc::O_NONBLOCK)
                    .open(link)
                    .and_then(|file| file.take(LONGEST).read_to_end(&mut text))
                    .map_err(|error| format!("its settings `{path}` cannot be read: {error}"))?;
                self.with_included(&String::from_utf8_lossy(&text), depth)
            }
            Ok(_) => Err(exchanged(path)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => {
                let above =
                    path.ancestors().find_map(|above| walk(self.ground, above.as_bytes(), Look::Seals).ok());
                if above.is_some_and(|above| above.sealed) { Ok(String::new()) } else { Err(exchanged(path)) }
            }
            Err(errno) => Err(format!("its settings `{path}` cannot be found: {}", errno.desc())),
        }
    }

    fn with_included(&self, text: &str, depth: u32) -> Result<String, String> {
        let mut whole = String::with_capacity(text.len());
        let mut top = true;
        for line in text.lines() {
            let mut words =
                line.trim().split(|c: char| c.is_whitespace() || c == '=').filter(|word| !word.is_empty());
            match words.next().map(|key| key.trim_matches('"').to_ascii_lowercase()).as_deref() {
                Some("host" | "match") => top = false,
                Some("include") => {
                    if !top {
                        return Err("its settings include others for some hosts only".to_owned());
                    }
                    for pattern in words {
                        for path in self.included(pattern.trim_matches('"'))? {
                            whole.push_str(&self.file(&path, depth + 1)?);
                        }
                    }
                    // What follows is for every host again.
                    whole.push_str("\nHost *\n");
                    continue;
                }
                _ => {}
            }
            whole.push_str(line);
            whole.push('\n');
        }
        Ok(whole)
    }

    /// The files that a pattern of an `Include` names.
    fn included(&self, pattern: &str) -> Result<Vec<AbsolutePath>, String> {
        let unread = || format!("its settings include `{pattern}`, which is not read");
        let whole = match (pattern.strip_prefix("~/"), pattern.starts_with('/')) {
            (Some(rest), _) => format!("{}/{rest}", String::from_utf8_lossy(self.home.as_bytes())),
            (None, true) => pattern.to_owned(),
            (None, false) => format!("{}/{pattern}", String::from_utf8_lossy(self.folder.as_bytes())),
        };
        let path = AbsolutePath::new(whole.as_bytes()).ok_or_else(unread)?;
        let is_pattern = |name: &[u8]| name.iter().any(|byte| b"*?[%$".contains(byte));
        let (Some(folder), Some(name)) = (path.parent(), path.name()) else { return Err(unread()) };
        if is_pattern(folder.as_bytes()) {
            return Err(unread());
        }
        if !is_pattern(name) {
            return Ok(vec![path]);
        }
        // Only `*` and what ends in a text: `*.conf`.
        let Some(ending) = name.strip_prefix(b"*").filter(|ending| !is_pattern(ending)) else {
            return Err(unread());
        };
        let found = match walk(self.ground, folder.as_bytes(), Look::Seals) {
            Ok(found) if found.sealed => found,
            Ok(_) => return Err(exchanged(&folder)),
            // A file that is not there is looked at as one: whether it can be made.
            Err(_) => return Ok(vec![folder.join(b"none")]),
        };
        let mut names: Vec<Vec<u8>> = std::fs::read_dir(format!("/proc/self/fd/{}", found.file.as_raw_fd()))
            .map_err(|_| unread())?
            .flatten()
            .map(|entry| OsStr::as_bytes(&entry.file_name()).to_vec())
            .filter(|name| name.ends_with(ending) && !name.starts_with(b"."))
            .collect();
        names.sort_unstable();
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }
}

fn exchanged(path: &AbsolutePath) -> String {
    format!("its settings `{path}` could be changed inside before they are read")
}
