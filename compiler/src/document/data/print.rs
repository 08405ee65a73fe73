//! Prints a syntax tree as YAML: one canonical form, comments kept.

use fence_grammar::print::{Attached, Comment, Spacing, WIDTH, stands_apart};
use fence_grammar::tree::{
    Expect, File, Given, Include, Limit, Note, PlatformName, Rule, Secret, SecretHolder, Set, Statement,
    Test, Text, Upstream,
};
use fence_grammar::{Span, Spanned};

use super::{Plain, plain, quote};

/// Prints a tree that was read from this text, with its comments.
pub(crate) fn yaml(file: &File, text: &str, comments: Vec<Comment>, spacing: Spacing) -> String {
    let policy = policy(file);
    let mut parts = Vec::new();
    for section in &policy {
        section.parts(&mut parts);
    }
    let mut printer =
        Printer { text, attached: Attached::to(text, comments, parts, spacing), out: String::new() };
    for (at, section) in policy.iter().enumerate() {
        let scalar = |section: &Section| matches!(section.body, Body::Fields(_));
        if at > 0 && !(scalar(section) && policy.get(at - 1).is_some_and(scalar)) {
            printer.out.push('\n');
        }
        printer.section(section, "");
    }
    let last = std::mem::take(&mut printer.attached.last);
    if last.first().is_some_and(|(span, _)| !printer.out.is_empty() && stands_apart(text, span.start)) {
        printer.out.push('\n');
    }
    for (_, comment) in last {
        printer.comment("", &comment);
    }
    printer.out
}

/// A key with what stands below it.
struct Section {
    key: String,
    body: Body,
}

enum Body {
    /// Fields beside one another, without the section's own key.
    Fields(Vec<Field>),
    /// A list of entries.
    List(Vec<Entry>),
    /// Further sections.
    Sections(Vec<Section>, Span),
}

/// A statement: its fields below one another.
struct Entry {
    span: Span,
    fields: Vec<Field>,
    further: Vec<Section>,
}

/// `key: value`, or a value alone where the key is empty.
struct Field {
    key: String,
    values: Vec<(String, Span)>,
    shape: Shape,
    /// The statement that the field is, where it is one.
    whole: Span,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A single value stands without a list around it.
    OneOrMany,
    /// Values are maps that stand on one line each.
    Lines,
}

fn field(key: &str, values: Vec<(String, Span)>) -> Field {
    Field { key: key.to_owned(), values, shape: Shape::OneOrMany, whole: Span::NONE }
}

