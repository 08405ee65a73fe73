//! The artifact: one document, the same for the same policy and machine, and readable.

use fence_compiler::artifact::{self, Artifact, Lowering, compile, differences};
use fence_compiler::fidelity::Level;
use fence_compiler::host::{Entry, Host};
use fence_compiler::policy::Policy;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

use super::machine::{DEBIAN, files, host, path};
use super::model::Model;
use super::written::policy;

struct BuiltIn;

impl Loader for BuiltIn {
    fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        match reference {
            Reference::Name(name) => Ok(built_in(name)),
            Reference::Path(_) => Err(LoadError::NoDirectory),
        }
    }
}

fn built_in(name: &str) -> Source {
    Source {
        origin: Origin::BuiltIn(name.to_owned()),
        name: format!("<built-in {name}>"),
        text: fence_policies::get(name).unwrap().to_owned(),
    }
}

fn default_policy() -> Policy {
    resolve(&Request { mains: vec![built_in("default")], ..Request::default() }, &BuiltIn).policy
}

fn repository() -> Host {
    let mut host = host("/home/ada/work/src");
    host.git_root = Some(path("/home/ada/work"));
    host
}

#[test]
fn the_built_in_policies_lower_without_an_error() {
    for (name, _) in fence_policies::ALL {
        let resolved = resolve(&Request { mains: vec![built_in(name)], ..Request::default() }, &BuiltIn);
        let mut root = repository();
        root.person.uid = 0;
        root.person.home = path("/root");
        for host in [repository(), root, host("/tmp/x")] {
            let found = compile(resolved.policy.clone(), host, &mut files(DEBIAN), "0").diagnostics;
            assert_eq!(found, [], "{name}");
        }
    }
}

#[test]
fn the_default_policy_as_a_person_reads_it() {
    let compiled = compile(default_policy(), repository(), &mut files(DEBIAN), "0.1.0").value;
    let Lowering::Native { plan } = &compiled.lowering else { panic!("not native") };
    Model::new(plan, &files(DEBIAN));
    insta::assert_snapshot!(artifact::text(&compiled));
}

#[test]
fn every_call_that_is_refused_says_why() {
    let compiled = compile(policy("allow read /usr"), repository(), &mut files(DEBIAN), "0.1.0").value;
    let Lowering::Native { plan } = &compiled.lowering else { panic!("not native") };
    insta::assert_snapshot!(fence_compiler::plan::text(plan, &compiled.policy));
}

#[test]
fn an_artifact_survives_json_and_fits_its_schema() {
    let compiled = compile(default_policy(), repository(), &mut files(DEBIAN), "0.1.0").value;
    let json = serde_json::to_value(&compiled).unwrap();
    let validator = jsonschema::validator_for(&artifact::schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(serde_json::from_value::<Artifact>(json).unwrap(), compiled);
}

/// The facts that were recorded are enough to come to the same artifact again, anywhere.
#[test]
fn an_artifact_can_be_made_again_from_its_own_facts() {
    let first = compile(default_policy(), repository(), &mut files(DEBIAN), "0.1.0").value;
    let again = compile(first.policy.clone(), first.host.clone(), &mut first.files.clone(), "0.1.0").value;
    assert_eq!(again, first);
}

#[test]
fn facts_that_differ_are_named() {
    let old = files(DEBIAN);
    let new = files(DEBIAN).with(path("/home/ada/work/.git/config"), Entry::Missing);
    assert_eq!(differences((&repository(), &old), (&repository(), &old)), Vec::<String>::new());
    let mut moved = repository();
    moved.cwd = path("/home/ada/work");
    moved.features.landlock_abi = 4;
    insta::assert_snapshot!(differences((&repository(), &old), (&moved, &new)).join("\n"));
}

#[test]
fn the_built_in_policies_say_where_they_are_weaker() {
    let compiled = compile(default_policy(), repository(), &mut files(DEBIAN), "0.1.0").value;
    let weaker = compiled.fidelity.iter().filter(|told| told.level == Level::Weaker);
    assert!(weaker.clone().count() > 0);
    assert!(weaker.clone().all(|told| !told.why.is_empty()));
}

#[test]
fn the_schema_on_disk_is_the_one_of_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/artifact.schema.json");
    let fresh = format!("{}\n", serde_json::to_string_pretty(&artifact::schema()).unwrap());
    if std::env::var_os("FENCE_UPDATE").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let on_disk = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        on_disk == fresh,
        "schemas/artifact.schema.json is stale: `FENCE_UPDATE=1 cargo test -p fence-compiler --test lowering` renews it"
    );
}
