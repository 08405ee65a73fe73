//! The environment of the command.

use std::collections::BTreeMap;

use super::claims::Findings;
use super::values::TMP;
use crate::bytes;
use crate::diagnostic::{Code, Diagnostic};
use crate::host::Host;
use crate::pattern::{NamePattern, Variable};
use crate::plan::{EnvironmentPlan, NetworkPlan};
use crate::policy::{Effect, Item, NameAction, Policy, SecretHolder, Subject};
use crate::question::Platform;

/// What fence tells the command of itself: the caller's is not passed on.
const OWN: [&str; 2] = ["FENCE", "FENCE_POLICY"];

/// The variables that are passed on and set.
pub(super) fn plan(
    policy: &Policy,
    host: &Host,
    values: &BTreeMap<Variable, Vec<u8>>,
    network: &NetworkPlan,
    findings: &mut Findings,
) -> EnvironmentPlan {
    let mut set = BTreeMap::new();
    if host.platform == Platform::Linux {
        let tmp = values.get(&Variable::Tmp).map_or(TMP, Vec::as_slice);
        set.insert("TMPDIR".to_owned(), bytes::escape(tmp).into_owned());
    }
    if let NetworkPlan::Judged(judged) = network {
        let at = judged.proxy;
        let variables = proxy(&format!("http://{at}"), &format!("socks5h://{at}"));
        set.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    }
    for (name, variable) in &policy.set {
        let text = variable
            .value
            .bytes(values)
            .map_err(|missing| format!("`${}` has no value", missing.name()))
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "its value is not UTF-8".to_owned()));
        match text {
            Ok(text) => {
                set.insert(name.clone(), text);
            }
            Err(why) => findings.diagnostics.push(
                Diagnostic::new(Code::NoValueToSet, format!("`{name}` cannot be set: {why}"))
                    .at(variable.written.place())
                    .help("write the value out, or give the variable one"),
            ),
        }
    }
    let is_passed = |name: &&String| {
        !OWN.contains(&name.as_str()) && !set.contains_key(*name) && passes(policy, host.platform, name)
    };
    EnvironmentPlan { pass: host.environment_names.iter().filter(is_passed).cloned().collect(), set }
}

/// The variables that tell programs of the explicit proxy, by its URLs. None has to know of it; one that does hears why it was refused. Names and
/// addresses of loopback go past it, because they may be the sandbox's own.
#[must_use]
pub fn proxy(http: &str, socks: &str) -> [(&'static str, String); 9] {
    let (http, socks) = (http.to_owned(), socks.to_owned());
    let own = "localhost,127.0.0.1,::1".to_owned();
    [
        ("HTTP_PROXY", http.clone()),
        ("http_proxy", http.clone()),
        ("HTTPS_PROXY", http.clone()),
        ("https_proxy", http),
        ("ALL_PROXY", socks.clone()),
        ("all_proxy", socks),
        ("NO_PROXY", own.clone()),
        ("no_proxy", own),
        ("NODE_USE_ENV_PROXY", "1".to_owned()),
    ]
}

/// Whether a policy passes a variable of the caller's on.
#[must_use]
pub fn passes(policy: &Policy, platform: Platform, name: &str) -> bool {
    let mut allowed = false;
    for rule in policy.rules.iter().filter(|rule| rule.platform.is_none_or(|named| named == platform)) {
        let Subject::Name { action: NameAction::Env, items, except } = &rule.subject else { continue };
        if !matches_any(items, name) || matches_any(except, name) {
            continue;
        }
        if rule.effect != Effect::Allow {
            return false;
        }
        allowed = true;
    }
    let secret = |holder: &SecretHolder| matches!(holder, SecretHolder::Env(held) if held == name);
    allowed && !policy.secrets.iter().any(|held| secret(&held.holder))
}

/// Whether any of these patterns matches a name.
pub(super) fn matches_any(items: &[Item<NamePattern>], name: &str) -> bool {
    items.iter().any(|item| item.pattern.matches(name))
}
