//! From the syntax tree to the surface policy.

use fence_grammar::{Span, tree};

use super::{
    Block, Clause, Document, Expect, GivenHost, GivenLink, GivenVariable, Include, Let, Limit, Note,
    OneOrMany, PlatformName, Rule, Secret, SecretHolder, Set, Spanned, Stray, Test, TlsMode, Upstream,
};

/// Turns a syntax tree into the surface policy. Nothing is lost: what may stand only once and stands again is
/// in [`Document::strays`].
#[must_use]
pub fn from_tree(file: tree::File) -> Document {
    let mut document = Document::default();
    let mut header: Option<Span> = None;
    for (index, statement) in file.statements.into_iter().enumerate() {
        let span = statement.span;
        match statement.node {
            tree::Statement::Version(version) => {
                if index > 0 {
                    document.strays.push(Stray::VersionNotFirst(span));
                }
                document.fence.get_or_insert(version.into());
            }
            tree::Statement::Policy(policy) => match header {
                Some(first) => document.strays.push(Stray::SecondPolicy { span, first }),
                None => {
                    header = Some(span);
                    document.policy = Some(policy.name.into());
                    document.description = policy.description.map(Spanned::from);
                }
            },
            tree::Statement::Include(include) => document.include.push(Include {
                policy: include.target.into(),
                without: include.without.into_iter().map(Spanned::from).collect(),
                note: note(include.note),
                span,
            }),
            tree::Statement::Let(one) => {
                document.lets.0.push(Let { name: one.name.into(), value: one.value.into(), span });
            }
            tree::Statement::Rule(one) => document.rules.push(rule(one, span)),
            tree::Statement::Secret(secret) => document.secrets.push(Secret {
                holder: match secret.holder {
                    tree::SecretHolder::Env(name) => SecretHolder::Env(name.into()),
                    tree::SecretHolder::File(path) => SecretHolder::File(path.into()),
                },
                to: texts(secret.to),
                note: note(secret.note),
                span,
            }),
            tree::Statement::Set(set) => document.set.0.push(Set {
                name: set.name.into(),
                value: set.value.into(),
                note: note(set.note),
                span,
            }),
            tree::Statement::Limit(one) => document.limits.0.push(limit(one, span)),
            tree::Statement::Tls(mode) => {
                let mode = Spanned::new(TlsMode::from(mode.node), mode.span);
                let strict = document.tls.as_ref().is_some_and(|first| first.node == TlsMode::Strict);
                if !strict {
                    document.tls = Some(mode);
                }
            }
            tree::Statement::Upstream(upstream) => document.upstreams.push(Upstream {
                url: upstream.url.into(),
                hosts: OneOrMany(texts(upstream.hosts)),
                span,
            }),
            tree::Statement::Platform(platform) => {
                let block = match PlatformName::from(platform.platform.node) {
                    PlatformName::Linux => &mut document.on.linux,
                    PlatformName::MacOs => &mut document.on.macos,
                };
                fill(block, platform.statements);
            }
            tree::Statement::Test(one) => document.tests.push(test(one, span)),
        }
    }
    document
}

fn fill(block: &mut Block, statements: Vec<fence_grammar::Spanned<tree::Statement>>) {
    for statement in statements {
        match statement.node {
            tree::Statement::Rule(one) => block.rules.push(rule(one, statement.span)),
            tree::Statement::Limit(one) => block.limits.0.push(limit(one, statement.span)),
            // INVARIANT: the grammar lets nothing but rules and limits stand in a platform block.
            _ => {}
        }
    }
}

fn rule(rule: tree::Rule, span: Span) -> Rule {
    let best_effort = rule.best_effort.map(|span| Spanned::new(Clause::BestEffort, span));
    let cheaply = rule.cheaply.map(|span| Spanned::new(Clause::Cheaply, span));
    Rule {
        effect: Spanned::new(rule.effect.node.into(), rule.effect.span),
        actions: rule.actions.into_iter().map(|a| Spanned::new(a.node.into(), a.span)).collect(),
        items: texts(rule.items),
        except: texts(rule.except),
        accept: best_effort.into_iter().chain(cheaply).collect(),
        note: note(rule.note),
        span,
    }
}

fn limit(limit: tree::Limit, span: Span) -> Limit {
    Limit {
        kind: Spanned::new(limit.kind.node.into(), limit.kind.span),
        value: limit.value.into(),
        accept: limit.best_effort.map(|span| Spanned::new(Clause::BestEffort, span)).into_iter().collect(),
        note: note(limit.note),
        span,
    }
}

fn test(test: tree::Test, span: Span) -> Test {
    let mut result =
        Test { name: test.name.into(), given: super::Given::default(), expect: Vec::new(), span };
    for given in test.given {
        match given.node {
            tree::Given::Variable { name, value } => {
                result.given.variables.push(GivenVariable { name: name.into(), value: value.into() });
            }
            tree::Given::Link { from, to } => {
                result.given.links.push(GivenLink { from: from.into(), to: to.into() });
            }
            tree::Given::Host { name, addresses } => {
                result.given.hosts.push(GivenHost { name: name.into(), addresses: texts(addresses) });
            }
            tree::Given::Platform(platform) => {
                result.given.platform.push(Spanned::new(platform.node.into(), platform.span));
            }
        }
    }
    result.expect = test
        .expect
        .into_iter()
        .map(|line| Expect {
            verdict: Spanned::new(line.node.verdict.node.into(), line.node.verdict.span),
            action: Spanned::new(line.node.action.node.into(), line.node.action.span),
            item: line.node.item.map(Spanned::from),
            by: line.node.by.into_iter().map(Spanned::from).collect(),
            span: line.span,
        })
        .collect();
    result
}

fn note(note: tree::Note) -> Note {
    Note { label: note.label.map(Spanned::from), because: note.because.map(Spanned::from) }
}

fn texts(list: Vec<tree::Text>) -> Vec<Spanned<String>> {
    list.into_iter().map(Spanned::from).collect()
}
