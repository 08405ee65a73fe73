//! Services of the system, by name.

use super::Emitter;
use crate::lower::seatbelt::services::Service;
use crate::policy::Effect;

impl Emitter<'_, '_> {
    /// Services.
    pub fn services(&mut self, services: &[Service]) {
        if !services.is_empty() {
            self.heading("Services.");
        }
        for service in services {
            let owner = service.rule.map(|number| self.named(number));
            let action = if service.effect == Effect::Allow { "allow" } else { "deny" };
            let mut filters = service.filters.clone();
            match (&owner, service.rule, service.effect) {
                (Some(owner), Some(number), effect) => {
                    self.remark(owner);
                    if effect != Effect::Allow {
                        filters.push(self.message(&number.to_string()));
                    }
                }
                _ => self.remark("Never through a wildcard."),
            }
            let owner = owner.unwrap_or_else(|| "fence's own part".to_owned());
            self.rule(&owner, action, &[service.operation], filters);
        }
    }
}
