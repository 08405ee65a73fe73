//! The state of one reading, and the small shapes that statements are made of.

use fence_grammar::tree::{Note, Quoting, Text};
use fence_grammar::{LeftOut, Name, Span, Spanned, SyntaxError, SyntaxErrorKind, did_you_mean};

use super::node::{Kind, Node, Style};
use super::{Plain, error, helped, plain, quote, shown};

/// What is read, and what was wrong with it so far.
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) errors: Vec<SyntaxError>,
    pub(super) left_out: LeftOut,
}

/// A member of a map: its key among the known ones, and both places.
pub(super) struct Field<'n> {
    pub(super) key: &'static str,
    pub(super) at: Span,
    pub(super) value: &'n Node,
}

/// The members of a map.
pub(super) struct Fields<'n> {
    pub(super) list: Vec<Field<'n>>,
    /// Whether each key was known.
    pub(super) keys: Keys,
    /// The whole map.
    pub(super) span: Span,
}

/// Whether each key of a map was known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Each.
    Known,
    /// Not each: what seems missing may be what was misspelt.
    Mistaken,
}

impl<'n> Fields<'n> {
    /// The member with this key.
    pub(super) fn get(&self, key: &str) -> Option<&Field<'n>> {
        self.list.iter().find(|field| field.key == key)
    }

    /// The value with this key.
    pub(super) fn value(&self, key: &str) -> Option<&'n Node> {
        self.get(key).map(|field| field.value)
    }
}

impl<'t> Reader<'t> {
    /// A reader of this text.
    pub(super) fn new(text: &'t str) -> Reader<'t> {
        Reader { text, errors: Vec::new(), left_out: LeftOut::default() }
    }

    /// Tells a mistake.
    pub(super) fn tell(&mut self, kind: SyntaxErrorKind, span: Span, message: impl Into<String>, help: &str) {
        self.errors.push(helped(kind, span, message, help));
    }

    /// Tells that something else must stand here.
    pub(super) fn shape(&mut self, node: &Node, what: &str, help: &str) {
        if node.kind != Kind::Told {
            let message = format!("{what} must stand here, not {}", node.noun());
            self.tell(SyntaxErrorKind::WrongShape, node.span, message, help);
        }
    }

    /// Reads a statement; where anything in it is wrong it is left out as a whole, with what it would have made known.
    pub(super) fn whole<T>(
        &mut self,
        node: &Node,
        read: impl FnOnce(&mut Reader<'t>) -> Option<T>,
    ) -> Option<T> {
        let before = self.errors.len();
        let value = read(self);
        let told = node.kind == Kind::Told || holds_told(node);
        if self.errors.len() == before && !told {
            return value;
        }
        self.leave_out(node);
        None
    }

    fn leave_out(&mut self, node: &Node) {
        if let Kind::Map(pairs) = &node.kind {
            for (key, value) in pairs {
                if let (Kind::Text(key, _), Kind::Text(label, _)) = (&key.kind, &value.kind)
                    && key == "as"
                {
                    self.left_out.labels.insert(label.clone());
                }
            }
        }
    }

    /// The members of a map that has no keys but these.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &'static [&'static str],
    ) -> Option<Fields<'n>> {
        let Kind::Map(pairs) = &node.kind else {
            let keys = known.join("`, `");
            self.shape(node, &format!("{what}, which is a map,"), &format!("its keys are `{keys}`"));
            return None;
        };
        let mut list = Vec::new();
        let before = self.errors.len();
        for (key, value) in pairs {
            let Kind::Text(text, _) = &key.kind else {
                self.shape(key, "a key, which is a text,", "write `key: value`");
                continue;
            };
            if let Some(key_known) = known.iter().find(|known| *known == text) {
                list.push(Field { key: key_known, at: key.span, value });
                continue;
            }
            if text == "<<" {
                self.tell(
                    SyntaxErrorKind::ForeignFeature,
                    key.span,
                    "a policy has no merge keys (`<<`)",
                    "write the members out, or `include` a policy that holds them",
                );
                continue;
            }
            let message = format!("`{}` is no key of {what}", shown(text));
            let near = did_you_mean(text, known.iter().copied());
            let mut told = match near {
                Some(near) => {
                    error(SyntaxErrorKind::UnknownKey, key.span, format!("{message}; did you mean `{near}`?"))
                }
                None => helped(
                    SyntaxErrorKind::UnknownKey,
                    key.span,
                    message,
                    format!("its keys are `{}`", known.join("`, `")),
                ),
            };
            told.repair = near.map(|near| (key.span, near.to_owned()));
            self.errors.push(told);
            // What stands below it may have made any name known.
            self.left_out.unlisted.get_or_insert(key.span.to(value.span));
        }
        let keys = if self.errors.len() == before { Keys::Known } else { Keys::Mistaken };
        Some(Fields { list, keys, span: node.span })
    }

