//! The machine as it is: the facts that lowering asks for.
//!
//! What a run needs is cheap: a few small files and system calls, no process, no thread. What would cost more
//! (making a namespace to see whether it can be made) is left to the launch, which explains a refusal itself,
//! and to `fence doctor`.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
pub(crate) mod cgroup;
mod features;
mod files;
mod git;
#[cfg(target_os = "linux")]
mod lacking;
mod named;
mod person;

pub use features::features;
#[cfg(target_os = "linux")]
pub(crate) use features::landlock_abi;
pub(crate) use files::listing;
pub use files::{ProbedFiles, read_entry};
pub use git::{Repository, repository};
pub use named::named_variables;
pub use person::{people_homes, person};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Host;
use fence_compiler::question::Platform;

/// The platform that this program was built for.
pub const PLATFORM: Platform = if cfg!(target_os = "macos") { Platform::MacOs } else { Platform::Linux };

/// Why the machine could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The working directory cannot be used.
    #[error("cannot use the directory `{}`: {error}", path.display())]
    Directory {
        /// The directory, as it was named.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// No home directory is known.
    #[error("no home directory is known for user {uid}: set HOME to a directory of their own")]
    NoHome {
        /// The user number.
        uid: u32,
    },
}

/// The facts that do not depend on a policy. Which variables and files are facts beside them follows from it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The directory the command starts in, without links.
    pub cwd: AbsolutePath,
    /// The repository that holds it.
    pub repository: Option<Repository>,
    /// The person.
    pub person: fence_compiler::host::Person,
}

impl Surroundings {
    /// Looks around in a directory; `None` is the caller's own.
    ///
    /// # Errors
    /// Says why the directory cannot be used, or that no home is known.
    pub fn of(directory: Option<&Path>) -> Result<Surroundings, HostError> {
        let asked = directory.unwrap_or(Path::new("."));
        let failed = |error| HostError::Directory { path: asked.to_owned(), error };
        let real = asked.canonicalize().map_err(failed)?;
        if !real.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let cwd = AbsolutePath::new(real.as_os_str().as_bytes())
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidInput)))?;
        let person = person()?;
        let repository = repository(&cwd, person.uid);
        Ok(Surroundings { cwd, repository, person })
    }
}

/// Makes the whole [`Host`]: the surroundings, the kernel, and the variables that the policy names.
#[must_use]
pub fn probe(surroundings: &Surroundings, named: &BTreeSet<String>, protected: Vec<AbsolutePath>) -> Host {
    let (environment_names, environment) = environment(named);
    Host {
        platform: PLATFORM,
        person: surroundings.person.clone(),
        cwd: surroundings.cwd.clone(),
        git_root: surroundings.repository.as_ref().map(|found| found.root.clone()),
        git_common: surroundings.repository.as_ref().and_then(|found| found.common.clone()),
        environment_names,
        environment,
        features: features(),
        protected,
    }
}

/// The names of the caller's variables, and the values of those named and of `PATH`. What is not text is no
/// fact: a policy cannot name it.
fn environment(named: &BTreeSet<String>) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let mut names = BTreeSet::new();
    let mut values = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        if name == "PATH" || named.contains(&name) {
            values.extend(value.into_string().map(|value| (name.clone(), value)));
        }
        names.insert(name);
    }
    (names, values)
}
