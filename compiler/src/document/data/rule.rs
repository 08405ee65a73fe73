//! Rules.

use fence_grammar::tree::{Action, Effect, Quoting, Rule, Text};
use fence_grammar::{Span, Spanned, SyntaxErrorKind};

use super::node::{Kind, Node, Style};
use super::reader::{Fields, Keys, Reader};
use crate::document::Clause;

/// What a rule accepts, each with its place.
#[derive(Default)]
pub(super) struct Accepted {
    pub(super) best_effort: Option<Span>,
    pub(super) cheaply: Option<Span>,
}

impl Reader<'_> {
    /// Reads a rule.
    pub(super) fn rule(&mut self, node: &Node) -> Option<Rule> {
        let fields = self.fields(
            node,
            "a rule",
            &["allow", "deny", "never", "items", "except", "accept", "as", "because"],
        )?;
        let (effect, actions) = self.effect(&fields)?;
        let items = self.items(fields.value("items"));
        if items.is_empty()
            && fields.get("items").is_none()
            && fields.keys == Keys::Known
            && !actions.iter().any(|a| a.node == Action::Tty)
        {
            self.tell(
                SyntaxErrorKind::MissingItem,
                effect.span,
                "`items` must say what this rule is about",
                "add `items: …`",
            );
        }
        let except = self.items(fields.value("except"));
        let Accepted { best_effort, cheaply } = self.accepted(fields.value("accept"));
        let note = self.note(&fields);
        Some(Rule { effect, actions, items, except, best_effort, cheaply, note })
    }

    /// The one of `allow`, `deny` and `never`, with its actions.
    fn effect(&mut self, fields: &Fields<'_>) -> Option<(Spanned<Effect>, Vec<Spanned<Action>>)> {
        let mut stated = fields.list.iter().filter_map(|field| Some((Effect::from_word(field.key)?, field)));
        let Some((effect, field)) = stated.next() else {
            if fields.keys == Keys::Mistaken {
                return None;
            }
            self.tell(
                SyntaxErrorKind::WrongShape,
                fields.span,
                "a rule has one of `allow`, `deny` and `never`, and this one has none",
                "write for example `allow: read`",
            );
            return None;
        };
        if let Some((_, second)) = stated.next() {
            self.tell(
                SyntaxErrorKind::WrongShape,
                second.at,
                format!(
                    "a rule has one of `allow`, `deny` and `never`, and this one says `{}` too",
                    second.key
                ),
                "write a rule for each",
            );
            return None;
        }
        let what = (SyntaxErrorKind::UnknownAction, "action");
        let nodes = self.one_or_many(field.value, "actions");
        let actions: Vec<Spanned<Action>> =
            nodes.iter().filter_map(|node| self.known(node, what, Action::ALL, Action::word)).collect();
        (!actions.is_empty()).then(|| (Spanned::new(effect, field.at), actions))
    }

    /// Items: texts, and ports as numbers.
    fn items(&mut self, node: Option<&Node>) -> Vec<Text> {
        let Some(node) = node else { return Vec::new() };
        let nodes = self.one_or_many(node, "items");
        nodes.iter().filter_map(|node| self.item(node)).collect()
    }

    fn item(&mut self, node: &Node) -> Option<Text> {
        match &node.kind {
            Kind::Text(text, Style::Plain) if is_port(text) => {
                Some(Text { text: text.clone(), quoting: Quoting::Quoted, span: node.span })
            }
            _ => self.string(node),
        }
    }

    /// What weaker enforcement is accepted.
    pub(super) fn accepted(&mut self, node: Option<&Node>) -> Accepted {
        let mut accepted = Accepted::default();
        let Some(node) = node else { return accepted };
        let what = (SyntaxErrorKind::UnknownWord, "clause that accepts something");
        for node in self.one_or_many(node, "clauses") {
            let all = [Clause::BestEffort, Clause::Cheaply];
            let Some(clause) = self.known(node, what, &all, Clause::word) else { continue };
            let place = match clause.node {
                Clause::BestEffort => &mut accepted.best_effort,
                Clause::Cheaply => &mut accepted.cheaply,
            };
            if place.replace(clause.span).is_some() {
                self.tell(
                    SyntaxErrorKind::RepeatedClause,
                    clause.span,
                    format!("`{}` stands twice", clause.node.word()),
                    "leave one of them out",
                );
            }
        }
        accepted
    }
}

/// Whether a number is a port, written as every reader writes it.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port.to_string() == text)
}
