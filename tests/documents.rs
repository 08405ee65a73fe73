//! Policies as data: the same statements, one schema.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use fence_compiler::document::{Document, from_tree, schema};
use serde_json::{Value, json};

const EXAMPLE: &str = include_str!("data/example.fence");

fn as_value(text: &str) -> Value {
    let parsed = fence_grammar::parse(text);
    assert_eq!(parsed.errors, []);
    serde_json::to_value(from_tree(parsed.file)).unwrap()
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

#[test]
fn a_text_and_its_data_are_one_document() {
    let value = as_value(EXAMPLE);
    let read: Document = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), value);
    let yaml = serde_yaml::to_string(&read).unwrap();
    assert_eq!(serde_yaml::from_str::<Document>(&yaml).unwrap(), read);
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("document", yaml);
    });
}

#[test]
fn the_built_in_policies_and_the_example_are_valid_by_the_schema() {
    let validator = validator();
    for (name, text) in fence_policies::ALL.iter().copied().chain([("example", EXAMPLE)]) {
        let value = as_value(text);
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_policy_of_the_manual_reads_as_data() {
    let yaml = r#"
fence: 1
policy: agent
include: [base, {policy: registries, without: [docker-hub], because: this team pulls no images}]
rules:
  - allow: [read, write]
    items: [$workspace, $tmp]
  - never: [read, write]
    items: ["~/.ssh", "~/.aws"]
    except: ["~/.ssh/known_hosts"]
    as: secrets
    because: credentials stay on the host
  - allow: listen
    items: 8080
limits: {time: 30m, memory: 4GiB}
tests:
  - name: credentials
    expect: [{deny: read, item: "~/.ssh/id_ed25519", by: secrets}]
"#;
    let value: Value = serde_yaml::from_str(yaml).unwrap();
    assert!(validator().is_valid(&value));
    let document: Document = serde_yaml::from_str(yaml).unwrap();
    assert_eq!(document.rules[2].items[0].node, "8080");
}

#[test]
fn what_is_no_policy_is_refused_by_schema_and_reader_alike() {
    let validator = validator();
    for value in no_policies() {
        assert!(!validator.is_valid(&value), "schema: {value}");
        assert!(serde_json::from_value::<Document>(value.clone()).is_err(), "reader: {value}");
    }
}

/// Values that are no policies.
fn no_policies() -> Vec<Value> {
    vec![
        json!({"rules": [{"allow": "read", "deny": "read", "items": "/a"}]}),
        json!({"rules": [{"items": "/a"}]}),
        json!({"rules": [{"allow": "raed", "items": "/a"}]}),
        json!({"rules": [{"allow": "read", "items": "/a", "becuase": "x"}]}),
        json!({"rules": [{"allow": "read", "items": [true]}]}),
        json!({"rules": [{"allow": [], "items": "/a"}]}),
        json!({"fence": "1"}),
        json!({"tls": "loose"}),
        json!({"limits": {"tiem": "3s"}}),
        json!({"limits": {"time": 3}}),
        json!({"secrets": [{"env": "A", "file": "/a", "to": "h"}]}),
        json!({"secrets": [{"to": "h"}]}),
        json!({"tests": [{"name": "x", "expect": [{"allow": "tty", "deny": "tty"}]}]}),
        json!({"include": [{"without": ["x"]}]}),
        json!({"name": "x"}),
        json!({"let": {"a": 1}}),
        json!({"on": {"windows": {}}}),
        json!({"policy": null}),
    ]
}

/// What another validator, Python's, says of values that are valid and of values that are not.
const OTHER: &str = "import json, sys, jsonschema
given = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(given['schema'])
validator = jsonschema.Draft202012Validator(given['schema'])
print(json.dumps([validator.is_valid(value) for value in given['values']]))";

#[test]
fn another_validator_agrees_on_what_is_valid() {
    let python = |arguments: &[&str]| {
        let mut python = std::process::Command::new("/usr/bin/python3");
        python.args(arguments).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        python
    };
    if !python(&["-c", "import jsonschema"])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "python3-jsonschema is not installed");
        println!("skipped: python3-jsonschema is not installed");
        return;
    }
    let valid = fence_policies::ALL.iter().map(|(_, text)| as_value(text)).chain([as_value(EXAMPLE)]);
    let (valid, invalid): (Vec<Value>, Vec<Value>) = (valid.collect(), no_policies());
    let values = [valid.as_slice(), invalid.as_slice()].concat();
    let given = json!({"schema": schema(), "values": values});
    let mut child = python(&["-c", OTHER]).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said: Vec<bool> = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [vec![true; valid.len()], vec![false; invalid.len()]].concat();
    assert_eq!(said, expected);
}

#[test]
fn the_schema_on_disk_is_the_one_of_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/policy.schema.json");
    let fresh = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("FENCE_UPDATE").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let on_disk = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        on_disk == fresh,
        "schemas/policy.schema.json is stale: `FENCE_UPDATE=1 cargo test -p fence-compiler --test documents` renews it"
    );
}
