//! Rules.

use fence_grammar::Span;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::spanned::present;
use super::{Action, Effect, OneOrMany, Spanned};

/// A rule: an effect, actions, items, and what it leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RuleForm", into = "RuleForm")]
pub struct Rule {
    /// `allow`, `deny` or `never`.
    pub effect: Spanned<Effect>,
    /// The actions.
    pub actions: Vec<Spanned<Action>>,
    /// What it is about; empty for `tty` only.
    pub items: Vec<Spanned<String>>,
    /// What it is not about.
    pub except: Vec<Spanned<String>>,
    /// What enforcement its author accepts.
    pub accept: Vec<Spanned<Clause>>,
    /// `as` and `because`.
    pub note: Note,
    /// The whole statement.
    pub span: Span,
}

impl JsonSchema for Rule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rule".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> Schema {
        let mut schema = RuleForm::json_schema(generator);
        schema.insert(
            "oneOf".to_owned(),
            serde_json::json!([{ "required": ["allow"] }, { "required": ["deny"] }, { "required": ["never"] }]),
        );
        schema
    }
}

/// A clause that accepts a weaker enforcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clause {
    /// Weaker enforcement where the target cannot do better.
    BestEffort,
    /// The cheaper enforcement where exactness costs speed: on `deny` of `read` or `write` by pattern, and of `run`.
    Cheaply,
}

impl Clause {
    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Clause::BestEffort => "best-effort",
            Clause::Cheaply => "cheaply",
        }
    }
}

/// A label and a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The label, by which `without`, `by` and messages name the statement.
    pub label: Option<Spanned<String>>,
    /// The reason.
    pub because: Option<Spanned<String>>,
}

/// One rule: exactly one of `allow`, `deny`, `never`, and its items.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    example = serde_json::json!({"allow": ["read", "write"], "items": ["$workspace", "$tmp"]}),
    example = serde_json::json!({"deny": "run", "items": ["git push"], "accept": "best-effort", "because": "a person releases"})
)]
struct RuleForm {
    /// Opens these actions for the items.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    allow: Option<OneOrMany<Action>>,
    /// Closes them.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    deny: Option<OneOrMany<Action>>,
    /// Closes them, and no `without` drops it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    never: Option<OneOrMany<Action>>,
    /// What the rule is about; none for `tty`.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    items: OneOrMany<ItemForm>,
    /// What it is not about. It only shrinks this rule.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    except: OneOrMany<ItemForm>,
    /// What weaker enforcement is accepted; on `deny` only.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    accept: OneOrMany<Clause>,
    /// The label.
    #[serde(default, rename = "as", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// The reason, for the reader.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

/// An item: text, or a port as a number.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum ItemForm {
    Text(String),
    Port(u16),
}

impl TryFrom<RuleForm> for Rule {
    type Error = &'static str;

    fn try_from(form: RuleForm) -> Result<Rule, &'static str> {
        let (effect, actions) = match (form.allow, form.deny, form.never) {
            (Some(actions), None, None) => (Effect::Allow, actions),
            (None, Some(actions), None) => (Effect::Deny, actions),
            (None, None, Some(actions)) => (Effect::Never, actions),
            _ => return Err("a rule has exactly one of `allow`, `deny` and `never`"),
        };
        if actions.is_empty() {
            return Err("a rule names at least one action");
        }
        Ok(Rule {
            effect: unplaced(effect),
            actions: actions.0.into_iter().map(unplaced).collect(),
            items: form.items.0.into_iter().map(ItemForm::text).collect(),
            except: form.except.0.into_iter().map(ItemForm::text).collect(),
            accept: form.accept.0.into_iter().map(unplaced).collect(),
            note: Note { label: form.label.map(unplaced), because: form.because.map(unplaced) },
            span: Span::NONE,
        })
    }
}

impl From<Rule> for RuleForm {
    fn from(rule: Rule) -> RuleForm {
        let actions = OneOrMany(rule.actions.into_iter().map(|action| action.node).collect());
        let (allow, deny, never) = match rule.effect.node {
            Effect::Allow => (Some(actions), None, None),
            Effect::Deny => (None, Some(actions), None),
            Effect::Never => (None, None, Some(actions)),
        };
        let items = |list: Vec<Spanned<String>>| {
            OneOrMany(list.into_iter().map(|item| ItemForm::Text(item.node)).collect())
        };
        RuleForm {
            allow,
            deny,
            never,
            items: items(rule.items),
            except: items(rule.except),
            accept: OneOrMany(rule.accept.into_iter().map(|clause| clause.node).collect()),
            label: rule.note.label.map(|label| label.node),
            because: rule.note.because.map(|because| because.node),
        }
    }
}

impl ItemForm {
    fn text(self) -> Spanned<String> {
        unplaced(match self {
            ItemForm::Text(text) => text,
            ItemForm::Port(port) => port.to_string(),
        })
    }
}

/// A value that stands in no text.
pub(super) fn unplaced<T>(node: T) -> Spanned<T> {
    Spanned::new(node, Span::NONE)
}
