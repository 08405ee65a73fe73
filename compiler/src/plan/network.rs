//! The network inside: nothing but a loopback, or connections that are judged by name and port.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::{IpNet, Ipv4Net};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DomainName, PortRange};
use crate::policy::{Policy, Tls};
use crate::reach;
use crate::world::World;

/// The network inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkPlan {
    /// A namespace with its own loopback and nothing else.
    Isolated,
    /// The same, in which connections that rules may allow are brought to a listener that fence serves. Each is
    /// decided there; everything else is refused by the kernel.
    Judged(JudgedNetwork),
}

/// What of the network is brought to fence, and what decides nothing more than that.
///
/// Blocks and ports say what *may* be allowed: the kernel refuses the rest before `connect` returns. Whether a
/// connection is allowed is decided by the policy itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedNetwork {
    /// The blocks that names are answered from, one for each set of ports that some name may be connected to on;
    /// where there are more sets than blocks, the last is for every port.
    pub names: Vec<NameBlock>,
    /// The addresses that may be connected to without a name, sorted.
    pub addresses: Vec<AddressBlock>,
    /// The ports of loopback that lead to the host's, sorted.
    pub host_ports: Vec<PortRange>,
    /// Where programs that want an explicit proxy (HTTP, SOCKS5) find it. On port 0 the run chooses one: without a network
    /// namespace that is all there is, and the run's variables name it.
    #[schemars(with = "String")]
    pub proxy: SocketAddrV4,
    /// Where names are resolved, on port 53.
    pub resolver: Ipv4Addr,
    /// Whether a TLS connection to a name must show that name.
    pub tls: Tls,
    /// How long a connection may take to stand, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connect_time: Option<u64>,
    /// How long a connection may be silent, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub idle_time: Option<u64>,
}

/// Addresses that stand for names inside, and mean nothing elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameBlock {
    /// The block.
    #[schemars(with = "String")]
    pub block: Ipv4Net,
    /// The ports that its names may be connected to on, sorted, neither overlapping nor touching.
    pub ports: Vec<PortRange>,
}

/// Addresses that may be connected to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct AddressBlock {
    /// The block.
    #[schemars(with = "String")]
    pub block: IpNet,
    /// The ports, sorted, neither overlapping nor touching.
    pub ports: Vec<PortRange>,
}

/// Where all addresses of fence's own lie inside: reserved for measurements (RFC 2544), on no network that a program
/// means to reach.
pub const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// The address of the resolver.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// The address and port of the explicit proxy.
pub const PROXY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 2), 3128);

impl JudgedNetwork {
    /// The block that a name is answered from; `None` if it may be connected to on no port.
    #[must_use]
    pub fn block_for(&self, policy: &Policy, world: &World, name: &DomainName) -> Option<&NameBlock> {
        let ports = reach::ports_of(policy, world, name);
        if ports.is_empty() {
            return None;
        }
        let exact = self.names.iter().find(|block| block.ports == ports.ranges());
        exact.or_else(|| self.names.iter().find(|block| block.ports == [PortRange::ALL]))
    }
}
