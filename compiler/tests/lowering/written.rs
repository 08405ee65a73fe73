//! Policies for these tests, from their text.

use fence_compiler::policy::Policy;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

struct Nothing;

impl Loader for Nothing {
    fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        Err(LoadError::UnknownName { known: Vec::new() })
    }
}

/// The policy that a text means. What resolving finds wrong with it is not looked at here: lowering is total.
pub fn policy(text: &str) -> Policy {
    let main = Source { origin: Origin::Given("test".into()), name: "test".into(), text: text.into() };
    let request = Request { mains: vec![main], set: Vec::new(), above: Vec::new() };
    resolve(&request, &Nothing).policy
}
