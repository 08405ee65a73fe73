//! The persons that cases run as.

use std::fmt;

use nix::unistd::{Gid, Uid, User};

/// Somebody who runs fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// What test names call the person: `root`, `user`, `other`.
    pub role: &'static str,
    /// The login name.
    pub name: String,
    /// The user number.
    pub uid: Uid,
    /// The group number.
    pub gid: Gid,
}

/// Accounts that every Debian has and nobody uses, for the ordinary person when the tests run as root.
const ACCOUNTS: [&str; 5] = ["games", "news", "man", "lp", "nobody"];

impl Person {
    /// Whoever runs the tests.
    pub fn oneself() -> Person {
        let uid = Uid::effective();
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let role = if uid.is_root() { "root" } else { "user" };
        Person { role, name, uid, gid: Gid::effective() }
    }

    /// Everybody a case can run as: root and an ordinary person, or only oneself where the tests do not run
    /// as root.
    pub fn everybody() -> Vec<Person> {
        let oneself = Person::oneself();
        if !oneself.uid.is_root() {
            return vec![oneself];
        }
        let ordinary = Person::ordinary().into_iter().next();
        std::iter::once(oneself).chain(ordinary).collect()
    }

    /// The ordinary persons that there are: two where the tests run as root.
    pub fn ordinary() -> Vec<Person> {
        if !Uid::effective().is_root() {
            return vec![Person::oneself()];
        }
        let users = ACCOUNTS.iter().filter_map(|name| User::from_name(name).ok().flatten());
        ["user", "other"]
            .into_iter()
            .zip(users)
            .map(|(role, user)| Person { role, name: user.name, uid: user.uid, gid: user.gid })
            .collect()
    }

    /// Whether this is root.
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role)
    }
}
