//! What data is made of, with its places.

use fence_grammar::Span;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands; of a block, from its first to its last member.
    pub span: Span,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A text, or what YAML takes for another kind of scalar.
    Text(String, Style),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order it is written in; each key once.
    Map(Vec<(Node, Node)>),
    /// Something that was told as a mistake already.
    Told,
}

/// Whether quotes stand around a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// None: YAML may take it for something other than text.
    Plain,
    /// Quotes, or the sign of a block of text.
    Quoted,
}

impl Node {
    /// What it is, for a message.
    pub(super) fn noun(&self) -> &'static str {
        match &self.kind {
            Kind::Text(..) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Told => "nothing",
        }
    }
}
