//! Services of macOS: Mach names, user clients of IOKit; and how rules on commands are enforced.

use super::super::claims::Findings;
use super::super::report::Cause;
use super::filters::any;
use super::places::is_for_macos;
use super::sexpr::{Form, Quoted, Unquotable};
use super::spelling::escaped;
use crate::decide::decide;
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::Mechanism;
use crate::pattern::{Glob, GlobPiece, NamePattern, ProgramPattern};
use crate::policy::{Effect, Item, NameAction, Policy, Rule, Subject};
use crate::question::{Question, Verdict};
use crate::world::World;

/// Services that hand out secrets, start programs outside, or resolve names for anybody. No wildcard opens them,
/// only their own name.
pub const NEVER: [&str; 9] = [
    "com.apple.SecurityServer",
    "com.apple.coreservices.appleevents",
    "com.apple.coreservices.launchservicesd",
    "com.apple.dnssd.service",
    "com.apple.lsd.open",
    "com.apple.mDNSResponder",
    "com.apple.secd",
    "com.apple.securityd",
    "com.apple.securityd.xpc",
];

/// One rule of the profile about services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The rule it is for; `None` for what fence closes itself.
    pub rule: Option<usize>,
    /// Whether it opens or closes.
    pub effect: Effect,
    /// The operation.
    pub operation: &'static str,
    /// The filters.
    pub filters: Vec<Form>,
}

const WILD: &str =
    "services that hand out secrets, start programs or resolve names are opened by their own name only: {}";
const NO_WILD: &str = "opens nothing, because a user client is opened by its own name only: {}";

/// What the profile says about services: what opens, then what closes.
pub fn plan(policy: &Policy, world: &World, findings: &mut Findings) -> Vec<Service> {
    let mut planned = Vec::new();
    for (action, operation) in [
        (NameAction::MachLookup, "mach-lookup"),
        (NameAction::MachRegister, "mach-register"),
        (NameAction::IoKit, "iokit-open"),
    ] {
        let services = Services { policy, world, action, operation };
        services.plan(&mut planned, findings);
    }
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_macos(rule)) {
        let Subject::Name { action, items, .. } = &rule.subject else { continue };
        let Some(report) = findings.report(number) else { continue };
        match action {
            NameAction::Env => report.by(Mechanism::Environment),
            NameAction::Syscall => {
                report.by(Mechanism::Absence);
                for item in items {
                    report.note("no rule of Seatbelt is about such a call: {}", &item.text);
                }
            }
            _ => report.by(Mechanism::Seatbelt),
        }
    }
    planned
}

struct Services<'a> {
    policy: &'a Policy,
    world: &'a World,
    action: NameAction,
    operation: &'static str,
}

impl<'a> Services<'a> {
    fn rules(
        &self,
    ) -> impl Iterator<Item = (usize, &'a Rule, &'a [Item<NamePattern>], &'a [Item<NamePattern>])> {
        let wanted = self.action;
        self.policy.rules.iter().enumerate().filter(|(_, rule)| is_for_macos(rule)).filter_map(
            move |(number, rule)| match &rule.subject {
                Subject::Name { action, items, except } if *action == wanted => {
                    Some((number, rule, items.as_slice(), except.as_slice()))
                }
                _ => None,
            },
        )
    }

    fn plan(&self, planned: &mut Vec<Service>, findings: &mut Findings) {
        let mut wild = false;
        for (number, _, items, except) in self.rules().filter(|(_, rule, ..)| rule.effect == Effect::Allow) {
            let mut filters = Vec::new();
            for item in items {
                match item.pattern.0.as_literal() {
                    Some(name) if self.allows(name) => filters.extend(self.told(item, findings)),
                    Some(_) => {}
                    None if self.action == NameAction::IoKit => {
                        if let Some(report) = findings.report(number) {
                            report.stricter(NO_WILD, &item.text);
                        }
                    }
                    None => {
                        wild = true;
                        let shut = NEVER.iter().filter(|name| item.pattern.matches(name));
                        if self.action == NameAction::MachLookup
                            && shut.count() > 0
                            && let Some(report) = findings.report(number)
                        {
                            report.stricter(WILD, &item.text);
                        }
                        let out: Vec<Form> =
                            except.iter().flat_map(|item| self.told(item, findings)).collect();
                        filters.extend(less(self.told(item, findings), out));
                    }
                }
            }
            self.add(planned, Some(number), Effect::Allow, filters);
        }
        if !wild {
            return;
        }
        for (number, rule, items, except) in self.rules().filter(|(_, rule, ..)| rule.effect != Effect::Allow)
        {
            let out: Vec<Form> = except.iter().flat_map(|item| self.told(item, findings)).collect();
            let filters: Vec<Form> = items.iter().flat_map(|item| self.told(item, findings)).collect();
            self.add(planned, Some(number), rule.effect, less(filters, out));
        }
        if self.action == NameAction::MachLookup {
            let filters = NEVER
                .iter()
                .filter(|name| !(self.is_named(name) && self.allows(name)))
                .filter_map(|name| Some(Form::filter("global-name", Quoted::new(name.as_bytes()).ok()?)));
            self.add(planned, None, Effect::Deny, filters.collect());
        }
    }

