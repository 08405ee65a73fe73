//! `fence show`

use std::ffi::OsString;

use fence_compiler::diagnostic::render;
use fence_compiler::document::{Form, convert};
use fence_compiler::policy::Rule;

use super::arguments::{Show, ShowFormat};
use super::json;
use super::policy::load;
use super::screen::Screen;
use crate::printer;

/// Shows a resolved policy, each rule with where it comes from.
pub(super) fn show(arguments: &Show, screen: Screen) -> anyhow::Result<u8> {
    let policies: Vec<OsString> = arguments.chosen.policy.iter().chain(&arguments.named).cloned().collect();
    let loaded = load(&policies, &arguments.chosen.changes)?;
    if loaded.has_errors() {
        screen.tell(&render::text(&loaded.resolved.diagnostics, &loaded.resolved.sources, screen.err));
        return Ok(super::UNABLE);
    }
    let mut policy = loaded.resolved.policy;
    if let Some(label) = &arguments.label {
        let rules: Vec<Rule> =
            policy.rules.iter().filter(|rule| rule.label.as_ref() == Some(label)).cloned().collect();
        if rules.is_empty() {
            anyhow::bail!("no rule of this policy has the label `{}`", crate::audit::visible(label));
        }
        policy.rules = rules;
        policy.left_out.retain(|left_out| left_out.label == *label);
        policy.set.clear();
        policy.secrets.clear();
        policy.limits.clear();
        policy.upstreams.clear();
        policy.tls = None;
    }
    match arguments.format {
        ShowFormat::Fence => screen.print(&printer::policy(&policy))?,
        ShowFormat::Yaml => {
            let text = convert(&printer::policy(&policy), Form::Fence, Form::Yaml);
            let text = text.map_err(|_| anyhow::anyhow!("this policy cannot be written as YAML"))?;
            screen.print(&text.text)?;
        }
        ShowFormat::Json => {
            json::print(screen, &serde_json::json!({ "version": json::VERSION, "policy": policy }))?;
        }
    }
    Ok(0)
}
