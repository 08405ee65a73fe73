//! Everything else that a policy states: includes, variables, secrets, settings, limits, proxies.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fence_grammar::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rule::unplaced;
use super::spanned::present;
use super::{Clause, LimitKind, Note, OneOrMany, Spanned};

/// The rules of another policy, less those that are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "IncludeForm", into = "IncludeForm")]
pub struct Include {
    /// A built-in name, `user`, or a path relative to the including file.
    pub policy: Spanned<String>,
    /// The labels left out.
    pub without: Vec<Spanned<String>>,
    /// `as` and `because`.
    pub note: Note,
    /// The whole statement.
    pub span: Span,
}

impl JsonSchema for Include {
    fn schema_name() -> Cow<'static, str> {
        "Include".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        IncludeForm::json_schema(generator)
    }
}

/// An included policy: its name or path, or that with what is left out of it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum IncludeForm {
    Whole(String),
    Less(IncludeLess),
}

/// An included policy with what is left out of it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct IncludeLess {
    /// A built-in name, `user`, or a path relative to this file.
    policy: String,
    /// The labels of the rules left out, in it and in what it includes. Needs `because`.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    without: OneOrMany<String>,
    /// The label.
    #[serde(default, rename = "as", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The reason, for the reader.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

impl From<IncludeForm> for Include {
    fn from(form: IncludeForm) -> Include {
        let form = match form {
            IncludeForm::Whole(policy) => {
                IncludeLess { policy, without: OneOrMany::default(), label: None, because: None }
            }
            IncludeForm::Less(less) => less,
        };
        Include {
            policy: unplaced(form.policy),
            without: form.without.0.into_iter().map(unplaced).collect(),
            note: Note { label: form.label.map(unplaced), because: form.because.map(unplaced) },
            span: Span::NONE,
        }
    }
}

impl From<Include> for IncludeForm {
    fn from(include: Include) -> IncludeForm {
        let (label, because) = texts(include.note);
        if include.without.is_empty() && label.is_none() && because.is_none() {
            return IncludeForm::Whole(include.policy.node);
        }
        let without = OneOrMany(include.without.into_iter().map(|label| label.node).collect());
        IncludeForm::Less(IncludeLess { policy: include.policy.node, without, label, because })
    }
}

/// What the command sees a placeholder of, and where the proxy may put the value in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SecretForm", into = "SecretForm")]
pub struct Secret {
    /// What holds the placeholder.
    pub holder: SecretHolder,
    /// Where the value may go.
    pub to: Vec<Spanned<String>>,
    /// `as` and `because`.
    pub note: Note,
    /// The whole statement.
    pub span: Span,
}

/// What holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretHolder {
    /// An environment variable.
    Env(Spanned<String>),
    /// A file.
    File(Spanned<String>),
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = SecretForm::json_schema(generator);
        schema.insert(
            "oneOf".to_owned(),
            serde_json::json!([{ "required": ["env"] }, { "required": ["file"] }]),
        );
        schema
    }
}

/// A secret: exactly one of `env` and `file`, and where its value may go, over TLS.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"env": "ANTHROPIC_API_KEY", "to": ["api.anthropic.com:443"]}))]
struct SecretForm {
    /// The environment variable that holds a placeholder.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    /// The file that holds a placeholder.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The hosts the value may go to; port 443 where none is written.
    to: OneOrMany<String>,
    /// The label.
    #[serde(default, rename = "as", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The reason, for the reader.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

impl TryFrom<SecretForm> for Secret {
    type Error = &'static str;

    fn try_from(form: SecretForm) -> Result<Secret, &'static str> {
        let holder = match (form.env, form.file) {
            (Some(name), None) => SecretHolder::Env(unplaced(name)),
            (None, Some(path)) => SecretHolder::File(unplaced(path)),
            _ => return Err("a secret has exactly one of `env` and `file`"),
        };
        Ok(Secret {
            holder,
            to: form.to.0.into_iter().map(unplaced).collect(),
            note: Note { label: form.label.map(unplaced), because: form.because.map(unplaced) },
            span: Span::NONE,
        })
    }
}

