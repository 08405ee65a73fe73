//! Rules: from what was written to what is meant.

use super::findings::{Findings, place, written};
use super::graph::Graph;
use super::scope::{Lets, Use};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::{self, Clause, Spanned};
use crate::pattern::{
    CommandPattern, Component, ConnectPattern, HttpPattern, ItemError, NamePattern, PathPattern, PortRange,
    Root, Scope, SshPattern,
};
use crate::policy::{Acceptance, Effect, Item, NameAction, PathAction, Rule, Subject};
use crate::question::Platform;

/// A rule that may be in force.
pub(super) struct Draft {
    /// The text it stands in.
    pub(super) unit: usize,
    /// The rule: every item that could be read.
    pub(super) rule: Rule,
    /// Whether every item could be read.
    pub(super) state: State,
    /// When it was read.
    pub(super) reading: Reading,
}

/// When a rule was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// In this compilation.
    Now,
    /// Ahead of time, with all that comes with fence: a test sees to it that no two such rules contradict one another.
    Before,
}

/// Whether all of a rule could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All of it.
    Complete,
    /// Some item is in error: what the rule covers is not known, so nothing is concluded from it.
    Partial,
}

/// Reads all rules of all texts.
pub(super) fn draft(graph: &Graph, lets: &Lets, findings: &mut Findings) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (number, unit) in graph.units.iter().enumerate() {
        let on = &unit.document.on;
        for (platform, rules) in [
            (None, &unit.document.rules),
            (Some(Platform::Linux), &on.linux.rules),
            (Some(Platform::MacOs), &on.macos.rules),
        ] {
            for rule in rules {
                let mut reader = Reader {
                    graph,
                    lets,
                    unit: number,
                    rule,
                    findings: &mut *findings,
                    state: State::Complete,
                };
                drafts.extend(reader.rule(platform));
            }
        }
    }
    drafts
}

/// One rule being read.
struct Reader<'a> {
    graph: &'a Graph,
    lets: &'a Lets,
    unit: usize,
    rule: &'a document::Rule,
    findings: &'a mut Findings,
    state: State,
}

