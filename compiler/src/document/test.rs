//! Tests inside a policy.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fence_grammar::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::rule::unplaced;
use super::settings::nowhere;
use super::spanned::present;
use super::{Action, OneOrMany, PlatformName, Spanned, Verdict};

/// Questions with the answers they must get, in a world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({
    "name": "credentials",
    "given": {"variables": {"home": "/home/ada"}},
    "expect": [{"deny": "read", "item": "~/.ssh/id_ed25519", "by": "secrets"}]
}))]
pub struct Test {
    /// Its name.
    pub name: Spanned<String>,
    /// The world; what is not given has the values that the language states.
    #[serde(default, skip_serializing_if = "Given::is_empty")]
    pub given: Given,
    /// The questions.
    pub expect: Vec<Expect>,
    /// The whole statement.
    #[serde(skip, default = "nowhere")]
    pub span: Span,
}

/// The world of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "GivenForm", into = "GivenForm")]
#[schemars(with = "GivenForm")]
pub struct Given {
    /// Values of variables.
    pub variables: Vec<GivenVariable>,
    /// Links.
    pub links: Vec<GivenLink>,
    /// Addresses of names.
    pub hosts: Vec<GivenHost>,
    /// The platform; none: both.
    pub platform: Vec<Spanned<PlatformName>>,
}

impl Given {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty()
            && self.links.is_empty()
            && self.hosts.is_empty()
            && self.platform.is_empty()
    }
}

/// `given $x = VALUE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenVariable {
    /// The name, without `$`.
    pub name: Spanned<String>,
    /// The value.
    pub value: Spanned<String>,
}

/// `given link A -> B`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenLink {
    /// Where it stands.
    pub from: Spanned<String>,
    /// What it holds.
    pub to: Spanned<String>,
}

/// `given host NAME = ADDRESS, …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenHost {
    /// The name.
    pub name: Spanned<String>,
    /// Its addresses.
    pub addresses: Vec<Spanned<String>>,
}

/// The world of a test.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GivenForm {
    /// Values of variables, by name without `$`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    variables: BTreeMap<String, String>,
    /// Links: where each stands, and what it holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    links: BTreeMap<String, String>,
    /// Addresses of names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hosts: BTreeMap<String, OneOrMany<String>>,
    /// The platform, if only one is meant.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    platform: Option<PlatformName>,
}

impl From<GivenForm> for Given {
    fn from(form: GivenForm) -> Given {
        let variable = |(name, value)| GivenVariable { name: unplaced(name), value: unplaced(value) };
        let link = |(from, to)| GivenLink { from: unplaced(from), to: unplaced(to) };
        let host = |(name, addresses): (String, OneOrMany<String>)| GivenHost {
            name: unplaced(name),
            addresses: addresses.0.into_iter().map(unplaced).collect(),
        };
        Given {
            variables: form.variables.into_iter().map(variable).collect(),
            links: form.links.into_iter().map(link).collect(),
            hosts: form.hosts.into_iter().map(host).collect(),
            platform: form.platform.into_iter().map(unplaced).collect(),
        }
    }
}

impl From<Given> for GivenForm {
    fn from(given: Given) -> GivenForm {
        let texts = |list: Vec<Spanned<String>>| OneOrMany(list.into_iter().map(|text| text.node).collect());
        GivenForm {
            variables: given.variables.into_iter().map(|v| (v.name.node, v.value.node)).collect(),
            links: given.links.into_iter().map(|link| (link.from.node, link.to.node)).collect(),
            hosts: given.hosts.into_iter().map(|host| (host.name.node, texts(host.addresses))).collect(),
            platform: given.platform.into_iter().next().map(|platform| platform.node),
        }
    }
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ExpectForm", into = "ExpectForm")]
pub struct Expect {
    /// The answer.
    pub verdict: Spanned<Verdict>,
    /// The action.
    pub action: Spanned<Action>,
    /// The concrete item; none for `tty`.
    pub item: Option<Spanned<String>>,
    /// The labels of rules that must be among those that decided.
    pub by: Vec<Spanned<String>>,
    /// The whole line.
    pub span: Span,
}

impl JsonSchema for Expect {
    fn schema_name() -> Cow<'static, str> {
        "Expect".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = ExpectForm::json_schema(generator);
        schema.insert(
            "oneOf".to_owned(),
            serde_json::json!([{ "required": ["allow"] }, { "required": ["deny"] }]),
        );
        schema
    }
}

/// One question and its answer: exactly one of `allow` and `deny`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExpectForm {
    /// The action that must be allowed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    allow: Option<Action>,
    /// The action that must be denied.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    deny: Option<Action>,
    /// The concrete item, without wildcards; none for `tty`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// The labels of rules that must be among those that decided.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    by: OneOrMany<String>,
}

impl TryFrom<ExpectForm> for Expect {
    type Error = &'static str;

    fn try_from(form: ExpectForm) -> Result<Expect, &'static str> {
        let (verdict, action) = match (form.allow, form.deny) {
            (Some(action), None) => (Verdict::Allow, action),
            (None, Some(action)) => (Verdict::Deny, action),
            _ => return Err("an expectation has exactly one of `allow` and `deny`"),
        };
        Ok(Expect {
            verdict: unplaced(verdict),
            action: unplaced(action),
            item: form.item.map(unplaced),
            by: form.by.0.into_iter().map(unplaced).collect(),
            span: Span::NONE,
        })
    }
}

impl From<Expect> for ExpectForm {
    fn from(expect: Expect) -> ExpectForm {
        let (allow, deny) = match expect.verdict.node {
            Verdict::Allow => (Some(expect.action.node), None),
            Verdict::Deny => (None, Some(expect.action.node)),
        };
        ExpectForm {
            allow,
            deny,
            item: expect.item.map(|item| item.node),
            by: OneOrMany(expect.by.into_iter().map(|label| label.node).collect()),
        }
    }
}
