//! Items about commands and hosts whose variable has no value here.

use std::collections::BTreeMap;

use super::claims::{Findings, NO_VALUE, closes_nothing};
use crate::diagnostic::{Code, Diagnostic};
use crate::pattern::host::literal_host;
use crate::pattern::{CommandPattern, HostPattern, ProgramPattern, Variable};
use crate::policy::{Effect, Item, Policy, Rule, Subject};
use crate::question::Platform;

/// Tells them: an error where such an item closes, a note where it opens.
pub(super) fn judge(
    policy: &Policy,
    platform: Platform,
    values: &BTreeMap<Variable, Vec<u8>>,
    findings: &mut Findings,
) {
    let is_here = |rule: &Rule| rule.platform.is_none_or(|named| named == platform);
    let mut unset = Unset { values, findings };
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_here(rule)) {
        let sides = match rule.effect {
            Effect::Allow => (Side::Opening, Side::Closing),
            Effect::Deny | Effect::Never => (Side::Closing, Side::Opening),
        };
        match &rule.subject {
            Subject::Run { items, except } => {
                unset.items(number, sides, items, except, program);
            }
            Subject::Connect { items, except } => {
                unset.items(number, sides, items, except, |connect, values| host(&connect.host, values));
            }
            Subject::Http { items, except } => {
                unset.items(number, sides, items, except, |http, values| host(&http.host, values));
            }
            Subject::Ssh { items, except } => {
                unset.items(number, sides, items, except, |ssh, values| host(&ssh.host, values));
            }
            _ => {}
        }
    }
}

/// On which side an item stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Opening,
    Closing,
}

/// What is missing for an item.
enum Missing {
    /// The value of this variable, as a path.
    Path(Variable),
    /// The value of this variable of the environment, as a host.
    Host(String),
}

type Values = BTreeMap<Variable, Vec<u8>>;

struct Unset<'a> {
    values: &'a Values,
    findings: &'a mut Findings,
}

impl Unset<'_> {
    fn items<P>(
        &mut self,
        rule: usize,
        (of_items, of_except): (Side, Side),
        items: &[Item<P>],
        except: &[Item<P>],
        missing: impl Fn(&P, &Values) -> Option<Missing>,
    ) {
        for (side, item) in
            items.iter().map(|item| (of_items, item)).chain(except.iter().map(|item| (of_except, item)))
        {
            let Some(missing) = missing(&item.pattern, self.values) else { continue };
            let place = item.written.place();
            let found = match missing {
                Missing::Path(variable) if !variable.is_optional() => {
                    Some(closes_nothing(&item.text, variable.name(), place))
                }
                Missing::Path(_) => None,
                Missing::Host(name) => Some(
                    Diagnostic::new(
                        Code::NoValueToClose,
                        format!(
                            "`{}` closes nothing: `${name}` holds no host name and no address",
                            item.text
                        ),
                    )
                    .at(place)
                    .help("give the variable a value, or take the item out"),
                ),
            };
            match found.filter(|_| side == Side::Closing) {
                Some(found) => self.findings.diagnostics.push(found),
                None => {
                    if let Some(report) = self.findings.report(rule) {
                        report.note(NO_VALUE, &item.text);
                    }
                }
            }
        }
    }
}

fn program(command: &CommandPattern, values: &Values) -> Option<Missing> {
    let ProgramPattern::Path(path) = &command.program else { return None };
    path.ground(values).err().map(|missing| Missing::Path(missing.variable))
}

fn host(host: &HostPattern, values: &Values) -> Option<Missing> {
    let HostPattern::Environment(name) = host else { return None };
    let value = values.get(&Variable::Environment(name.clone()));
    let host = value.and_then(|value| std::str::from_utf8(value).ok()).and_then(literal_host);
    if host.is_some() { None } else { Some(Missing::Host(name.clone())) }
}
