//! Patterns of hosts.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CommandPattern, PortRange};

/// A domain name in its one compared form: lower case, IDNA A-labels, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DomainName(pub(super) String);

impl DomainName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostPattern {
    /// `*`: every name; when it closes, every host.
    Any,
    /// This name alone.
    Name(DomainName),
    /// `*.name`: its subdomains at any depth, not itself.
    Below(DomainName),
    /// An address or a block of addresses.
    Block(#[schemars(with = "String")] IpNet),
    /// `localhost`: the host's loopback, 127.0.0.1 and ::1.
    Localhost,
    /// `$NAME`: a name or an address from the caller's environment.
    Environment(String),
}

/// An item of `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ConnectPattern {
    /// The host.
    pub host: HostPattern,
    /// The ports; `None` where none is written, which means every port.
    pub ports: Option<PortRange>,
}

/// An item of `http`: `METHOD HOST/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct HttpPattern {
    /// The method in upper case; `None` is `*`.
    pub method: Option<String>,
    /// The host.
    pub host: HostPattern,
    /// The port; `None` where none is written.
    pub ports: Option<PortRange>,
    /// The path, `*` within a segment and `**` across segments; it covers what is beneath.
    pub path: Vec<super::Component>,
}

/// An item of `ssh`: `HOST` or `HOST COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SshPattern {
    /// The host.
    pub host: HostPattern,
    /// The remote command; `None`: any, and a login shell.
    pub command: Option<CommandPattern>,
}