impl From<Secret> for SecretForm {
    fn from(secret: Secret) -> SecretForm {
        let (env, file) = match secret.holder {
            SecretHolder::Env(name) => (Some(name.node), None),
            SecretHolder::File(path) => (None, Some(path.node)),
        };
        let (label, because) = texts(secret.note);
        SecretForm {
            env,
            file,
            to: OneOrMany(secret.to.into_iter().map(|host| host.node).collect()),
            label,
            because,
        }
    }
}

/// A variable of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Let {
    /// Its name, without `$`.
    pub name: Spanned<String>,
    /// Its value.
    pub value: Spanned<String>,
    /// The whole statement.
    pub span: Span,
}

/// The variables of a file; in YAML and JSON a map from name to value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lets(pub Vec<Let>);

impl Lets {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Lets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|one| (&one.name.node, &one.value.node)))
    }
}

impl<'de> Deserialize<'de> for Lets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lets, D::Error> {
        let map = BTreeMap::<String, String>::deserialize(deserializer)?;
        let one = |(name, value)| Let { name: unplaced(name), value: unplaced(value), span: Span::NONE };
        Ok(Lets(map.into_iter().map(one).collect()))
    }
}

impl JsonSchema for Lets {
    fn schema_name() -> Cow<'static, str> {
        "Lets".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Variables of this file: a name of `a-z`, digits and `_`, and its value, which may begin with a variable.",
            "propertyNames": { "pattern": "^[a-z][a-z0-9_]*$" },
            "additionalProperties": { "type": "string" },
            "examples": [{ "state": "~/.local/state/agent" }]
        })
    }
}

/// A variable set for the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: Spanned<String>,
    /// Its value.
    pub value: Spanned<String>,
    /// `as` and `because`.
    pub note: Note,
    /// The whole statement.
    pub span: Span,
}

/// The variables set for the command; in YAML and JSON a map by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets(pub Vec<Set>);

/// A value set for the command: its text, or that with a label and a reason.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum SetForm {
    Plain(String),
    Noted(SetNoted),
}

/// A value with a label and a reason.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct SetNoted {
    /// The value, which may hold variables.
    value: String,
    /// The label.
    #[serde(default, rename = "as", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The reason, for the reader.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

impl Sets {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Sets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = |set: &Set| {
            let (label, because) = texts(set.note.clone());
            let value = set.value.node.clone();
            let form = match (&label, &because) {
                (None, None) => SetForm::Plain(value),
                _ => SetForm::Noted(SetNoted { value, label, because }),
            };
            (set.name.node.clone(), form)
        };
        grouped(self.0.iter().map(form)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sets, D::Error> {
        let map = BTreeMap::<String, OneOrMany<SetForm>>::deserialize(deserializer)?;
        Ok(Sets(
            ungrouped(map)
                .map(|(name, form)| {
                    let form = match form {
                        SetForm::Plain(value) => SetNoted { value, label: None, because: None },
                        SetForm::Noted(noted) => noted,
                    };
                    Set {
                        name: unplaced(name),
                        value: unplaced(form.value),
                        note: Note { label: form.label.map(unplaced), because: form.because.map(unplaced) },
                        span: Span::NONE,
                    }
                })
                .collect(),
        ))
    }
}

impl JsonSchema for Sets {
    fn schema_name() -> Cow<'static, str> {
        "Sets".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = OneOrMany::<SetForm>::json_schema(generator);
        json_schema!({
            "type": "object",
            "description": "Environment variables set for the command, by name.",
            "additionalProperties": value,
            "examples": [{ "CI": "1" }]
        })
    }
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is limited.
    pub kind: Spanned<LimitKind>,
    /// The number with its unit.
    pub value: Spanned<String>,
    /// `best-effort`, if its author accepts that.
    pub accept: Vec<Spanned<Clause>>,
    /// `as` and `because`.
    pub note: Note,
    /// The whole statement.
    pub span: Span,
}

