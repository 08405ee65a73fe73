//! What is allowed of files: one rule a kind of access.

use std::collections::BTreeSet;

use super::group::{GROUPS, Group};
use super::{Emitter, NARROWER, Open, WIDER, is_below_dev, path_literal};
use crate::bytes::AbsolutePath;
use crate::fidelity::Mechanism;
use crate::lower::seatbelt::filters;
use crate::lower::seatbelt::places::{FileRule, Gathered, Place};
use crate::lower::seatbelt::services::less;
use crate::lower::seatbelt::sexpr::{Form, remark};
use crate::lower::seatbelt::tag::RunId;
use crate::policy::{Effect, PathAction};

const DEVICE_ONLY: &str = "opens nothing, because below `/dev` only `device` opens: {}";

impl Emitter<'_, '_> {
    /// What is open, by kind.
    pub(super) fn open(&self, gathered: &Gathered) -> Open {
        let mut open: Open = Open::new();
        let dev = Place::at(AbsolutePath::root().join(b"dev"));
        for group in [Group::Read, Group::Write] {
            open.entry(group).or_default().push(dev.clone());
        }
        for rule in gathered.rules.iter().filter(|rule| rule.effect == Effect::Allow) {
            for group in rule.actions.iter().flat_map(|action| Group::of(*action)) {
                let places = rule.items.places.iter().map(|(place, _)| place.clone());
                open.entry(*group).or_default().extend(places);
            }
        }
        open
    }

    /// Everything that is allowed of one kind, in one rule.
    pub(super) fn allowed(&mut self, gathered: &Gathered, group: Group, mut filters: Vec<Form>) {
        let mut said = BTreeSet::new();
        for rule in gathered.rules.iter().filter(|rule| rule.effect == Effect::Allow) {
            let plain =
                |action: &PathAction| *action != PathAction::Device && Group::of(*action).contains(&group);
            if !rule.actions.iter().any(plain) {
                continue;
            }
            if let Some(report) = self.findings.report(rule.number) {
                report.by(Mechanism::Seatbelt);
            }
            let forms = self.opened(rule, group);
            if !forms.is_empty() && said.insert(format!("{forms:?}")) {
                filters.push(remark(&self.named(rule.number)));
                filters.extend(forms);
            }
        }
        if filters.iter().any(|form| !matches!(form, Form::Remark(_))) {
            self.rule("what is allowed", "allow", group.opening(), filters);
        }
    }

    /// The filters of what one rule allows, less its exceptions.
    pub(super) fn opened(&mut self, rule: &FileRule, group: Group) -> Vec<Form> {
        let mut forms = Vec::new();
        for (place, text) in &rule.items.places {
            if group != Group::Exec
                && group != Group::Socket
                && is_below_dev(place)
                && !rule.is_about_devices()
            {
                self.note(rule.number, DEVICE_ONLY, text);
                continue;
            }
            let found = filters::opening(place);
            let filters = self.told(rule.number, text, found, NARROWER);
            forms.extend(filters);
        }
        let around: Vec<&Place> = rule.items.places.iter().map(|(place, _)| place).collect();
        let mut out = Vec::new();
        for (place, text) in &rule.except.places {
            if around.iter().any(|open| open.may_meet(place)) {
                let found = filters::closing(place, &around);
                out.extend(self.told(rule.number, text, found, WIDER));
            }
        }
        less(forms, out)
    }

    /// Links on the way to what is allowed can be followed.
    pub(super) fn links(&mut self, links: &BTreeSet<AbsolutePath>) {
        let forms: Vec<Form> = links.iter().filter_map(path_literal).collect();
        if !forms.is_empty() {
            self.remark("Links on the way to what is allowed.");
            self.own("allow", &["file-read-metadata", "file-test-existence"], forms);
        }
    }

    /// Metadata of the directories above what is allowed can be seen, even where a rule closes them.
    pub(super) fn ways(&mut self, open: &Open, run: &RunId) {
        let mut ways: BTreeSet<AbsolutePath> = BTreeSet::from([AbsolutePath::root()]);
        ways.extend(run.tmp().ancestors());
        ways.extend(self.host.cwd.ancestors());
        for group in GROUPS {
            for place in open.get(&group).into_iter().flatten() {
                ways.extend(place.0.prefix.ancestors());
                if !place.0.rest.is_empty() {
                    ways.insert(place.0.prefix.clone());
                }
            }
        }
        let forms: Vec<Form> = ways.iter().filter_map(path_literal).collect();
        self.heading("Ways to what is allowed: that they exist, not what they hold.");
        self.rule("what is allowed", "allow", &["file-read-metadata", "file-test-existence"], forms);
    }
}