impl Reader<'_> {
    fn rule(&mut self, platform: Option<Platform>) -> Option<Draft> {
        let unit = self.graph.units.get(self.unit)?;
        let effect = effect(self.rule.effect.node);
        let subject = self.subject()?;
        let acceptance = self.acceptance(effect, &subject);
        let text = |text: &Option<Spanned<String>>| text.as_ref().map(|text| text.node.clone());
        let rule = Rule {
            effect,
            subject,
            acceptance,
            label: text(&self.rule.note.label),
            because: text(&self.rule.note.because),
            platform,
            written: written(&self.graph.sources, unit.source, self.rule.span),
        };
        Some(Draft { unit: self.unit, rule, state: self.state, reading: Reading::Now })
    }

    fn subject(&mut self) -> Option<Subject> {
        use document::Action;
        let (first, rest) = self.rule.actions.split_first()?;
        let rule = self.rule;
        if first.node == Action::Tty {
            if let Some(item) = rule.items.first().or(rule.except.first()) {
                let found =
                    Diagnostic::new(Code::UnexpectedText, "`tty` has no items: there is one terminal")
                        .help("leave the items out");
                self.tell(item, found);
                return None;
            }
            return Some(Subject::Tty);
        }
        if rule.items.is_empty() {
            let found = Diagnostic::new(Code::MissingItem, format!("`{}` needs an item", first.node.word()));
            self.tell(first, found);
            return None;
        }
        let lists = (&rule.items, &rule.except);
        if let Some(action) = path_action(first.node) {
            let mut actions = vec![action];
            for other in rest {
                match path_action(other.node) {
                    Some(action) => actions.push(action),
                    None => {
                        self.combined(other);
                        return None;
                    }
                }
            }
            actions.sort_unstable();
            actions.dedup();
            let items = self.paths(lists.0)?;
            let except = self.paths(lists.1).unwrap_or_default();
            self.devices(&actions, &items);
            return Some(Subject::Path { actions, items, except });
        }
        if let Some(other) = rest.first() {
            self.combined(other);
            return None;
        }
        Some(match first.node {
            Action::Run => Subject::Run {
                items: self.items(lists.0, CommandPattern::parse)?,
                except: self.except(lists.1, CommandPattern::parse),
            },
            Action::Connect => Subject::Connect {
                items: self.items(lists.0, ConnectPattern::parse)?,
                except: self.except(lists.1, ConnectPattern::parse),
            },
            Action::Http => Subject::Http {
                items: self.items(lists.0, HttpPattern::parse)?,
                except: self.except(lists.1, HttpPattern::parse),
            },
            Action::Listen => Subject::Listen {
                items: self.items(lists.0, PortRange::parse)?,
                except: self.except(lists.1, PortRange::parse),
            },
            Action::Ssh => Subject::Ssh {
                items: self.items(lists.0, SshPattern::parse)?,
                except: self.except(lists.1, SshPattern::parse),
            },
            action => {
                let action = name_action(action)?;
                Subject::Name {
                    action,
                    items: self.items(lists.0, NamePattern::parse)?,
                    except: self.except(lists.1, NamePattern::parse),
                }
            }
        })
    }

    fn combined(&mut self, other: &Spanned<document::Action>) {
        let found = Diagnostic::new(
            Code::CombinedActions,
            format!("`{}` cannot be combined with another action", other.node.word()),
        )
        .help("only `read`, `write`, `exec`, `socket` and `device` can; write a rule for each of the others");
        self.tell(other, found);
    }

    /// The items; `None` where not one could be read.
    fn items<P>(
        &mut self,
        texts: &[Spanned<String>],
        parse: impl Fn(&str, &dyn Scope) -> Result<P, ItemError>,
    ) -> Option<Vec<Item<P>>> {
        self.several(texts, |text, scope| parse(text, scope).map(|pattern| vec![pattern]))
    }

    fn except<P>(
        &mut self,
        texts: &[Spanned<String>],
        parse: impl Fn(&str, &dyn Scope) -> Result<P, ItemError>,
    ) -> Vec<Item<P>> {
        self.items(texts, parse).unwrap_or_default()
    }

    fn paths(&mut self, texts: &[Spanned<String>]) -> Option<Vec<Item<PathPattern>>> {
        self.several(texts, PathPattern::parse)
    }

    fn several<P>(
        &mut self,
        texts: &[Spanned<String>],
        parse: impl Fn(&str, &dyn Scope) -> Result<Vec<P>, ItemError>,
    ) -> Option<Vec<Item<P>>> {
        let source = self.graph.units.get(self.unit)?.source;
        let purpose = match self.rule.effect.node {
            document::Effect::Never => Use::Never,
            document::Effect::Allow | document::Effect::Deny => Use::Plain,
        };
        let mut items = Vec::new();
        for text in texts {
            match self.lets.read(self.graph, self.unit, text, purpose, self.findings, &parse) {
                Some(patterns) => items.extend(patterns.into_iter().map(|pattern| Item {
                    text: text.node.clone(),
                    written: written(&self.graph.sources, source, text.span),
                    pattern,
                })),
                None => self.state = State::Partial,
            }
        }
        (!items.is_empty()).then_some(items)
    }

    /// Tells items of `device` that lie elsewhere than below `/dev`.
    fn devices(&mut self, actions: &[PathAction], items: &[Item<PathPattern>]) {
        if !actions.contains(&PathAction::Device) {
            return;
        }
        for item in items {
            let below = item.pattern.root == Root::Slash
                && item.pattern.components.len() > 1
                && item.pattern.components.first() == Some(&Component::Literal("dev".to_owned()));
            if !below {
                self.findings.push(
                    Diagnostic::new(Code::NotADevice, format!("`{}` is not below `/dev`", item.text))
                        .at(item.written.place())
                        .help(
                            "`device` is about paths such as `/dev/kvm`; other files are `read` and `write`",
                        ),
                );
            }
        }
    }

    fn acceptance(&mut self, effect: Effect, subject: &Subject) -> Acceptance {
        let (mut best_effort, mut cheaply) = (false, false);
        for clause in &self.rule.accept {
            let word = clause.node.word();
            let found = match (effect, clause.node) {
                (Effect::Allow, _) => Diagnostic::new(
                    Code::ClauseOnAllow,
                    format!("`{word}` accepts a weaker refusal, and an `allow` refuses nothing"),
                )
                .help(format!("leave `{word}` out; it stands on `deny` and `limit`")),
                (Effect::Never, _) => Diagnostic::new(
                    Code::ClauseOnNever,
                    format!("a `never` always holds exactly, so it cannot be `{word}`"),
                )
                .help(format!("leave `{word}` out, or write `deny` instead of `never`")),
                (Effect::Deny, Clause::Cheaply) if self.state == State::Complete && !has_cheaper(subject) => {
                    Diagnostic::new(Code::NothingCheaper, "`cheaply` changes nothing here")
                        .help("it stands on a `deny` of `run`, `read`, `write` or `socket`; elsewhere exactness costs no speed")
                }
                (Effect::Deny, Clause::Cheaply) => {
                    cheaply = true;
                    continue;
                }
                (Effect::Deny, Clause::BestEffort) => {
                    best_effort = true;
                    continue;
                }
            };
            self.tell(clause, found);
        }
        match (best_effort, cheaply) {
            (false, false) => Acceptance::Exact,
            (true, false) => Acceptance::BestEffort,
            (false, true) => Acceptance::Cheaply,
            (true, true) => Acceptance::BestEffortCheaply,
        }
    }

    fn tell<T>(&mut self, at: &Spanned<T>, found: Diagnostic) {
        let Some(unit) = self.graph.units.get(self.unit) else { return };
        self.findings.push(found.at(place(unit.source, at.span)));
    }
}

/// Whether an enforcement cheaper than the exact one exists for it: of commands, files and sockets, whose calls need not be
/// judged one by one.
fn has_cheaper(subject: &Subject) -> bool {
    match subject {
        Subject::Run { .. } => true,
        Subject::Path { actions, .. } => {
            let judged = [PathAction::Read, PathAction::Write, PathAction::Socket];
            actions.iter().all(|action| judged.contains(action))
        }
        _ => false,
    }
}

fn effect(effect: document::Effect) -> Effect {
    match effect {
        document::Effect::Allow => Effect::Allow,
        document::Effect::Deny => Effect::Deny,
        document::Effect::Never => Effect::Never,
    }
}

/// The action on paths that this is, if it is one.
pub(super) fn path_action(action: document::Action) -> Option<PathAction> {
    match action {
        document::Action::Read => Some(PathAction::Read),
        document::Action::Write => Some(PathAction::Write),
        document::Action::Exec => Some(PathAction::Exec),
        document::Action::Socket => Some(PathAction::Socket),
        document::Action::Device => Some(PathAction::Device),
        _ => None,
    }
}

/// The action on plain names that this is, if it is one.
pub(super) fn name_action(action: document::Action) -> Option<NameAction> {
    match action {
        document::Action::Env => Some(NameAction::Env),
        document::Action::Syscall => Some(NameAction::Syscall),
        document::Action::MachLookup => Some(NameAction::MachLookup),
        document::Action::MachRegister => Some(NameAction::MachRegister),
        document::Action::IoKit => Some(NameAction::IoKit),
        _ => None,
    }
}
