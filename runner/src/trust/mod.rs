//! What a person has read and trusts: policies that fence finds in a directory.
//!
//! A record says: this file, with this hash of all that its meaning hangs on. Records lie in
//! `$XDG_STATE_HOME/fence/trust`, one file each, readable by their owner only, and are never writable from
//! inside a sandbox. A record that somebody else could have written is an error, never a yes.

mod store;

pub use store::{Revoked, Store, TrustError, state_folder};
pub(crate) use store::{own_state_folder, owned};

use std::collections::BTreeMap;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::source::Origin;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::audit::Timestamp;

/// The version of a record's form.
pub const RECORD_VERSION: u32 = 1;

/// One policy that is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this form: 1.
    pub version: u32,
    /// The policy's file, by the directory it was found in.
    pub file: AbsolutePath,
    /// The hash of its closure, see [`closure_hash`].
    pub sha256: String,
    /// The version of fence that it was recorded with.
    pub fence: String,
    /// When.
    pub time: Timestamp,
}

/// Where a found policy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is trusted, just as it is.
    Trusted,
    /// It was trusted, and it or something it includes, or fence, has changed since.
    Changed(Record),
    /// Nobody has trusted it.
    Unknown,
}

/// The hash over all that a policy's meaning hangs on: its text, the texts it includes, and fence's version,
/// which stands for the built-in policies.
#[must_use]
pub fn closure_hash(closure: &BTreeMap<Origin, String>) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(b"fence trust 1");
    add(env!("CARGO_PKG_VERSION").as_bytes());
    for (origin, text) in closure {
        let (kind, name) = match origin {
            Origin::BuiltIn(name) => ("built-in", name.as_bytes()),
            Origin::File(path) => ("file", path.as_bytes()),
            Origin::User(path) => ("user", path.as_bytes()),
            Origin::Machine(path) => ("machine", path.as_bytes()),
            Origin::Given(name) => ("given", name.as_bytes()),
        };
        add(kind.as_bytes());
        add(name);
        add(text.as_bytes());
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
