//! From a text in YAML or JSON to its values, telling what a policy may not have.

use std::collections::BTreeMap;

use fence_grammar::print::Comment;
use fence_grammar::{Span, SyntaxError, SyntaxErrorKind};
use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Tag, options};

use super::node::{Kind, Node, Style};
use super::{Notation, error, helped, quote, shown};

/// The largest policy that is data.
pub const MOST_BYTES: usize = 10 * 1024 * 1024;

/// The most levels that its lists and maps go down.
pub const MOST_LEVELS: usize = 24;

/// Reads a text; `None` where there is nothing, or nothing of it can be understood, which is told.
pub(super) fn nodes(text: &str, notation: Notation, errors: &mut Vec<SyntaxError>) -> Option<Node> {
    if text.len() > MOST_BYTES {
        errors.push(helped(
            SyntaxErrorKind::NotData,
            Span::new(0..0),
            "a policy in YAML or JSON is at most 10 MiB large",
            "write it as several files that one includes, or as a `.fence` text",
        ));
        return None;
    }
    forbidden(text, errors);
    if !errors.is_empty() {
        return None;
    }
    if notation == Notation::Json
        && let Err(fault) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        errors.push(no_json(text, &fault));
        return None;
    }
    let mut tree = Tree { text, open: Vec::new(), root: None, errors };
    let options = options! {
        emit_comments: false,
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MOST_LEVELS,
        block_nesting_limit: MOST_LEVELS,
    };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((Event::DocumentStart(_, version), span)) => {
                documents += 1;
                let place = tree.place(&span);
                if version.is_some() {
                    tree.foreign(
                        place,
                        "a policy has no `%` lines",
                        "leave the lines that begin with `%` out",
                    );
                }
                if documents > 1 {
                    tree.foreign(
                        place,
                        "a file holds one policy, and here a second document begins",
                        "put it into a file of its own, and `include` that",
                    );
                    break;
                }
            }
            Ok((event, span)) => tree.event(event, &span),
            Err(fault) => {
                let told = tree.no_yaml(&fault);
                tree.errors.push(told);
                return None;
            }
        }
    }
    tree.root
}

/// The comments of a text that can be read, in their order.
pub(crate) fn comments(text: &str, notation: Notation) -> Vec<Comment> {
    if notation == Notation::Json {
        return Vec::new();
    }
    let options = options! {
        emit_comments: true,
        flow_nesting_limit: MOST_LEVELS,
        block_nesting_limit: MOST_LEVELS,
    };
    let mut places: Vec<Span> = Parser::new_from_str_with_options(text, options)
        .map_while(Result::ok)
        .filter(|(event, _)| matches!(event, Event::Comment(..)))
        .filter_map(|(_, span)| span.byte_range().map(Span::new))
        .collect();
    places.sort();
    places.into_iter().map(|place| Comment::at(text, place)).collect()
}

/// Tells every character that a reader cannot see, or sees wrongly.
fn forbidden(text: &str, errors: &mut Vec<SyntaxError>) {
    const MOST: usize = 50;
    let bad = text.char_indices().filter(|(at, c)| {
        let lone = *c == '\r' && text.as_bytes().get(at + 1) != Some(&b'\n');
        lone || fence_grammar::forbidden(*c, *at).is_some()
    });
    for (at, c) in bad.take(MOST) {
        let what = fence_grammar::forbidden(c, at).unwrap_or("a carriage return without a line feed");
        let code = u32::from(c);
        errors.push(helped(
            SyntaxErrorKind::ForbiddenCharacter,
            Span::new(at..at + c.len_utf8()),
            format!("{what} (U+{code:04X}) may not stand in a policy"),
            format!(
                "remove it; where it is meant, write {} in double quotes",
                quote(&c.to_string()).replace('"', "`")
            ),
        ));
    }
}

