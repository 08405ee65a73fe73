//! Findings for a person and for a program.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::{Diagnostic, Repair, Severity};
use crate::source::{Place, Sources};

/// The version of the JSON form.
pub const JSON_VERSION: u32 = 1;

/// The widest that a line of the text form is; longer lines of a policy are cut around the marked place.
const WIDTH: usize = 110;

/// How many lines of a long place are shown.
const LINES: u32 = 6;

/// The longest text between backticks that is shown whole.
const LONGEST_QUOTE: usize = 80;

/// Whether the text form is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    Plain,
    /// ANSI escape sequences.
    Styled,
}

/// Findings as text: for each its code, message, the marked place, and how to mend it; at the end where to read
/// more. Empty for no findings. What a policy's author controls can bring in no control character.
#[must_use]
pub fn text(diagnostics: &[Diagnostic], sources: &Sources, color: Color) -> String {
    let renderer = match color {
        Color::Plain => Renderer::plain(),
        Color::Styled => Renderer::styled(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH);
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&one(diagnostic, sources, &renderer));
        out.push_str("\n\n");
    }
    out.push_str(&more(diagnostics));
    out
}

/// Findings as JSON: `{"version":1,"diagnostics":[…]}`, places as file, line and column from 1 (in characters)
/// and as byte offsets.
#[must_use]
pub fn json(diagnostics: &[Diagnostic], sources: &Sources) -> Value {
    let list: Vec<Value> = diagnostics.iter().map(|diagnostic| object(diagnostic, sources)).collect();
    json!({ "version": JSON_VERSION, "diagnostics": list })
}

/// Text that is safe to show: control characters and invisible format characters are written as `\u{…}`, a
/// line end as `\n`.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || is_format(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// A message with its control characters escaped and long user text cut in its middle.
fn shown(message: &str) -> String {
    let mut out = String::new();
    for (index, part) in escaped(message).split('`').enumerate() {
        if index > 0 {
            out.push('`');
        }
        let length = part.chars().count();
        if index % 2 == 1 && length > LONGEST_QUOTE {
            out.extend(part.chars().take(LONGEST_QUOTE / 2));
            out.push('…');
            out.extend(part.chars().skip(length - LONGEST_QUOTE / 4));
        } else {
            out.push_str(part);
        }
    }
    out
}

fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text in which no control character of the second set is left, which the renderer passes on and some terminals obey:
/// a dot of the same length stands for each.
fn inert(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    if text.contains(obeyed) { Cow::Owned(text.replace(obeyed, "\u{b7}")) } else { Cow::Borrowed(text) }
}

fn one(diagnostic: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group =
        Group::with_title(level.primary_title(shown(&diagnostic.message)).id(diagnostic.code.name()));
    if let Some(window) = diagnostic.place.and_then(|place| Window::new(place, sources)) {
        group = window.show(group, diagnostic.label.as_deref());
    }
    let mut groups = vec![];
    for related in &diagnostic.related {
        let mut other = Group::with_title(Level::NOTE.secondary_title(shown(&related.message)));
        if let Some(window) = Window::new(related.place, sources) {
            other = window.show(other, None);
        }
        groups.push(other);
    }
    for help in helps(diagnostic) {
        group = group.element(Level::HELP.message(shown(&help)));
    }
    groups.insert(0, group);
    renderer.render(&groups)
}

/// The ways to mend it; the repair in words where nothing else is said.
fn helps(diagnostic: &Diagnostic) -> Vec<String> {
    match &diagnostic.repair {
        Some(repair) if diagnostic.help.is_empty() => vec![match repair.replacement.as_str() {
            "" => "leave it out".to_owned(),
            text => format!("write `{text}`"),
        }],
        _ => diagnostic.help.clone(),
    }
}

fn more(diagnostics: &[Diagnostic]) -> String {
    let codes: BTreeSet<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code.name()).collect();
    let names: Vec<&str> = codes.into_iter().collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!("`fence help {one}` says more\n"),
        many => format!("`fence help CODE` says more about {}\n", many.join(", ")),
    }
}

