//! Ranges of ports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Inclusive, never with port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PortRange {
    /// The lowest port.
    pub low: u16,
    /// The highest port.
    pub high: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: PortRange = PortRange { low: 1, high: u16::MAX };

    /// Whether the port is among them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }
}
