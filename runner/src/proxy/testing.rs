//! Policies for tests.

use fence_compiler::policy::Policy;
use fence_compiler::question::Platform;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};
use fence_compiler::world::World;

use super::judge::Judge;

/// The judge of a policy with these rules.
pub(super) fn judge(rules: &str) -> Judge {
    Judge { policy: policy(rules), world: World::test_default(Platform::Linux) }
}

/// A policy with these rules.
pub(crate) fn policy(rules: &str) -> Policy {
    struct Nothing;
    impl Loader for Nothing {
        fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            Err(LoadError::NoDirectory)
        }
    }
    let text = format!("fence 1\npolicy testing \"A test\"\n{rules}\n");
    let origin = Origin::Given("testing.fence".to_owned());
    let source = Source { origin, name: "testing.fence".to_owned(), text };
    let resolved = resolve(&Request { mains: vec![source], ..Request::default() }, &Nothing);
    let errors: Vec<_> = resolved
        .diagnostics
        .iter()
        .filter(|found| found.severity == fence_compiler::diagnostic::Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    resolved.policy
}