/// The lines of a place, cut to what can be shown.
struct Window<'a> {
    path: String,
    line: u32,
    column: u32,
    text: &'a str,
    marked: Range<usize>,
    cut: Cut,
}

/// Whether the first line is shown from its beginning; if not, its column has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Nothing,
    Beginning,
}

impl<'a> Window<'a> {
    fn new(place: Place, sources: &'a Sources) -> Option<Window<'a>> {
        let source = sources.get(place.source)?;
        let (line, column) = sources.line_column(place)?;
        let last = sources.line_column(Place { span: end_of(place), ..place }).map_or(line, |(line, _)| line);
        let first_line = sources.line(place.source, line)?;
        let last_line = sources.line(place.source, last.min(line.saturating_add(LINES - 1)))?;
        let range = place.span.range();
        // Far beyond the width a line is cut here, so that a text of one huge line costs no more.
        let start = boundary(&source.text, first_line.start.max(range.start.saturating_sub(16 * WIDTH)));
        let end = boundary(&source.text, last_line.end.min(range.end.max(start).saturating_add(4 * WIDTH)));
        let end = end.min(boundary(&source.text, range.start.saturating_add(16 * WIDTH)).max(start));
        let text = source.text.get(start..end)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let marked = range.start.saturating_sub(start)..range.end.saturating_sub(start).min(text.len());
        let cut = if start > first_line.start { Cut::Beginning } else { Cut::Nothing };
        Some(Window { path: escaped(&source.name), line, column, text, marked, cut })
    }

    fn show(self, group: Group<'a>, label: Option<&str>) -> Group<'a> {
        let mut annotation =
            AnnotationKind::Primary.span(self.marked.start..self.marked.end.max(self.marked.start));
        if let Some(label) = label {
            annotation = annotation.label(shown(label));
        }
        let snippet = Snippet::<Annotation<'a>>::source(inert(self.text))
            .line_start(self.line as usize)
            .annotation(annotation);
        match self.cut {
            Cut::Nothing => group.element(snippet.path(self.path)),
            Cut::Beginning => {
                let origin =
                    Origin::path(self.path).line(self.line as usize).char_column(self.column as usize);
                group.element(origin).element(snippet)
            }
        }
    }
}

/// The last byte of a place, as a place of no length.
fn end_of(place: Place) -> fence_grammar::Span {
    let end = place.span.end.saturating_sub(1).max(place.span.start);
    fence_grammar::Span { start: end, end }
}

/// The nearest offset at or below that does not split a character.
fn boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn object(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let mut value = json!({
        "code": diagnostic.code.name(),
        "severity": severity(diagnostic.severity),
        "message": diagnostic.message,
        "help": diagnostic.help,
    });
    if let Some(place) = diagnostic.place {
        merge(&mut value, location(place, sources));
    }
    if let Some(label) = &diagnostic.label {
        merge(&mut value, json!({ "label": label }));
    }
    if let Some(Repair { place, replacement }) = &diagnostic.repair {
        let mut repair = location(*place, sources);
        merge(&mut repair, json!({ "replacement": replacement }));
        merge(&mut value, json!({ "repair": repair }));
    }
    let related: Vec<Value> = diagnostic
        .related
        .iter()
        .map(|related| {
            let mut value = location(related.place, sources);
            merge(&mut value, json!({ "message": related.message }));
            value
        })
        .collect();
    merge(&mut value, json!({ "related": related }));
    value
}

fn location(place: Place, sources: &Sources) -> Value {
    let Some(source) = sources.get(place.source) else { return json!({}) };
    let mut value = json!({ "file": source.name });
    let end = fence_grammar::Span { start: place.span.end, end: place.span.end };
    let ends = sources.line_column(Place { span: end, ..place });
    if let (Some((line, column)), Some((end_line, end_column))) = (sources.line_column(place), ends) {
        merge(
            &mut value,
            json!({
                "line": line,
                "column": column,
                "end": { "line": end_line, "column": end_column },
                "bytes": [place.span.start, place.span.end],
            }),
        );
    }
    value
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