fn policy(file: &File) -> Vec<Section> {
    let mut head = Vec::new();
    let mut version = None;
    let (mut include, mut lets, mut secrets, mut upstreams, mut tests) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut rules, mut sets, mut limits, mut tls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut platforms: Vec<(PlatformName, Span, Vec<Entry>, Vec<Field>)> = Vec::new();
    for statement in &file.statements {
        let span = statement.span;
        match &statement.node {
            Statement::Version(one) => {
                version = Some(whole(field("fence", vec![(one.node.to_string(), one.span)]), span));
            }
            Statement::Policy(one) => {
                head.push(whole(field("policy", vec![(scalar(&one.name.node), one.name.span)]), span));
                let description = one.description.iter();
                head.extend(description.map(|text| field("description", vec![value(text)])));
            }
            Statement::Include(one) => include.push(included(one, span)),
            Statement::Let(one) => {
                lets.push(whole(field(&scalar(&one.name.node), vec![value(&one.value)]), span));
            }
            Statement::Rule(one) => rules.push(rule(one, span)),
            Statement::Secret(one) => secrets.push(secret(one, span)),
            Statement::Set(one) => add(&mut sets, scalar(&one.name.text), set(one), span),
            Statement::Limit(one) => add(&mut limits, one.kind.node.word().to_owned(), limit(one), span),
            Statement::Tls(mode) => {
                tls.push(whole(field("tls", vec![(mode.node.word().to_owned(), mode.span)]), span))
            }
            Statement::Upstream(one) => upstreams.push(upstream(one, span)),
            Statement::Platform(block) => {
                let platform = block.platform.node;
                if !platforms.iter().any(|known| known.0 == platform) {
                    platforms.push((platform, block.platform.span, Vec::new(), Vec::new()));
                }
                let Some((_, _, rules, limits)) = platforms.iter_mut().find(|known| known.0 == platform)
                else {
                    continue;
                };
                for inner in &block.statements {
                    match &inner.node {
                        Statement::Rule(one) => rules.push(rule(one, inner.span)),
                        Statement::Limit(one) => {
                            add(limits, one.kind.node.word().to_owned(), limit(one), inner.span);
                        }
                        // INVARIANT: nothing but rules and limits stands in a platform block.
                        _ => {}
                    }
                }
            }
            Statement::Test(one) => tests.push(test(one, span)),
        }
    }
    // Of several the strict one holds.
    let strict = tls.iter().position(|field: &Field| field.values.iter().any(|(word, _)| word == "strict"));
    let tls: Vec<Field> = tls.into_iter().skip(strict.unwrap_or(0)).take(1).collect();
    let on = platforms.into_iter().map(|(platform, span, rules, limits)| {
        let inner = [list("rules", rules), map("limits", limits)];
        let inner = inner.into_iter().flatten().collect();
        Section { key: platform.word().to_owned(), body: Body::Sections(inner, span) }
    });
    let on: Vec<Section> = on.collect();
    let head: Vec<Field> = version.into_iter().chain(head).collect();
    let fields = |fields: Vec<Field>| {
        (!fields.is_empty()).then_some(Section { key: String::new(), body: Body::Fields(fields) })
    };
    [
        fields(head),
        list("include", include),
        map("let", lets),
        list("rules", rules),
        list("secrets", secrets),
        map("set", sets),
        map("limits", limits),
        fields(tls),
        list("upstreams", upstreams),
        (!on.is_empty()).then_some(Section { key: "on".to_owned(), body: Body::Sections(on, Span::NONE) }),
        list("tests", tests),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn whole(mut field: Field, span: Span) -> Field {
    field.whole = span;
    field
}

fn list(key: &str, entries: Vec<Entry>) -> Option<Section> {
    (!entries.is_empty()).then(|| Section { key: key.to_owned(), body: Body::List(entries) })
}

fn map(key: &str, fields: Vec<Field>) -> Option<Section> {
    let inner = Section { key: String::new(), body: Body::Fields(fields) };
    let any = matches!(&inner.body, Body::Fields(fields) if !fields.is_empty());
    any.then(|| Section { key: key.to_owned(), body: Body::Sections(vec![inner], Span::NONE) })
}

/// Adds a value to the field of its key: several of one key are a list.
fn add(fields: &mut Vec<Field>, key: String, value: (String, bool), span: Span) {
    match fields.iter_mut().find(|field| field.key == key) {
        Some(field) => field.values.push((value.0, span)),
        None => {
            let mut new = field(&key, vec![(value.0, span)]);
            if value.1 {
                new.shape = Shape::Lines;
            }
            fields.push(new);
        }
    }
    // Of several, each stands on a line of its own where one is a map.
    if value.1
        && let Some(field) = fields.iter_mut().find(|field| field.key == key)
    {
        field.shape = Shape::Lines;
    }
}

fn included(include: &Include, span: Span) -> Entry {
    if include.without.is_empty() && include.note.label.is_none() && include.note.because.is_none() {
        return Entry { span, fields: vec![field("", vec![value(&include.target)])], further: Vec::new() };
    }
    let mut fields = vec![field("policy", vec![value(&include.target)])];
    let without = include.without.iter().map(|label| (scalar(&label.node), label.span)).collect();
    push(&mut fields, "without", without);
    note(&mut fields, &include.note);
    Entry { span, fields, further: Vec::new() }
}

fn rule(rule: &Rule, span: Span) -> Entry {
    let actions = rule.actions.iter().map(|action| (action.node.word().to_owned(), action.span)).collect();
    let mut fields = vec![field(rule.effect.node.word(), actions)];
    push(&mut fields, "items", rule.items.iter().map(value).collect());
    push(&mut fields, "except", rule.except.iter().map(value).collect());
    let accept = [("best-effort", rule.best_effort), ("cheaply", rule.cheaply)];
    let accept = accept.into_iter().filter_map(|(word, span)| Some((word.to_owned(), span?))).collect();
    push(&mut fields, "accept", accept);
    note(&mut fields, &rule.note);
    Entry { span, fields, further: Vec::new() }
}

fn secret(secret: &Secret, span: Span) -> Entry {
    let mut fields = vec![match &secret.holder {
        SecretHolder::Env(name) => field("env", vec![value(name)]),
        SecretHolder::File(path) => field("file", vec![value(path)]),
    }];
    push(&mut fields, "to", secret.to.iter().map(value).collect());
    note(&mut fields, &secret.note);
    Entry { span, fields, further: Vec::new() }
}

/// A value, and whether it is a map.
fn set(set: &Set) -> (String, bool) {
    noted(scalar(&set.value.text), "", &set.note)
}

fn limit(limit: &Limit) -> (String, bool) {
    let accept = if limit.best_effort.is_some() { "best-effort" } else { "" };
    noted(scalar(&limit.value.text), accept, &limit.note)
}

fn noted(value: String, accept: &str, note: &Note) -> (String, bool) {
    if accept.is_empty() && note.label.is_none() && note.because.is_none() {
        return (value, false);
    }
    let mut members = vec![("value", value)];
    if !accept.is_empty() {
        members.push(("accept", accept.to_owned()));
    }
    members.extend(note.label.iter().map(|label| ("as", scalar(&label.node))));
    members.extend(note.because.iter().map(|text| ("because", scalar(&text.text))));
    (line(&members), true)
}

fn upstream(upstream: &Upstream, span: Span) -> Entry {
    let mut fields = vec![field("url", vec![value(&upstream.url)])];
    let hosts: Vec<(String, Span)> = upstream.hosts.iter().map(value).collect();
    push(&mut fields, "for", hosts);
    Entry { span, fields, further: Vec::new() }
}

fn test(test: &Test, span: Span) -> Entry {
    let fields = vec![field("name", vec![value(&test.name)])];
    let (mut variables, mut links, mut hosts, mut platform) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for given in &test.given {
        let span = given.span;
        match &given.node {
            Given::Variable { name, value: text } => {
                variables.push(whole(field(&scalar(&name.node), vec![value(text)]), span));
            }
            Given::Link { from, to } => links.push(whole(field(&scalar(&from.text), vec![value(to)]), span)),
            Given::Host { name, addresses } => {
                hosts.push(whole(field(&scalar(&name.text), addresses.iter().map(value).collect()), span));
            }
            Given::Platform(one) => {
                platform.push(whole(field("platform", vec![(one.node.word().to_owned(), one.span)]), span));
            }
        }
    }
    let mut worlds: Vec<Section> = [map("variables", variables), map("links", links), map("hosts", hosts)]
        .into_iter()
        .flatten()
        .collect();
    if !platform.is_empty() {
        worlds.push(Section { key: String::new(), body: Body::Fields(platform) });
    }
    let mut further = Vec::new();
    if !worlds.is_empty() {
        further.push(Section { key: "given".to_owned(), body: Body::Sections(worlds, Span::NONE) });
    }
    further.push(Section {
        key: "expect".to_owned(),
        body: Body::List(test.expect.iter().map(expect).collect()),
    });
    Entry { span, fields, further }
}

fn expect(one: &Spanned<Expect>) -> Entry {
    let line_of = &one.node;
    let mut members = vec![(line_of.verdict.node.word(), line_of.action.node.word().to_owned())];
    members.extend(line_of.item.iter().map(|item| ("item", scalar(&item.text))));
    match line_of.by.as_slice() {
        [] => {}
        [one] => members.push(("by", scalar(&one.node))),
        many => {
            let many: Vec<String> = many.iter().map(|label| scalar(&label.node)).collect();
            members.push(("by", format!("[{}]", many.join(", "))));
        }
    }
    let fields = vec![field("", vec![(line(&members), Span::NONE)])];
    Entry { span: one.span, fields, further: Vec::new() }
}

fn line(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", members.join(", "))
}

fn note(fields: &mut Vec<Field>, note: &Note) {
    push(fields, "as", note.label.iter().map(|label| (scalar(&label.node), label.span)).collect());
    push(fields, "because", note.because.iter().map(value).collect());
}

fn push(fields: &mut Vec<Field>, key: &str, values: Vec<(String, Span)>) {
    if !values.is_empty() {
        fields.push(field(key, values));
    }
}

fn value(text: &Text) -> (String, Span) {
    (scalar(&text.text), text.span)
}

/// A text as a scalar: without quotes where every reader takes it for that text, in a list of one line too.
fn scalar(text: &str) -> String {
    let inside = |c: char| {
        c.is_alphanumeric()
            || matches!(
                c,
                ' ' | '_' | '.' | '/' | '~' | '$' | '+' | '-' | ':' | '*' | '@' | '=' | ';' | '(' | ')'
            )
    };
    let begins = text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '$' | '_' | '.'))
        || text.starts_with("~/");
    let ends = !text.ends_with([' ', ':']);
    let free =
        begins && ends && text.chars().all(inside) && !text.contains(": ") && plain(text) == Plain::Text;
    if free { text.to_owned() } else { quote(text) }
}

