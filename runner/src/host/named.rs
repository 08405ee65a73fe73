//! The caller's variables that a policy names.

use std::collections::BTreeSet;

use fence_compiler::pattern::{
    CommandPattern, ConnectPattern, HostPattern, PathPattern, ProgramPattern, Root, Variable,
};
use fence_compiler::policy::{Item, Policy, SecretHolder, Subject};

/// The names of the environment variables whose values a policy's meaning hangs on.
#[must_use]
pub fn named_variables(policy: &Policy) -> BTreeSet<String> {
    let mut names = Names(BTreeSet::new());
    for rule in &policy.rules {
        names.subject(&rule.subject);
    }
    for set in policy.set.values() {
        set.value.variables().for_each(|variable| names.variable(variable));
    }
    for secret in &policy.secrets {
        if let SecretHolder::File(path) = &secret.holder {
            names.path(path);
        }
        secret.to.iter().for_each(|item| names.host(&item.pattern.host));
    }
    for upstream in &policy.upstreams {
        upstream.hosts.iter().for_each(|item| names.host(&item.pattern));
    }
    names.0
}

struct Names(BTreeSet<String>);

impl Names {
    fn subject(&mut self, subject: &Subject) {
        match subject {
            Subject::Path { items, except, .. } => both(items, except).for_each(|path| self.path(path)),
            Subject::Run { items, except } => both(items, except).for_each(|command| self.command(command)),
            Subject::Connect { items, except } => {
                both(items, except).for_each(|ConnectPattern { host, .. }| self.host(host));
            }
            Subject::Http { items, except } => both(items, except).for_each(|http| self.host(&http.host)),
            Subject::Ssh { items, except } => both(items, except).for_each(|ssh| {
                self.host(&ssh.host);
                ssh.command.iter().for_each(|command| self.command(command));
            }),
            Subject::Listen { .. } | Subject::Name { .. } | Subject::Tty => {}
        }
    }

    fn command(&mut self, command: &CommandPattern) {
        if let ProgramPattern::Path(path) = &command.program {
            self.path(path);
        }
    }

    fn path(&mut self, path: &PathPattern) {
        if let Root::Variable(variable) = &path.root {
            self.variable(variable);
        }
    }

    fn host(&mut self, host: &HostPattern) {
        if let HostPattern::Environment(name) = host {
            self.0.insert(name.clone());
        }
    }

    fn variable(&mut self, variable: &Variable) {
        if let Variable::Environment(name) = variable {
            self.0.insert(name.clone());
        }
    }
}

fn both<'a, P>(items: &'a [Item<P>], except: &'a [Item<P>]) -> impl Iterator<Item = &'a P> {
    items.iter().chain(except).map(|item| &item.pattern)
}
