//! Finds and reads policies: files, the built-in ones, the person's own, the machine's.

mod find;
mod library;
mod read;

pub use find::{FindError, Found, find};
pub use library::{Library, spelled};
pub use read::{ReadError, Trustees, read};

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::source::{Origin, Source};

/// The name of the person's own policy.
pub const USER: &str = "user";

/// The policy of the machine, whose `never`s hold above every policy.
pub const MACHINE_POLICY: &str = "/etc/fence/policy.fence";

/// The names under which a policy is found in a directory.
pub const FOUND_NAMES: [&str; 3] = ["policy.fence", "policy.fence.yaml", "policy.fence.json"];

/// What somebody means by the name of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A file.
    File(PathBuf),
    /// A built-in policy, or `user`.
    Name(String),
}

/// Tells a file from a name: a file has a `/`, or ends as one.
///
/// # Errors
/// Gives back what is neither: a name that is not text.
pub fn named(policy: &OsStr) -> Result<Named, String> {
    let bytes = policy.as_bytes();
    let ends = [&b".fence"[..], b".yaml", b".yml", b".json"].iter().any(|ending| bytes.ends_with(ending));
    if bytes.contains(&b'/') || ends {
        return Ok(Named::File(PathBuf::from(policy)));
    }
    match policy.to_str() {
        Some(name) => Ok(Named::Name(name.to_owned())),
        None => Err(fence_compiler::bytes::escape(bytes).into_owned()),
    }
}

/// The person's own policy: `fence/policy.fence` below `$XDG_CONFIG_HOME`, which is `~/.config` where that is
/// not set to an absolute path.
#[must_use]
pub fn user_policy(home: &AbsolutePath) -> AbsolutePath {
    xdg("XDG_CONFIG_HOME", home, &[".config"]).join(b"fence").join(b"policy.fence")
}

/// A directory of the XDG specification, or its default below the home.
pub(crate) fn xdg(variable: &str, home: &AbsolutePath, default: &[&str]) -> AbsolutePath {
    std::env::var_os(variable)
        .and_then(|value| AbsolutePath::new(value.as_bytes()))
        .unwrap_or_else(|| home.join_all(default.iter().map(|name| name.as_bytes())))
}

/// A built-in policy as a source.
#[must_use]
pub fn built_in(name: &str) -> Option<Source> {
    fence_policies::get(name).map(|text| Source {
        origin: Origin::BuiltIn(name.to_owned()),
        name: format!("<built-in {name}>"),
        text: text.to_owned(),
    })
}

/// The names of all built-in policies, and `user`.
#[must_use]
pub fn known_names() -> Vec<String> {
    fence_policies::ALL.iter().map(|(name, _)| (*name).to_owned()).chain([USER.to_owned()]).collect()
}

/// What messages call a file: relative to the directory, if it lies in it.
#[must_use]
pub fn display_name(file: &AbsolutePath, directory: &AbsolutePath) -> String {
    let relative = file
        .as_bytes()
        .strip_prefix(directory.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"/"))
        .filter(|_| !directory.is_root());
    relative
        .map_or_else(|| file.escaped().into_owned(), |rest| fence_compiler::bytes::escape(rest).into_owned())
}

pub(crate) fn to_path(path: &AbsolutePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}
