//! `fence policies` and `fence schema`

use serde_json::{Value, json};

use super::arguments::{Format, Policies, Schema, WhichSchema};
use super::json;
use super::policy::unknown;
use super::screen::{Screen, paint};

/// The schemas, as `schemas/` has them; generating them would take more of the program than they do.
const POLICY: &str = include_str!(concat!(env!("OUT_DIR"), "/policy.schema.json"));
const ARTIFACT: &str = include_str!(concat!(env!("OUT_DIR"), "/artifact.schema.json"));

/// Lists the policies that come with fence, or prints one.
pub(super) fn policies(arguments: &Policies, screen: Screen) -> anyhow::Result<u8> {
    if let Some(name) = &arguments.name {
        let text = fence_policies::get(name).ok_or_else(|| unknown(name))?;
        match arguments.format {
            Format::Text => screen.print(text)?,
            Format::Json => {
                json::print(screen, &json!({ "version": json::VERSION, "name": name, "text": text }))?
            }
        }
        return Ok(0);
    }
    let described = fence_policies::ALL.iter().map(|(name, text)| (*name, description(text)));
    match arguments.format {
        Format::Text => {
            let mut list = String::new();
            for (name, description) in described {
                list.push_str(&format!(
                    "{}  {description}\n",
                    paint(screen.out, &format!("{name:<16}"), "1")
                ));
            }
            screen.print(&list)?;
        }
        Format::Json => {
            let list: Vec<_> = described
                .map(|(name, description)| json!({ "name": name, "description": description }))
                .collect();
            json::print(screen, &json!({ "version": json::VERSION, "policies": list }))?;
        }
    }
    Ok(0)
}

/// What a built-in policy says that it is for.
fn description(text: &str) -> String {
    let document = fence_compiler::document::from_tree(fence_grammar::parse(text).file);
    document.description.map(|description| description.node).unwrap_or_default()
}

/// Prints the JSON Schemas.
pub(super) fn schema(arguments: &Schema, screen: Screen) -> anyhow::Result<u8> {
    let read = serde_json::from_str::<Value>;
    let answer = match arguments.which {
        Some(WhichSchema::Policy) => read(POLICY)?,
        Some(WhichSchema::Artifact) => read(ARTIFACT)?,
        None => json!({ "version": json::VERSION, "policy": read(POLICY)?, "artifact": read(ARTIFACT)? }),
    };
    json::print(screen, &answer)?;
    Ok(0)
}