    fn add(&self, planned: &mut Vec<Service>, rule: Option<usize>, effect: Effect, filters: Vec<Form>) {
        if !filters.is_empty() {
            planned.push(Service { rule, effect, operation: self.operation, filters });
        }
    }

    /// Whether a rule opens the name itself, without a wildcard.
    fn is_named(&self, name: &str) -> bool {
        self.rules()
            .filter(|(_, rule, ..)| rule.effect == Effect::Allow)
            .any(|(_, _, items, _)| items.iter().any(|item| item.pattern.0.as_literal() == Some(name)))
    }

    fn allows(&self, name: &str) -> bool {
        let question = Question::Name { action: self.action, name: name.to_owned() };
        decide(self.policy, self.world, &question).verdict == Verdict::Allowed
    }

    /// The filters of an item; what no profile can hold is told.
    fn told(&self, item: &Item<NamePattern>, findings: &mut Findings) -> Vec<Form> {
        match filters(self.action, &item.pattern.0) {
            Ok(filters) => filters,
            Err(why) => {
                findings.diagnostics.push(
                    Diagnostic::new(
                        Code::NotInAProfile,
                        format!("`{}` cannot stand in a profile of Seatbelt: {why}", item.text),
                    )
                    .at(item.written.place()),
                );
                Vec::new()
            }
        }
    }
}

fn filters(action: NameAction, Glob(pieces): &Glob) -> Result<Vec<Form>, Unquotable> {
    let text = |text: &str| Quoted::new(text.as_bytes());
    Ok(match (pieces.as_slice(), action) {
        ([GlobPiece::Literal(name)], NameAction::IoKit) => vec![
            Form::filter("iokit-registry-entry-class", text(name)?),
            Form::filter("iokit-user-client-class", text(name)?),
        ],
        ([GlobPiece::Literal(name)], _) => vec![Form::filter("global-name", text(name)?)],
        ([GlobPiece::Literal(name), GlobPiece::Star], _) => {
            vec![Form::filter("global-name-prefix", text(name)?)]
        }
        (pieces, _) => {
            let mut regex = String::from("^");
            for piece in pieces {
                match piece {
                    GlobPiece::Literal(name) => regex.push_str(&escaped(name)),
                    GlobPiece::Star => regex.push_str(".*"),
                    GlobPiece::One => regex.push('.'),
                    GlobPiece::Class { negated, ranges } => {
                        let taken: Vec<String> = ('!'..='~')
                            .filter(|c| ranges.iter().any(|(from, to)| from <= c && c <= to) != *negated)
                            .map(|c| escaped(c.encode_utf8(&mut [0; 4])))
                            .collect();
                        regex.push_str(&format!("({})", taken.join("|")));
                    }
                }
            }
            regex.push('$');
            vec![Form::filter("global-name-regex", text(&regex)?)]
        }
    })
}

/// Filters less others.
pub fn less(filters: Vec<Form>, out: Vec<Form>) -> Vec<Form> {
    match (any(filters.clone()), any(out)) {
        (Some(filters), Some(out)) => {
            let not = Form::List(vec![Form::Word("require-not"), out]);
            vec![Form::List(vec![Form::Word("require-all"), filters, not])]
        }
        _ => filters,
    }
}

const ELSEWHERE: &str =
    "a program of that name starts where it lies outside the search path and the system's directories: {}";
const COPY: &str = "a copy, or the same program under another name, starts: {}";
const ARGUMENTS: &str =
    "arguments are judged for the command that fence starts, not for what that one starts in turn: {}";
const LIST: &str = "the list is judged for the command that fence starts, but what that one starts in turn may be any command: {}";

/// Reports how rules on commands are enforced: the files of one-word rules by the profile, the rest before the start.
pub fn judge_commands(policy: &Policy, findings: &mut Findings) {
    let rules = || policy.rules.iter().enumerate().filter(|(_, rule)| is_for_macos(rule));
    let mut opens = rules().filter_map(|(_, rule)| match &rule.subject {
        Subject::Run { items, except } if rule.effect == Effect::Allow => Some((items, except)),
        _ => None,
    });
    let any_allowed = opens.clone().next().is_some();
    let every_allowed = opens.any(|(items, except)| {
        except.is_empty() && items.iter().any(|item| item.pattern.program == ProgramPattern::AnyCommand)
    });
    for (number, rule) in rules() {
        let Subject::Run { items, .. } = &rule.subject else { continue };
        let Some(report) = findings.report(number) else { continue };
        report.by(Mechanism::Preflight);
        for item in items {
            let sentence = match (rule.effect, &item.pattern.program) {
                (Effect::Allow, _) if every_allowed => continue,
                (Effect::Allow, _) => LIST,
                _ if !any_allowed => continue,
                _ if !item.pattern.words.is_empty() => ARGUMENTS,
                (_, ProgramPattern::AnyCommand) => continue,
                (_, ProgramPattern::Name(_)) => ELSEWHERE,
                (_, ProgramPattern::Path(_)) => COPY,
            };
            report.weaker(Cause::Mechanism, sentence, &item.text);
        }
    }
}
