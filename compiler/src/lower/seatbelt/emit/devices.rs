//! Devices and terminals.

use super::group::Group;
use super::{Emitter, literal};
use crate::fidelity::Mechanism;
use crate::lower::seatbelt::places::Gathered;
use crate::lower::seatbelt::sexpr::{Form, remark};
use crate::policy::Effect;

/// The devices that are always there.
const DEVICES: &str = "^/dev/(null|zero|full|random|urandom|tty|ptmx|pts|shm|fd|stdin|stdout|stderr)(/|$)";

/// Terminals; those that the sandbox itself makes carry a mark of the system's.
pub(super) const TERMINALS: &str = "^/dev/ttys[0-9]+$";
const OWN_TERMINAL: &str = "com.apple.sandbox.pty";

impl Emitter<'_, '_> {
    /// Below `/dev` only `device` opens, beside what is always there.
    pub(super) fn devices(&mut self, gathered: &Gathered) {
        const BOTH: [&str; 3] = ["file-read*", "file-test-existence", "file-write*"];
        self.remark("Devices: those that are always there, and those that a rule names.");
        self.own("deny", &BOTH, vec![Form::filter("regex", literal("^/dev/"))]);
        self.own(
            "allow",
            &["file-read*", "file-test-existence"],
            vec![Form::filter("literal", literal("/dev"))],
        );
        let mut filters = vec![Form::filter("regex", literal(DEVICES))];
        filters.extend(own_terminal());
        for rule in
            gathered.rules.iter().filter(|rule| rule.effect == Effect::Allow && rule.is_about_devices())
        {
            let forms = self.opened(rule, Group::Read);
            if !forms.is_empty() {
                filters.push(remark(&self.named(rule.number)));
                filters.extend(forms);
            }
            if let Some(report) = self.findings.report(rule.number) {
                report.by(Mechanism::Seatbelt);
            }
        }
        self.own("allow", &BOTH, filters);
    }
}

/// A terminal that the sandbox made itself.
pub(super) fn own_terminal() -> Vec<Form> {
    vec![Form::List(vec![
        Form::Word("require-all"),
        Form::filter("regex", literal(TERMINALS)),
        Form::filter("extension", literal(OWN_TERMINAL)),
    ])]
}