fn no_json(text: &str, fault: &serde_json::Error) -> SyntaxError {
    let start: usize = text.split_inclusive('\n').take(fault.line().saturating_sub(1)).map(str::len).sum();
    let mut at = (start + fault.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
    let message = fault.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    helped(
        SyntaxErrorKind::NotData,
        Span::new(at..end),
        format!("this is no JSON: {}", shown(message)),
        "JSON has no comments and no comma before a closing bracket; a `.yaml` file may have both",
    )
}

/// The values while they are being read.
struct Tree<'t, 'e> {
    text: &'t str,
    open: Vec<Open>,
    root: Option<Node>,
    errors: &'e mut Vec<SyntaxError>,
}

/// A list or a map that has not ended.
struct Open {
    start: Span,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { pairs: Vec<(Node, Node)>, key: Option<Node>, seen: BTreeMap<String, Span> },
}

impl Tree<'_, '_> {
    fn event(&mut self, event: Event<'_>, span: &granit_parser::Span) {
        let place = self.place(span);
        if let Some(tag) = event.tag() {
            let start = span.tag_start().and_then(|mark| mark.byte_offset());
            self.tag(tag, start.unwrap_or(place.start as usize), place);
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                let text = if place.start == place.end && style == Style::Plain {
                    String::new()
                } else {
                    text.into_owned()
                };
                self.put(Node { kind: Kind::Text(text, style), span: place });
            }
            Event::SequenceStart(..) => {
                self.open.push(Open { start: place, kind: OpenKind::List(Vec::new()) });
            }
            Event::MappingStart(..) => {
                let kind = OpenKind::Map { pairs: Vec::new(), key: None, seen: BTreeMap::new() };
                self.open.push(Open { start: place, kind });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(place),
            Event::Alias(_) => {
                self.foreign(place, "a policy has no aliases (`*name`)", "write the value out");
                self.put(Node { kind: Kind::Told, span: place });
            }
            Event::UnresolvedAlias(_) => {
                let told = self.star(place);
                self.errors.push(told);
                self.put(Node { kind: Kind::Told, span: place });
            }
            Event::Anchor(..) => {
                self.foreign(
                    place,
                    "a policy has no anchors (`&name`)",
                    "leave it out, and write each value out",
                );
            }
            _ => {}
        }
    }

    /// Adds a value where one is expected.
    fn put(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.kind {
            OpenKind::List(list) => list.push(node),
            OpenKind::Map { key: key @ None, .. } => *key = Some(node),
            OpenKind::Map { pairs, key, seen } => {
                let Some(key) = key.take() else { return };
                let Some(first) = (match &key.kind {
                    Kind::Text(text, _) => {
                        let first = seen.get(text).copied();
                        seen.entry(text.clone()).or_insert(key.span);
                        first
                    }
                    _ => None,
                }) else {
                    pairs.push((key, node));
                    return;
                };
                let line =
                    self.text.get(..first.start as usize).unwrap_or_default().matches('\n').count() + 1;
                let what = self.text.get(key.span.range()).unwrap_or_default();
                self.errors.push(helped(
                    SyntaxErrorKind::DuplicateKey,
                    key.span,
                    format!("`{}` stands twice in this map; it stands in line {line} already", shown(what)),
                    "put both values into one: a list where several may stand",
                ));
            }
        }
    }

    fn close(&mut self, end: Span) {
        let Some(open) = self.open.pop() else { return };
        let mut span = Span::NONE;
        let (kind, first, last) = match open.kind {
            OpenKind::List(list) => {
                let ends = (list.first().map(|node| node.span), list.last().map(|node| node.span));
                (Kind::List(list), ends.0, ends.1)
            }
            OpenKind::Map { pairs, .. } => {
                let ends = (pairs.first().map(|pair| pair.0.span), pairs.last().map(|pair| pair.1.span));
                (Kind::Map(pairs), ends.0, ends.1)
            }
        };
        // The brackets of a flow have a place of their own; a block has none but its members'.
        let brackets = end.end > end.start;
        for part in [first, last].into_iter().flatten().chain(brackets.then_some(open.start.to(end))) {
            span = span.to(part);
        }
        self.put(Node { kind, span: if span == Span::NONE { open.start } else { span } });
    }

    fn place(&self, span: &granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        // A block of text reaches to the line after it.
        let whole = self.text.get(range.clone()).unwrap_or_default();
        let end = if whole.contains('\n') { range.start + whole.trim_end().len() } else { range.end };
        Span::new(range.start..end.max(range.start))
    }

    fn foreign(&mut self, place: Span, message: &str, help: &str) {
        self.errors.push(helped(SyntaxErrorKind::ForeignFeature, place, message, help));
    }

    fn tag(&mut self, _: &Tag, start: usize, node: Span) {
        let rest = self.text.get(start..).unwrap_or_default();
        let length =
            rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(rest.len());
        let place = if length == 0 { node } else { Span::new(start..start + length) };
        let what = shown(self.text.get(place.range()).unwrap_or_default());
        self.foreign(
            place,
            &format!("a policy has no tags, and `{what}` is one"),
            "leave it out; a text that begins with `!` stands in quotes",
        );
    }

    /// Tells of a `*` that begins no text in YAML.
    fn star(&self, place: Span) -> SyntaxError {
        let text = self.text.get(place.range()).unwrap_or_default();
        let message = match text {
            "*" => "`*` is a sign of YAML: quote it".to_owned(),
            _ => format!("`{}` begins with `*`, which is a sign of YAML: quote it", shown(text)),
        };
        let mut told =
            helped(SyntaxErrorKind::QuotesNeeded, place, message, format!("write `{}`", shown(&quote(text))));
        told.repair = Some((place, quote(text)));
        told
    }

    /// Says why this is no YAML.
    fn no_yaml(&self, fault: &ScanError) -> SyntaxError {
        let at = fault.marker().byte_offset().unwrap_or(0).min(self.text.len());
        let rest = self.text.get(at..).unwrap_or_default();
        let token =
            rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(rest.len());
        let place = Span::new(at..at + token);
        match (fault.kind(), rest.chars().next()) {
            (ErrorKind::MissingAnchorOrAliasName, Some('*')) => self.star(place),
            (ErrorKind::UnexpectedCharacter { .. }, Some(sign @ ('@' | '`' | '%'))) => {
                let mut told = helped(
                    SyntaxErrorKind::QuotesNeeded,
                    place,
                    format!("no text of YAML begins with `{sign}`: quote it"),
                    format!("write `{}`", shown(&quote(rest.get(..token).unwrap_or_default()))),
                );
                told.repair = Some((place, quote(rest.get(..token).unwrap_or_default())));
                told
            }
            (ErrorKind::TabInBlockIndentation, _) => helped(
                SyntaxErrorKind::NotData,
                Span::new(at..at + usize::from(!rest.is_empty())),
                "a tab cannot indent in YAML",
                "indent with blanks",
            ),
            (ErrorKind::RecursionLimitExceeded, _) => error(
                SyntaxErrorKind::NotData,
                Span::new(at..at + token.min(1)),
                format!("a policy's lists and maps go down at most {MOST_LEVELS} levels"),
            ),
            (ErrorKind::ExpectedFlowSequenceSeparator, Some('{')) => helped(
                SyntaxErrorKind::QuotesNeeded,
                place,
                "a text with braces needs quotes around it",
                "write quotes around the whole item",
            ),
            (kind, _) => helped(
                SyntaxErrorKind::NotData,
                Span::new(at..at + rest.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8)),
                format!("this is no YAML: {}", shown(&kind.to_string())),
                "quotes around a text that has `: `, ` #`, brackets or braces often mend it",
            ),
        }
    }
}
