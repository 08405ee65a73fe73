//! The world that a question is asked in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::bytes::AbsolutePath;
use crate::pattern::{DomainName, Variable};
use crate::question::Platform;

/// A platform, values of variables, links, addresses of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The platform.
    pub platform: Platform,
    /// The values that variables have; a variable that is not here has none.
    pub variables: BTreeMap<Variable, Vec<u8>>,
    /// The links: where each stands (its parent resolved), and the text it holds.
    pub links: BTreeMap<AbsolutePath, Vec<u8>>,
    /// The addresses of names; a name that is not here has one public address that no rule mentions.
    pub hosts: BTreeMap<DomainName, Vec<IpAddr>>,
    /// Files that are never writable from inside: the texts the policy was read from, fence's own state.
    pub protected: Vec<AbsolutePath>,
}
