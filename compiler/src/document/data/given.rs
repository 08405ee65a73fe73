//! Tests: their worlds and what they expect.

use fence_grammar::tree::{Action, Expect, Given, PlatformName, Test, Verdict};
use fence_grammar::{Name, Spanned, SyntaxErrorKind};

use super::node::Node;
use super::reader::Reader;

impl Reader<'_> {
    /// Reads a test. A line that is wrong costs that line.
    pub(super) fn test(&mut self, node: &Node) -> Option<Test> {
        let fields = self.fields(node, "a test", &["name", "given", "expect"])?;
        let Some(name) = fields.value("name") else {
            self.tell(
                SyntaxErrorKind::IncompleteStatement,
                node.span,
                "a test needs a name",
                "add `name: …`",
            );
            return None;
        };
        let name = self.string(name)?;
        let given = fields.value("given").map(|node| self.given(node)).unwrap_or_default();
        let mut expect = Vec::new();
        let lines = fields.value("expect").map(|node| self.list(node, "expectations"));
        for line in lines.unwrap_or_default() {
            let read = self.whole(line, |reader| reader.expect(line));
            expect.extend(read.map(|read| Spanned::new(read, line.span)));
        }
        Some(Test { name, given, expect })
    }

    fn given(&mut self, node: &Node) -> Vec<Spanned<Given>> {
        let mut given = Vec::new();
        let Some(fields) = self.fields(node, "a test's world", &["variables", "links", "hosts", "platform"])
        else {
            return given;
        };
        for field in &fields.list {
            match field.key {
                "variables" => {
                    for (name, node) in self.entries(field.value, "`variables`") {
                        let place = name.span.to(node.span);
                        let value = self.string(node);
                        let name = Spanned::new(name.text, name.span);
                        given.extend(value.map(|value| Spanned::new(Given::Variable { name, value }, place)));
                    }
                }
                "links" => {
                    for (from, node) in self.entries(field.value, "`links`") {
                        let place = from.span.to(node.span);
                        let to = self.string(node);
                        given.extend(to.map(|to| Spanned::new(Given::Link { from, to }, place)));
                    }
                }
                "hosts" => {
                    for (name, node) in self.entries(field.value, "`hosts`") {
                        let place = name.span.to(node.span);
                        let addresses = self.strings(Some(node), "addresses");
                        given.push(Spanned::new(Given::Host { name, addresses }, place));
                    }
                }
                _ => {
                    let what = (SyntaxErrorKind::UnknownWord, "platform");
                    let known = self.known(field.value, what, PlatformName::ALL, PlatformName::word);
                    let place = field.at.to(field.value.span);
                    given.extend(known.map(|known| Spanned::new(Given::Platform(known), place)));
                }
            }
        }
        given
    }

    fn expect(&mut self, node: &Node) -> Option<Expect> {
        let fields = self.fields(node, "an expectation", &["allow", "deny", "item", "by"])?;
        let (verdict, field) = match (fields.get("allow"), fields.get("deny")) {
            (Some(field), None) => (Verdict::Allow, field),
            (None, Some(field)) => (Verdict::Deny, field),
            _ => {
                self.tell(
                    SyntaxErrorKind::WrongShape,
                    node.span,
                    "an expectation has exactly one of `allow` and `deny`",
                    "write for example `{deny: read, item: ~/.ssh/id_ed25519}`",
                );
                return None;
            }
        };
        let what = (SyntaxErrorKind::UnknownAction, "action");
        let action = self.known(field.value, what, Action::ALL, Action::word)?;
        let item = fields.value("item").and_then(|node| self.string(node));
        if item.is_none() && fields.get("item").is_none() && action.node != Action::Tty {
            self.tell(
                SyntaxErrorKind::MissingItem,
                action.span,
                format!("`{}` asks about an item", action.node),
                "add `item: …`",
            );
        }
        let by = self.strings(fields.value("by"), "labels");
        let by = by.into_iter().filter_map(|text| self.name(text, Name::Label)).collect();
        Some(Expect { verdict: Spanned::new(verdict, field.at), action, item, by })
    }
}
