//! The values that variables have on a machine.

use std::collections::BTreeMap;

use crate::bytes::AbsolutePath;
use crate::host::Host;
use crate::pattern::Variable;
use crate::policy::Policy;
use crate::source::{Origin, SourceId};

/// Where `$tmp` lies inside.
pub(super) const TMP: &[u8] = b"/tmp";

/// The values of all variables that have one.
#[must_use]
pub fn of(host: &Host, policy: &Policy) -> BTreeMap<Variable, Vec<u8>> {
    let bytes = |path: &AbsolutePath| path.as_bytes().to_vec();
    let mut values = BTreeMap::from([
        (Variable::Cwd, bytes(&host.cwd)),
        (Variable::Workspace, bytes(host.git_root.as_ref().unwrap_or(&host.cwd))),
        (Variable::Home, bytes(&host.person.home)),
        (Variable::Tmp, TMP.to_vec()),
        (Variable::User, host.person.name.clone().into_bytes()),
    ]);
    if let Some(root) = &host.git_root {
        values.insert(Variable::GitRoot, bytes(root));
    }
    if let Some(common) = &host.git_common {
        values.insert(Variable::GitCommon, bytes(common));
    }
    for (id, source) in (0..).map(SourceId).zip(&policy.sources) {
        if let Origin::File(path) | Origin::User(path) | Origin::Machine(path) = &source.origin
            && let Some(directory) = path.parent()
        {
            values.insert(Variable::PolicyDir(id), bytes(&directory));
        }
    }
    for (name, value) in &host.environment {
        values.insert(Variable::Environment(name.clone()), value.clone().into_bytes());
    }
    values
}
