//! What compiling yields, as one document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fidelity::Enforcement;
use crate::host::{FileFacts, Host};
use crate::plan::LinuxPlan;
use crate::policy::Policy;

/// The version of the artifact's form.
pub const ARTIFACT_VERSION: u32 = 1;

/// A compiled policy: the typed policy with its variables symbolic, and what it was lowered to with the
/// facts that were used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// The version of this form: 1.
    pub artifact: u32,
    /// The version of fence that made it.
    pub fence: String,
    /// The policy.
    pub policy: Policy,
    /// The SHA-256 over the hashes of all its texts, in lower-case hexadecimal.
    pub sha256: String,
    /// The facts about the machine.
    pub host: Host,
    /// The files that were looked at.
    pub files: FileFacts,
    /// How each rule and limit is enforced, in their order.
    pub fidelity: Vec<Enforcement>,
    /// What the target applies.
    pub lowering: Lowering,
}

/// What a policy was lowered to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "target", rename_all = "kebab-case")]
pub enum Lowering {
    /// Fence's own runner on Linux.
    Native {
        /// The plan.
        plan: LinuxPlan,
    },
}
