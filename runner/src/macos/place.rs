//! What a run makes in the file system: its own `$tmp`, and the profile in a private directory beside it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fence_compiler::profile::SeatbeltPlan;

use super::{failed, path};
use crate::audit::visible;
use crate::cli::in_words;
use crate::launch::Error;

/// The name of the run's own profile.
const PROFILE: &str = "profile.sb";

/// The places of a run; they are gone when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    tmp: PathBuf,
    private: PathBuf,
}

impl Place {
    /// Makes both, for the caller alone. Neither may exist: a name that is taken is refused, never shared.
    pub(super) fn make(plan: &SeatbeltPlan) -> Result<Place, Error> {
        let tmp = path(plan.tmp.as_bytes()).to_owned();
        let mut name = tmp.as_os_str().to_owned();
        name.push("-profile");
        let private = PathBuf::from(name);
        let directory = |at: &Path| DirBuilder::new().mode(0o700).create(at);
        directory(&tmp).map_err(|error| failed("make the directory", &plan.tmp, &error))?;
        let place = Place { tmp, private };
        let told = fence_compiler::bytes::AbsolutePath::new(place.private.as_os_str().as_bytes());
        let told = told.unwrap_or_else(|| plan.tmp.clone());
        directory(&place.private).map_err(|error| failed("make the directory", &told, &error))?;
        place.add(PROFILE, &plan.profile)?;
        Ok(place)
    }

    /// The file of the run's own profile.
    pub(super) fn profile(&self) -> PathBuf {
        self.private.join(PROFILE)
    }

    /// Writes a profile down, for the caller alone.
    pub(super) fn add(&self, name: &str, profile: &str) -> Result<PathBuf, Error> {
        let at = self.private.join(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&at)
            .and_then(|mut file| file.write_all(profile.as_bytes()));
        written.map_err(|error| Error::Step {
            attempt: format!("cannot write the profile in `{}`", visible(&self.private.to_string_lossy())),
            reason: in_words(&error.to_string()),
            repair: "nothing was run".to_owned(),
            rules: Vec::new(),
        })?;
        Ok(at)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.private);
        let _ = fs::remove_dir_all(&self.tmp);
    }
}
