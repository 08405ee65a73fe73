//! The surface policy: what was written, as data, whichever form it was written in.
//!
//! Whatever form it has ([`Form`]), a policy is read into one syntax tree and comes here from it ([`from_tree`]): the
//! same statements with the same meaning. `schemas/policy.schema.json` is generated from these types. Nothing is
//! interpreted yet: items, values and labels are the texts that stood there.
//!
//! Every text that a diagnostic may point to is a [`Spanned`]. In YAML and JSON it is the plain text: [`data`] reads
//! them with their places; what serde makes of a value has the place [`Span::NONE`].

mod action;
mod convert;
pub mod data;
mod form;
mod lower;
mod one_or_many;
mod rule;
mod settings;
mod spanned;
mod test;

pub use action::{Action, Effect, LimitKind, PlatformName, TlsMode, Verdict};
pub use convert::{Converted, Unconverted, convert};
pub use form::{Form, read};
pub use lower::from_tree;
pub use one_or_many::OneOrMany;
pub use rule::{Clause, Note, Rule};
pub use settings::{Include, Let, Lets, Limit, Limits, Secret, SecretHolder, Set, Sets, Upstream};
pub use spanned::Spanned;
use spanned::present;
pub use test::{Expect, Given, GivenHost, GivenLink, GivenVariable, Test};

use fence_grammar::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy of fence: what a command may do. Rules have no order; what nothing allows is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "fence policy",
    example = serde_json::json!({
        "fence": 1,
        "policy": "agent",
        "include": ["base", {"policy": "registries", "without": ["docker-hub"], "because": "this team pulls no images"}],
        "rules": [
            {"allow": ["read", "write"], "items": ["$workspace", "$tmp"]},
            {"never": ["read", "write"], "items": ["~/.ssh"], "as": "secrets", "because": "credentials stay on the host"}
        ],
        "limits": {"time": "30m", "memory": "4GiB"}
    })
)]
pub struct Document {
    /// The version of the policy language: 1.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub fence: Option<Spanned<u32>>,
    /// The policy's name: `a-z`, digits and `-`, a letter first.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub policy: Option<Spanned<String>>,
    /// What the policy is for, in one sentence.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Spanned<String>>,
    /// The policies whose rules hold here too: a built-in name, `user`, or a path relative to this file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Include>,
    /// Variables of this file, by name.
    #[serde(default, rename = "let", skip_serializing_if = "Lets::is_empty")]
    pub lets: Lets,
    /// The rules, in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What the command sees only a placeholder of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Environment variables set for the command, by name.
    #[serde(default, skip_serializing_if = "Sets::is_empty")]
    pub set: Sets,
    /// Limits of time, memory and number, by kind. Of several the smallest holds.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// Whether a TLS connection to a name must show that name. Strict is the default.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tls: Option<Spanned<TlsMode>>,
    /// The proxies that fence itself dials through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    /// Rules and limits for one platform only.
    #[serde(default, skip_serializing_if = "Platforms::is_empty")]
    pub on: Platforms,
    /// Questions with the answers they must get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<Test>,
    /// Statements that may stand only once, or only first, and do not; a map cannot hold them.
    #[serde(skip)]
    pub strays: Vec<Stray>,
}

/// Rules and limits for one platform only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Platforms {
    /// What holds on Linux only.
    #[serde(default, skip_serializing_if = "Block::is_empty")]
    pub linux: Block,
    /// What holds on macOS only.
    #[serde(default, skip_serializing_if = "Block::is_empty")]
    pub macos: Block,
}

/// The JSON Schema of a policy in YAML or JSON, generated from these types.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    without_null(&mut schema);
    schema
}

/// Takes `null` out of what an optional member may be: what is not said is left out.
fn without_null(schema: &mut serde_json::Value) {
    let null = serde_json::json!("null");
    match schema {
        serde_json::Value::Object(members) => {
            if let Some(serde_json::Value::Array(types)) = members.get_mut("type") {
                types.retain(|one| *one != null);
            }
            if let Some(serde_json::Value::Array(forms)) = members.get_mut("anyOf") {
                forms.retain(|form| form.get("type") != Some(&null));
            }
            members.values_mut().for_each(without_null);
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

impl Platforms {
    /// Whether neither says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.linux.is_empty() && self.macos.is_empty()
    }
}

/// The rules and limits of one platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// The limits.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

impl Block {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.limits.is_empty()
    }
}

/// A statement of a text that may not stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// `fence 1` behind another statement.
    VersionNotFirst(Span),
    /// A second `policy`.
    SecondPolicy {
        /// The second.
        span: Span,
        /// The first.
        first: Span,
    },
}
