//! Directories on the way to what is closed stay where they are.

use std::collections::BTreeSet;

use super::group::Group;
use super::{Emitter, Open, unique};
use crate::bytes::AbsolutePath;
use crate::lower::seatbelt::filters;
use crate::lower::seatbelt::pins::{self, Pins};
use crate::lower::seatbelt::places::{FileRule, Place};

impl Emitter<'_, '_> {
    pub(super) fn pin(
        &mut self,
        rule: &FileRule,
        place: &Place,
        text: &str,
        writable: &[&Place],
        pins: &mut Pins,
    ) {
        let acceptance = self.policy.rules.get(rule.number).map(|rule| rule.acceptance);
        let Some(report) = self.findings.reports.get_mut(rule.number) else { return };
        let about = pins::About { place, text, acceptance, writable };
        pins::pin(&about, self.host, self.run, self.atlas, report, pins);
    }

    /// Directories on the way to what is closed stay where they are.
    pub(super) fn pinned(&mut self, pins: Pins, open: &Open) {
        let writable: Vec<&Place> = open.get(&Group::Write).into_iter().flatten().collect();
        let Pins { held, kept, patterns } = pins;
        let kept: BTreeSet<AbsolutePath> = kept.difference(&held).cloned().collect();
        let ways: [(&'static str, &[&'static str], BTreeSet<AbsolutePath>); 2] = [
            (
                "Directories above those are not moved, removed or replaced.",
                &["file-write-unlink", "file-write-create"],
                held,
            ),
            ("These may be made, but not moved or removed.", &["file-write-unlink"], kept),
        ];
        for (title, operations, paths) in ways {
            let mut forms = Vec::new();
            for path in &paths {
                match filters::on_the_way(path, &writable) {
                    Ok(found) => forms.extend(found),
                    Err(why) => self.refuse(usize::MAX, &path.to_string(), why),
                }
            }
            if operations.len() > 1 {
                for pattern in &patterns {
                    match filters::pattern_on_the_way(pattern, &writable) {
                        Ok(found) => forms.extend(found),
                        Err(why) => self.refuse(usize::MAX, &pattern.prefix.to_string(), why),
                    }
                }
            }
            if !forms.is_empty() {
                self.remark(title);
                let mut filters = unique(forms);
                filters.push(self.message("way"));
                self.rule("the directories above what is closed", "deny", operations, filters);
            }
        }
    }
}
