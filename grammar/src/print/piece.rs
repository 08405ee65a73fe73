//! Statements in pieces: what stands together on a line, and where a line may end.

use super::quoting::{first_item, target, word};
use crate::escape::quote;
use crate::tree::{Expect, Given, Include, Limit, Note, Rule, Secret, SecretHolder, Statement, Text};
use crate::{Span, Spanned};

/// A part of a statement that stands on one line.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub text: String,
    pub span: Span,
    pub joint: Joint,
}

/// What joins a piece to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joint {
    /// A blank: both stand on one line.
    Blank,
    /// A comma, behind which a new line may begin.
    Comma,
    /// It begins a clause, before which a new line may begin.
    Clause,
    /// It is the reason, which has a line of its own where the statement needs several.
    Reason,
}

fn piece(text: impl Into<String>, span: Span, joint: Joint) -> Piece {
    Piece { text: text.into(), span, joint }
}

/// The pieces of a statement of one line; `None` for a block.
pub(super) fn pieces(statement: &Spanned<Statement>) -> Option<Vec<Piece>> {
    let span = statement.span;
    Some(match &statement.node {
        Statement::Version(version) => vec![piece(format!("fence {}", version.node), span, Joint::Blank)],
        Statement::Policy(header) => {
            let name = piece(format!("policy {}", header.name.node), header.name.span, Joint::Blank);
            let description = header.description.iter();
            let description = description.map(|text| piece(quote(&text.text), text.span, Joint::Blank));
            std::iter::once(name).chain(description).collect()
        }
        Statement::Include(one) => include(one),
        Statement::Let(one) => {
            vec![piece(format!("let {} = {}", one.name.node, word(&one.value.text)), span, Joint::Blank)]
        }
        Statement::Rule(one) => rule(one),
        Statement::Secret(one) => secret(one),
        Statement::Set(one) => {
            let name = if one.name.text.contains('=') { quote(&one.name.text) } else { word(&one.name.text) };
            let value = word(&one.value.text);
            let mut all = vec![piece(
                format!("set env {name} = {value}"),
                one.name.span.to(one.value.span),
                Joint::Blank,
            )];
            note(&mut all, &one.note);
            all
        }
        Statement::Limit(one) => limit(one),
        Statement::Tls(mode) => vec![piece(format!("tls {}", mode.node), span, Joint::Blank)],
        Statement::Upstream(one) => {
            let mut all =
                vec![piece(format!("upstream {}", word(&one.url.text)), one.url.span, Joint::Blank)];
            list(&mut all, "for ", &one.hosts, Joint::Clause);
            all
        }
        Statement::Platform(_) | Statement::Test(_) => return None,
    })
}

fn include(include: &Include) -> Vec<Piece> {
    let name = format!("include {}", target(&include.target.text));
    let mut all = vec![piece(name, include.target.span, Joint::Blank)];
    labels(&mut all, "without ", &include.without);
    note(&mut all, &include.note);
    all
}

fn rule(rule: &Rule) -> Vec<Piece> {
    let mut head = rule.effect.node.word().to_owned();
    let mut span = rule.effect.span;
    for action in &rule.actions {
        head.push(' ');
        head.push_str(action.node.word());
        span = span.to(action.span);
    }
    let mut all = vec![piece(head, span, Joint::Blank)];
    if let Some((first, rest)) = rule.items.split_first() {
        all.push(piece(first_item(&first.text), first.span, Joint::Blank));
        all.extend(rest.iter().map(|item| piece(word(&item.text), item.span, Joint::Comma)));
    }
    list(&mut all, "except ", &rule.except, Joint::Clause);
    all.extend(rule.best_effort.map(|span| piece("best-effort", span, Joint::Clause)));
    all.extend(rule.cheaply.map(|span| piece("cheaply", span, Joint::Clause)));
    note(&mut all, &rule.note);
    all
}

fn secret(secret: &Secret) -> Vec<Piece> {
    let (kind, text) = match &secret.holder {
        SecretHolder::Env(name) => ("env", name),
        SecretHolder::File(path) => ("file", path),
    };
    let mut all = vec![piece(format!("secret {kind} {}", word(&text.text)), text.span, Joint::Blank)];
    list(&mut all, "to ", &secret.to, Joint::Clause);
    note(&mut all, &secret.note);
    all
}

fn limit(limit: &Limit) -> Vec<Piece> {
    let head = format!("limit {} {}", limit.kind.node, word(&limit.value.text));
    let mut all = vec![piece(head, limit.kind.span.to(limit.value.span), Joint::Blank)];
    all.extend(limit.best_effort.map(|span| piece("best-effort", span, Joint::Clause)));
    note(&mut all, &limit.note);
    all
}

/// The pieces of a line of a test's world.
pub(super) fn given(given: &Spanned<Given>) -> Vec<Piece> {
    let text = match &given.node {
        Given::Variable { name, value } => format!("given ${} = {}", name.node, word(&value.text)),
        Given::Link { from, to } => format!("given link {} -> {}", word(&from.text), word(&to.text)),
        Given::Platform(platform) => format!("given platform = {}", platform.node),
        Given::Host { name, addresses } => {
            let head = format!("given host {} =", word(&name.text));
            let mut all = vec![piece(head, name.span, Joint::Blank)];
            if let Some((first, rest)) = addresses.split_first() {
                all.push(piece(word(&first.text), first.span, Joint::Blank));
                all.extend(rest.iter().map(|one| piece(word(&one.text), one.span, Joint::Comma)));
            }
            return all;
        }
    };
    vec![piece(text, given.span, Joint::Blank)]
}

/// The pieces of an expectation.
pub(super) fn expect(expect: &Expect) -> Vec<Piece> {
    let head = format!("{} {}", expect.verdict.node, expect.action.node);
    let mut all = vec![piece(head, expect.verdict.span.to(expect.action.span), Joint::Blank)];
    all.extend(expect.item.iter().map(|item| piece(first_item(&item.text), item.span, Joint::Blank)));
    labels(&mut all, "by ", &expect.by);
    all
}

fn list(all: &mut Vec<Piece>, keyword: &str, items: &[Text], joint: Joint) {
    for (at, item) in items.iter().enumerate() {
        let (keyword, joint) = if at == 0 { (keyword, joint) } else { ("", Joint::Comma) };
        all.push(piece(format!("{keyword}{}", word(&item.text)), item.span, joint));
    }
}

fn labels(all: &mut Vec<Piece>, keyword: &str, labels: &[Spanned<String>]) {
    for (at, label) in labels.iter().enumerate() {
        let (keyword, joint) = if at == 0 { (keyword, Joint::Clause) } else { ("", Joint::Comma) };
        all.push(piece(format!("{keyword}{}", label.node), label.span, joint));
    }
}

fn note(all: &mut Vec<Piece>, note: &Note) {
    all.extend(note.label.iter().map(|label| piece(format!("as {}", label.node), label.span, Joint::Clause)));
    let because = note.because.iter();
    all.extend(because.map(|text| piece(format!("because {}", quote(&text.text)), text.span, Joint::Reason)));
}