    /// The members of a map whose keys the policy chooses.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(Text, &'n Node)> {
        let Kind::Map(pairs) = &node.kind else {
            self.shape(node, &format!("{what}, which is a map,"), "write `NAME: VALUE`, one a line");
            return Vec::new();
        };
        pairs.iter().filter_map(|(key, value)| Some((self.string(key)?, value))).collect()
    }

    /// A list; anything else is told.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.kind {
            Kind::List(list) => list,
            _ => {
                self.shape(node, &format!("a list of {what}"), "each begins with `- ` on a line of its own");
                &[]
            }
        }
    }

    /// A list, or its only member in its place.
    pub(super) fn one_or_many<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.kind {
            Kind::List(list) if list.is_empty() => {
                self.tell(
                    SyntaxErrorKind::WrongShape,
                    node.span,
                    format!("a list of {what} has at least one"),
                    "leave the key out where there is none",
                );
                &[]
            }
            Kind::List(list) => list,
            Kind::Told => &[],
            _ => std::slice::from_ref(node),
        }
    }

    /// A text: what YAML takes for anything else needs quotes.
    pub(super) fn string(&mut self, node: &Node) -> Option<Text> {
        let Kind::Text(text, style) = &node.kind else {
            self.shape(node, "a text", "write one value here");
            return None;
        };
        let taken = match (style, plain(text)) {
            (Style::Quoted, _) | (_, Plain::Text) => {
                return Some(Text { text: text.clone(), quoting: Quoting::Quoted, span: node.span });
            }
            (_, Plain::Null) => "nothing",
            (_, Plain::Truth) => "a truth value",
            (_, Plain::Number) => "a number",
            (_, Plain::Sign) => "a sign of its own",
        };
        let written = self.text.get(node.span.range()).unwrap_or_default();
        if text.is_empty() {
            self.tell(
                SyntaxErrorKind::WrongShape,
                node.span,
                "a value must stand here",
                "write one, or leave the key out; a text without any character is `\"\"`",
            );
            return None;
        }
        let mut told = helped(
            SyntaxErrorKind::QuotesNeeded,
            node.span,
            format!("YAML takes `{}` for {taken}: quote it", shown(written)),
            format!("write `{}`", shown(&quote(text))),
        );
        told.repair = Some((node.span, quote(text)));
        self.errors.push(told);
        None
    }

    /// Texts, or the only one.
    pub(super) fn strings(&mut self, node: Option<&Node>, what: &str) -> Vec<Text> {
        let Some(node) = node else { return Vec::new() };
        self.one_or_many(node, what).iter().filter_map(|one| self.string(one)).collect()
    }

    /// A name.
    pub(super) fn name(&mut self, text: Text, what: Name) -> Option<Spanned<String>> {
        if what.accepts(&text.text) {
            return Some(Spanned::new(text.text, text.span));
        }
        let (noun, characters) = what.described();
        let mut told = error(
            SyntaxErrorKind::InvalidName,
            text.span,
            format!("`{}` is no {noun}; use {characters}, beginning with a letter", shown(&text.text)),
        );
        told.repair = what.mended(&text.text).map(|mended| (text.span, mended));
        self.errors.push(told);
        None
    }

    /// Labels, or the only one.
    pub(super) fn labels(&mut self, node: Option<&Node>) -> Vec<Spanned<String>> {
        let texts = self.strings(node, "labels");
        texts.into_iter().filter_map(|text| self.name(text, Name::Label)).collect()
    }

    /// A word of a closed set.
    pub(super) fn known<T: Copy>(
        &mut self,
        node: &Node,
        (kind, what): (SyntaxErrorKind, &str),
        all: &[T],
        word: impl Fn(T) -> &'static str,
    ) -> Option<Spanned<T>> {
        let text = self.string(node)?;
        if let Some(value) = all.iter().copied().find(|value| word(*value) == text.text) {
            return Some(Spanned::new(value, node.span));
        }
        let words: Vec<&str> = all.iter().map(|value| word(*value)).collect();
        let message = format!("`{}` is no {what}", shown(&text.text));
        let mut told = match did_you_mean(&text.text, words.iter().copied()) {
            Some(near) => {
                let mut told = error(kind, node.span, format!("{message}; did you mean `{near}`?"));
                told.repair = Some((node.span, near.to_owned()));
                told
            }
            None => helped(kind, node.span, message, format!("write one of `{}`", words.join("`, `"))),
        };
        told.label = None;
        self.errors.push(told);
        None
    }

    /// `as` and `because`.
    pub(super) fn note(&mut self, fields: &Fields<'_>) -> Note {
        let label = fields.value("as").and_then(|node| self.string(node));
        let label = label.and_then(|text| self.name(text, Name::Label));
        Note { label, because: fields.value("because").and_then(|node| self.string(node)) }
    }
}

/// Whether something in it was told as a mistake when it was read.
fn holds_told(node: &Node) -> bool {
    match &node.kind {
        Kind::Told => true,
        Kind::Text(..) => false,
        Kind::List(list) => list.iter().any(holds_told),
        Kind::Map(pairs) => pairs.iter().any(|(key, value)| holds_told(key) || holds_told(value)),
    }
}