impl Section {
    fn parts(&self, parts: &mut Vec<Span>) {
        match &self.body {
            Body::Fields(fields) => fields.iter().for_each(|field| field.parts(parts)),
            Body::List(entries) => {
                for entry in entries {
                    parts.push(entry.span);
                    entry.fields.iter().for_each(|field| field.parts(parts));
                    entry.further.iter().for_each(|section| section.parts(parts));
                }
            }
            Body::Sections(sections, span) => {
                parts.push(*span);
                sections.iter().for_each(|section| section.parts(parts));
            }
        }
    }
}

impl Field {
    fn parts(&self, parts: &mut Vec<Span>) {
        parts.push(self.whole);
        parts.extend(self.values.iter().map(|(_, span)| *span));
    }
}

struct Printer<'t> {
    text: &'t str,
    attached: Attached,
    out: String,
}

impl Printer<'_> {
    fn section(&mut self, section: &Section, indent: &str) {
        let inner = if section.key.is_empty() { indent.to_owned() } else { format!("{indent}  ") };
        match &section.body {
            Body::Fields(fields) => {
                for field in fields {
                    self.field(field, indent, indent);
                }
            }
            Body::List(entries) if entries.is_empty() => {
                self.out.push_str(&format!("{indent}{}: []\n", section.key));
            }
            Body::List(entries) => {
                self.out.push_str(&format!("{indent}{}:\n", section.key));
                for (at, entry) in entries.iter().enumerate() {
                    if at > 0 && stands_apart(self.text, self.attached.start(entry.span)) {
                        self.out.push('\n');
                    }
                    self.entry(entry, &inner);
                }
            }
            Body::Sections(sections, head) => {
                let mut above = self.attached.take_before(*head);
                let mut behind = self.attached.take_behind(*head);
                above.extend(behind.split_off(behind.len().min(1)));
                for comment in &above {
                    self.comment(indent, comment);
                }
                self.out.push_str(&format!("{indent}{}:", section.key));
                if sections.is_empty() {
                    self.out.push_str(" {}");
                }
                self.end(&behind);
                for section in sections {
                    self.section(section, &inner);
                }
            }
        }
    }

    fn entry(&mut self, entry: &Entry, indent: &str) {
        for comment in self.attached.take_before(entry.span) {
            self.comment(indent, &comment);
        }
        // What stands behind the statement as a whole stands behind its last line.
        if let Some(last) = entry.fields.last()
            && let Some((_, span)) = last.values.last()
        {
            let behind = self.attached.take_behind(entry.span);
            self.attached.add_behind(*span, behind);
        }
        let first = format!("{indent}- ");
        let rest = format!("{indent}  ");
        for (at, field) in entry.fields.iter().enumerate() {
            self.field(field, if at == 0 { &first } else { &rest }, &rest);
        }
        for section in &entry.further {
            self.section(section, &rest);
        }
    }

    /// A field: `first` stands before it in its line, `indent` before the comments above it.
    fn field(&mut self, field: &Field, first: &str, indent: &str) {
        let mut above = self.attached.take_before(field.whole);
        let mut behind = self.attached.take_behind(field.whole);
        let mut lines: Vec<Line<'_>> = Vec::new();
        for (text, span) in &field.values {
            let before = self.attached.take_before(*span);
            lines.push(Line { text, before, behind: self.attached.take_behind(*span) });
        }
        let single = lines.len() == 1;
        let commented = lines.iter().any(|line| !line.before.is_empty() || !line.behind.is_empty());
        let joined: Vec<&str> = lines.iter().map(|line| line.text).collect();
        let flow = format!("[{}]", joined.join(", "));
        let fits = first.len() + field.key.len() + 2 + flow.chars().count() <= WIDTH;
        if single || (fits && !commented && field.shape == Shape::OneOrMany) {
            if let Some(line) = lines.first_mut().filter(|_| single) {
                above.append(&mut line.before);
                behind.append(&mut line.behind);
            }
            above.extend(behind.split_off(behind.len().min(1)));
            self.above(&above, first, indent);
            let shown = if single { joined.concat() } else { flow };
            let colon = if field.key.is_empty() { "" } else { ": " };
            self.out.push_str(&format!("{}{colon}{shown}", field.key));
            self.end(&behind);
            return;
        }
        above.append(&mut behind);
        self.above(&above, first, indent);
        self.out.push_str(&format!("{}:\n", field.key));
        let deeper = format!("{indent}  ");
        for mut line in lines {
            line.before.extend(line.behind.split_off(line.behind.len().min(1)));
            for comment in &line.before {
                self.comment(&deeper, comment);
            }
            self.out.push_str(&format!("{deeper}- {}", line.text));
            self.end(&line.behind);
        }
    }

    /// Comments above a line, and what it begins with. Behind a `- ` no comment can stand, so they come before it.
    fn above(&mut self, above: &[String], first: &str, indent: &str) {
        let before = first.trim_end_matches("- ");
        let indent = if first.ends_with("- ") { before } else { indent };
        for comment in above {
            self.comment(indent, comment);
        }
        self.out.push_str(first);
    }

    fn end(&mut self, behind: &[String]) {
        for comment in behind {
            self.out.push_str("  #");
            self.out.push_str(comment);
        }
        self.out.push('\n');
    }

    fn comment(&mut self, indent: &str, comment: &str) {
        self.out.push_str(&format!("{indent}#{comment}\n"));
    }
}

struct Line<'a> {
    text: &'a str,
    before: Vec<String>,
    behind: Vec<String>,
}
