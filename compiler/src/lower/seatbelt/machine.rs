//! A Mac to compile for where there is none.

use std::collections::BTreeMap;

use crate::bytes::AbsolutePath;
use crate::host::{Features, Host, Person};
use crate::question::Platform;

/// Makes the description of a Mac on which the same person works in the same directory: the home is
/// `/Users/NAME`, what lies below the home here lies below it there, and everything else keeps its path.
///
/// It is an example, for looking at a profile on another platform; a certain Mac is described by a file.
#[must_use]
pub fn like_a_mac(host: &Host) -> Host {
    if host.platform == Platform::MacOs {
        return host.clone();
    }
    let name = if host.person.name.is_empty() { "user" } else { host.person.name.as_str() };
    let home = AbsolutePath::root().join(b"Users").join(name.as_bytes());
    let there = |path: &AbsolutePath| {
        if path.is_within(&host.person.home) {
            home.join_all(path.components().skip(host.person.home.components().count()))
        } else {
            path.clone()
        }
    };
    let path = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    let mut environment: BTreeMap<String, String> = host.environment.clone();
    environment.insert("PATH".to_owned(), path.to_owned());
    Host {
        platform: Platform::MacOs,
        person: Person { name: name.to_owned(), home: home.clone(), uid: 501, gid: 20 },
        cwd: there(&host.cwd),
        git_root: host.git_root.as_ref().map(there),
        git_common: host.git_common.as_ref().map(there),
        environment_names: host.environment_names.clone(),
        environment,
        features: Features::none("this is macOS"),
        protected: host.protected.iter().map(there).collect(),
    }
}
