//! What is denied of files, whatever is allowed.

use std::collections::BTreeSet;

use super::group::{Group, RENAMING, in_order};
use super::{Emitter, Open, WIDER, is_below_dev, literal, unique};
use crate::fidelity::Mechanism;
use crate::lower::seatbelt::filters;
use crate::lower::seatbelt::pins::Pins;
use crate::lower::seatbelt::places::{FileRule, Gathered, Kind, Place};
use crate::lower::seatbelt::services::less;
use crate::lower::seatbelt::sexpr::Form;
use crate::lower::seatbelt::spelling::every_spelling;

const UNMOVED: &str =
    "it cannot be made, moved, linked or removed either, because a profile knows paths only: {}";

impl Emitter<'_, '_> {
    /// What a rule closes, in one rule.
    pub(super) fn closed(&mut self, rule: &FileRule, open: &Open, pins: &mut Pins) {
        let groups: BTreeSet<Group> =
            rule.actions.iter().flat_map(|action| Group::of(*action)).copied().collect();
        let around: Vec<&Place> = groups.iter().filter_map(|group| open.get(group)).flatten().collect();
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let mut operations: BTreeSet<&'static str> = BTreeSet::new();
        let mut forms = Vec::new();
        let mut reached = BTreeSet::new();
        let mut programs = Vec::new();
        for told in &rule.items.places {
            let (place, text) = told;
            let meets =
                |group: &Group| open.get(group).is_some_and(|open| open.iter().any(|o| o.may_meet(place)));
            let met: Vec<Group> = groups.iter().copied().filter(meets).collect();
            if met.is_empty() {
                continue;
            }
            reached.insert(text);
            operations.extend(met.iter().flat_map(|group| group.closing()));
            match rule.kind {
                Kind::Programs => programs.push(told),
                Kind::Paths => {
                    let found = filters::closing(place, &around);
                    forms.extend(self.told(rule.number, text, found, WIDER));
                }
            }
            if writable.iter().any(|open| open.may_meet(place)) && !is_below_dev(place) {
                if !met.contains(&Group::Write) {
                    operations.extend(RENAMING);
                    self.stricter(rule.number, UNMOVED, text);
                }
                self.pin(rule, place, text, &writable, pins);
            }
        }
        match filters::programs(&programs, &around) {
            Ok(found) => {
                forms.extend(found.forms);
                found.wider.iter().for_each(|text| self.stricter(rule.number, WIDER, text));
            }
            Err((text, why)) => self.refuse(rule.number, &text, why),
        }
        if let Some(report) = self.findings.report(rule.number) {
            let by = if reached.is_empty() { Mechanism::Absence } else { Mechanism::Seatbelt };
            report.by(by);
        }
        if forms.is_empty() {
            return;
        }
        let mut out = Vec::new();
        for (place, text) in &rule.except.places {
            if rule.items.places.iter().any(|(item, _)| item.may_meet(place)) {
                let found = filters::opening(place);
                out.extend(self.told(rule.number, text, found, WIDER));
            }
        }
        let mut filters = less(unique(forms), out);
        filters.push(self.message(&rule.number.to_string()));
        let named = self.named(rule.number);
        self.remark(&named);
        self.rule(&named, "deny", &in_order(&operations), filters);
    }

    /// What an `allow` leaves out must not be moved to where it is allowed.
    pub(super) fn excepted(&mut self, rule: &FileRule, open: &Open, pins: &mut Pins) {
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let mut forms = Vec::new();
        for (place, text) in &rule.except.places {
            let inside = rule.items.places.iter().any(|(item, _)| item.may_meet(place));
            if !inside || is_below_dev(place) || !writable.iter().any(|open| open.may_meet(place)) {
                continue;
            }
            let found = filters::closing(place, &writable);
            forms.extend(self.told(rule.number, text, found, WIDER));
            self.stricter(rule.number, UNMOVED, text);
            self.pin(rule, place, text, &writable, pins);
        }
        if !forms.is_empty() {
            let named = self.named(rule.number);
            self.remark(&format!("{named}: what it leaves out stays where it is"));
            let mut filters = unique(forms);
            filters.push(self.message(&rule.number.to_string()));
            self.rule(&named, "deny", &RENAMING, filters);
        }
    }

    /// The texts of the policy, fence's own state, and every policy that could be found are never writable.
    pub(super) fn protected(&mut self, gathered: &Gathered, open: &Open, pins: &mut Pins) {
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let mut forms = Vec::new();
        let spelled = |name: &str| every_spelling(name).unwrap_or_else(|| name.to_owned());
        let text = format!("/{}({}|{})?$", spelled("policy.fence"), spelled(".yaml"), spelled(".json"));
        forms.push(Form::filter("regex", literal(&text)));
        for place in
            gathered.protected.iter().filter(|place| writable.iter().any(|open| open.may_meet(place)))
        {
            match filters::closing(place, &writable) {
                Ok(found) => forms.extend(found.forms),
                Err(why) => self.refuse(usize::MAX, &place.0.prefix.to_string(), why),
            }
            pins.hold(place, &writable);
        }
        forms.push(self.message("own"));
        self.remark("Policies, and what belongs to fence.");
        self.own("deny", Group::Write.closing(), forms);
    }
}
