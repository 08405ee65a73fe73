//! Rules, and the expectations of a test, which have the same shape.

use pest::iterators::Pair;

use super::clause::Clauses;
use super::kind::Kind;
use super::list::{Entry, Items, Joint, entries, is_plain_word};
use super::parts::{Parts, span};
use super::{Lowering, behind};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::syntax::Rule as Token;
use crate::tree::{Action, Effect, Expect, Quoting, Rule, Text, Verdict};
use crate::{Span, Spanned, did_you_mean};

/// What a rule and an expectation have in common.
struct Body {
    actions: Vec<Spanned<Action>>,
    items: Vec<Text>,
    clauses: Clauses,
}

impl Lowering<'_> {
    /// Reads a rule.
    pub(super) fn rule(&mut self, mut parts: Parts<'_>) -> Option<Rule> {
        let effect = self.effect(&mut parts)?;
        let body = self.body(parts, effect.span, Kind::Rule)?;
        let Body { actions, items, clauses: Clauses { except, best_effort, cheaply, note, .. } } = body;
        Some(Rule { effect, actions, items, except, best_effort, cheaply, note })
    }

    /// Reads an expectation of a test.
    pub(super) fn expectation(&mut self, mut parts: Parts<'_>) -> Option<Expect> {
        let effect = self.effect(&mut parts)?;
        let verdict = match effect.node {
            Effect::Allow => Some(Verdict::Allow),
            Effect::Deny => Some(Verdict::Deny),
            Effect::Never => {
                self.errors.push(
                    SyntaxError::new(
                        SyntaxErrorKind::UnknownWord,
                        effect.span,
                        "a test expects `allow` or `deny`",
                    )
                    .help("what a `never` closes is expected with `deny`")
                    .repair(effect.span, "deny"),
                );
                None
            }
        };
        let Body { actions, items, clauses } = self.body(parts, effect.span, Kind::Expectation)?;
        let help = "write an expectation for each, one a line";
        let mut actions = actions.into_iter();
        let action = actions.next()?;
        if let Some(second) = actions.next() {
            let place = actions.fold(second.span, |place, action| place.to(action.span));
            let message = "an expectation asks for one action";
            self.errors.push(SyntaxError::new(SyntaxErrorKind::CombinedActions, place, message).help(help));
        }
        let item = self.only_one(items, "an expectation asks for one item", help);
        Some(Expect {
            verdict: verdict.map(|verdict| Spanned::new(verdict, effect.span))?,
            action,
            item,
            by: clauses.by,
        })
    }

    fn effect(&mut self, parts: &mut Parts<'_>) -> Option<Spanned<Effect>> {
        let pair = parts.take(Token::effect)?;
        Some(Spanned::new(Effect::from_word(pair.as_str())?, span(&pair)))
    }

    fn body(&mut self, mut parts: Parts<'_>, effect: Span, kind: Kind) -> Option<Body> {
        let mut actions = Vec::new();
        while let Some(pair) = parts.take_if(|rule| matches!(rule, Token::path_action | Token::other_action))
        {
            actions.extend(Action::from_word(pair.as_str()).map(|action| Spanned::new(action, span(&pair))));
        }
        let entries = entries(parts.take(Token::list));
        self.body_of(effect, actions, &entries, parts, kind)
    }

    /// Reads what stands behind an effect that was misspelt, so that its mistakes are told too.
    pub(super) fn body_of_unknown(
        &mut self,
        effect: Span,
        entries: &[Entry<'_>],
        parts: Parts<'_>,
        kind: Kind,
    ) {
        let mut actions: Vec<Spanned<Action>> = Vec::new();
        let mut rest = entries;
        while let [Entry::Item(pair, Joint::Nothing), more @ ..] = rest {
            let Some(action) = Action::from_word(self.source(span(pair))) else { break };
            if actions.iter().any(|before| !before.node.combines() || !action.combines()) {
                break;
            }
            actions.push(Spanned::new(action, span(pair)));
            rest = more;
        }
        self.body_of(effect, actions, rest, parts, kind);
    }

    fn body_of(
        &mut self,
        effect: Span,
        mut actions: Vec<Spanned<Action>>,
        entries: &[Entry<'_>],
        mut parts: Parts<'_>,
        kind: Kind,
    ) -> Option<Body> {
        let rest = self.further_actions(effect, &mut actions, entries);
        let Some(last) = actions.last().cloned() else {
            // Without an action nothing can be said of the items.
            self.rest(&mut parts);
            return None;
        };
        let items =
            if actions.iter().any(|action| matches!(action.node, Action::Run | Action::Ssh | Action::Http)) {
                Items::Commands
            } else {
                Items::Words
            };
        let texts = match (last.node, rest) {
            (_, Rest::Unclear) => Vec::new(),
            (Action::Tty, Rest::Items([])) => Vec::new(),
            (Action::Tty, Rest::Items(entries)) => {
                self.tty_has_no_items(entries);
                Vec::new()
            }
            (action, Rest::Items([])) => {
                self.missing(SyntaxErrorKind::MissingItem, last.span, noun_of_item(action));
                Vec::new()
            }
            (_, Rest::Items(entries)) => {
                let pairs = self.item_entries(entries, items);
                pairs.iter().filter_map(|pair| self.text(pair)).collect()
            }
        };
        let clauses = self.clauses(&mut parts, kind, items);
        Some(Body { actions, items: texts, clauses })
    }

    /// Tells of words before the items that are no actions, or are actions that cannot stand there.
    fn further_actions<'e, 'i>(
        &mut self,
        effect: Span,
        actions: &mut Vec<Spanned<Action>>,
        entries: &'e [Entry<'i>],
    ) -> Rest<'e, 'i> {
        if let [Entry::Comma(place), Entry::Item(pair, _), ..] = entries
            && !actions.is_empty()
            && Action::from_word(self.source(span(pair))).is_some()
        {
            self.errors.push(
                SyntaxError::new(SyntaxErrorKind::ExtraComma, *place, "only blanks stand between actions")
                    .repair(*place, ""),
            );
            return Rest::Unclear;
        }
        let mut rest = entries;
        while let [Entry::Item(pair, _), more @ ..] = rest {
            let unjoined = match more.first() {
                Some(Entry::Item(next, Joint::Nothing)) => Some(next),
                _ => None,
            };
            let place = span(pair);
            let word = self.source(place);
            let text = Text { text: word.to_owned(), quoting: Quoting::Bare, span: place };
            if pair.as_rule() == Token::string && actions.is_empty() {
                let unquoted = word.trim_matches('"');
                if Action::from_word(unquoted).is_some() {
                    self.unknown_action(&Text {
                        text: unquoted.to_owned(),
                        quoting: Quoting::Quoted,
                        ..text
                    });
                } else {
                    self.no_action(effect, place);
                }
                return Rest::Unclear;
            }
            if pair.as_rule() != Token::word || !is_plain_word(&text) {
                if actions.is_empty() {
                    self.no_action(effect, place);
                    return Rest::Unclear;
                }
                break;
            }
            if let Some(last) = actions.last() {
                let Some(next) = unjoined else { break };
                let before = last.clone();
                match Action::from_word(word) {
                    Some(action) if before.node.combines() || self.begins_a_path(next) => {
                        self.combined(&before, &Spanned::new(action, place));
                    }
                    Some(_) => break,
                    None if before.node.combines() && self.near_action(word) => self.unknown_action(&text),
                    None => break,
                }
            } else {
                self.unknown_action(&text);
                let meant = did_you_mean(word, Action::ALL.iter().map(|action| action.word()));
                let Some(action) = meant.and_then(Action::from_word) else { return Rest::Unclear };
                actions.push(Spanned::new(action, place));
            }
            rest = more;
        }
        if actions.is_empty() {
            let message = format!("an action must follow `{}`", self.shown(effect));
            self.errors.push(
                SyntaxError::new(SyntaxErrorKind::UnknownAction, behind(effect), message)
                    .help(actions_help()),
            );
        }
        Rest::Items(rest)
    }

    fn near_action(&self, word: &str) -> bool {
        did_you_mean(word, Action::ALL.iter().filter(|action| action.combines()).map(|action| action.word()))
            .is_some()
    }

    fn begins_a_path(&self, pair: &Pair<'_, Token>) -> bool {
        self.source(span(pair)).trim_start_matches('"').starts_with(['/', '~', '$', '*'])
    }

    fn unknown_action(&mut self, text: &Text) {
        let words: Vec<&str> = Action::ALL.iter().map(|action| action.word()).collect();
        self.unknown_word(SyntaxErrorKind::UnknownAction, text, "an action", &words);
    }

    fn no_action(&mut self, effect: Span, place: Span) {
        let message =
            format!("an action must stand between `{}` and `{}`", self.shown(effect), self.shown(place));
        self.errors
            .push(SyntaxError::new(SyntaxErrorKind::UnknownAction, place, message).help(actions_help()));
    }

    fn combined(&mut self, before: &Spanned<Action>, second: &Spanned<Action>) {
        let alone = if second.node.combines() { before.node } else { second.node };
        self.errors.push(
            SyntaxError::new(
                SyntaxErrorKind::CombinedActions,
                second.span,
                format!("`{}` and `{}` cannot stand in one rule", before.node, second.node),
            )
            .help(format!(
                "write a rule for `{alone}`; only `read`, `write`, `exec`, `socket` and `device` combine"
            )),
        );
    }

    fn tty_has_no_items(&mut self, entries: &[Entry<'_>]) {
        let place = entries.iter().fold(Span::NONE, |place, entry| match entry {
            Entry::Item(pair, _) => place.to(span(pair)),
            Entry::Comma(comma) => place.to(*comma),
        });
        self.errors.push(
            SyntaxError::new(SyntaxErrorKind::UnexpectedText, place, "`tty` has no items")
                .help("it is about the controlling terminal alone"),
        );
    }
}

/// What is left behind the actions.
enum Rest<'e, 'i> {
    /// The items.
    Items(&'e [Entry<'i>]),
    /// Something of which nothing can be said.
    Unclear,
}

fn actions_help() -> String {
    let words: Vec<&str> = Action::ALL.iter().map(|action| action.word()).collect();
    super::item::one_of(&words)
}

/// What a rule with this action is about.
fn noun_of_item(action: Action) -> &'static str {
    match action {
        Action::Read | Action::Write | Action::Exec | Action::Socket | Action::Device => "a path",
        Action::Run | Action::Ssh => "a command, or `*`,",
        Action::Connect => "a host",
        Action::Http => "a request such as `\"GET example.com/\"`",
        Action::Listen => "a port",
        Action::Env | Action::Syscall | Action::MachLookup | Action::MachRegister | Action::IoKit => "a name",
        Action::Tty => "nothing",
    }
}