/// The limits; in YAML and JSON a map by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(pub Vec<Limit>);

/// A limit's value: a number with its unit, or that with what goes with it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum LimitForm {
    Plain(String),
    Noted(LimitNoted),
}

/// A limit's value with what goes with it.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct LimitNoted {
    /// The number with its unit.
    value: String,
    /// What weaker enforcement is accepted.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    accept: OneOrMany<Clause>,
    /// The label.
    #[serde(default, rename = "as", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The reason, for the reader.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

impl Limits {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let form = |limit: &Limit| {
            let (label, because) = texts(limit.note.clone());
            let accept = OneOrMany(limit.accept.iter().map(|clause| clause.node).collect::<Vec<_>>());
            let value = limit.value.node.clone();
            let form = match (accept.is_empty(), &label, &because) {
                (true, None, None) => LimitForm::Plain(value),
                _ => LimitForm::Noted(LimitNoted { value, accept, label, because }),
            };
            (limit.kind.node, form)
        };
        grouped(self.0.iter().map(form)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
        let map = BTreeMap::<LimitKind, OneOrMany<LimitForm>>::deserialize(deserializer)?;
        Ok(Limits(
            ungrouped(map)
                .map(|(kind, form)| {
                    let form = match form {
                        LimitForm::Plain(value) => {
                            LimitNoted { value, accept: OneOrMany::default(), label: None, because: None }
                        }
                        LimitForm::Noted(noted) => noted,
                    };
                    Limit {
                        kind: unplaced(kind),
                        value: unplaced(form.value),
                        accept: form.accept.0.into_iter().map(unplaced).collect(),
                        note: Note { label: form.label.map(unplaced), because: form.because.map(unplaced) },
                        span: Span::NONE,
                    }
                })
                .collect(),
        ))
    }
}

impl JsonSchema for Limits {
    fn schema_name() -> Cow<'static, str> {
        "Limits".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = OneOrMany::<LimitForm>::json_schema(generator);
        let properties: serde_json::Map<String, serde_json::Value> =
            LimitKind::ALL.iter().map(|kind| (kind.word().to_owned(), value.clone().to_value())).collect();
        json_schema!({
            "type": "object",
            "description": "Limits by kind. Times: `s`, `m`, `h`; sizes: `KiB`, `MiB`, `GiB`; the rest are counts.",
            "properties": properties,
            "additionalProperties": false,
            "examples": [{ "time": "30m", "memory": "4GiB" }]
        })
    }
}

/// A proxy that fence itself dials through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({"url": "http://proxy.example:3128"}))]
pub struct Upstream {
    /// Its address: `http`, `https` or `socks5`.
    pub url: Spanned<String>,
    /// The names dialled through it; none: all.
    #[serde(default, rename = "for", skip_serializing_if = "OneOrMany::is_empty")]
    pub hosts: OneOrMany<Spanned<String>>,
    /// The whole statement.
    #[serde(skip, default = "nowhere")]
    pub span: Span,
}

/// The place of what stands in no text.
pub(super) fn nowhere() -> Span {
    Span::NONE
}

fn texts(note: Note) -> (Option<String>, Option<String>) {
    (note.label.map(|label| label.node), note.because.map(|because| because.node))
}

fn grouped<K: Ord, V>(pairs: impl Iterator<Item = (K, V)>) -> BTreeMap<K, OneOrMany<V>> {
    let mut map: BTreeMap<K, OneOrMany<V>> = BTreeMap::new();
    for (key, value) in pairs {
        map.entry(key).or_default().0.push(value);
    }
    map
}

fn ungrouped<K: Clone, V>(map: BTreeMap<K, OneOrMany<V>>) -> impl Iterator<Item = (K, V)> {
    map.into_iter().flat_map(|(key, values)| values.0.into_iter().map(move |value| (key.clone(), value)))
}
