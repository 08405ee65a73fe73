//! Overlays: what a command writes to the host's files is kept beside them.
//!
//! An overlay that has a name lies in a folder of fence's state, `overlays/NAME`, which nobody else can enter and which
//! is nowhere inside. For each directory that was written there is a layer, made of what the kernel keeps for it (`upper`,
//! with `work` beside) and of what the host had there when that was written (`base`); for each single file there is a copy.
//!
//! Everything in a layer was made by programs that are not trusted: their names are escaped where they are shown, their
//! links are never followed, and what is carried over to the host is written anew.

mod apply;
mod base;
mod change;
mod content;
mod folder;
mod layers;
mod prune;
mod removal;
mod review;
mod tree;
mod view;

pub use apply::{Failure, Force};
pub use change::{Change, Conflict};
pub use folder::{Folder, Held, Name, Place, last_used, places};
pub use layers::Overlay;
pub use review::Review;
pub use tree::{Node, NodeKind};
pub use view::Merged;

use std::io;

use fence_compiler::bytes::AbsolutePath;

use crate::trust::TrustError;

/// Why something cannot be done with an overlay.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was given is no name.
    #[error(
        "`{0}` is no name of an overlay: letters, digits, `-`, `_` and `.`, not more than 64, and not `tmp`"
    )]
    Name(String),
    /// There is none.
    #[error("there is no overlay `{0}`; `fence overlay list` names those there are")]
    None(String),
    /// A run or another word of fence's uses it.
    #[error("the overlay `{0}` is in use: wait until the run that uses it has ended, or take another name")]
    InUse(String),
    /// The folder cannot be relied on.
    #[error(transparent)]
    Folder(#[from] TrustError),
    /// The policy lets something be written that no layer can be over.
    #[error("no overlay: {0}; run without `--overlay`, or with a policy that does not let it be written")]
    Unfit(String),
    /// The overlay holds something that the run would not see.
    #[error(
        "the overlay `{name}` has something for `{over}`, which can be seen under this policy and not be written: take another name"
    )]
    Unseen {
        /// Its name.
        name: String,
        /// What they are to.
        over: AbsolutePath,
    },
    /// The system refuses something.
    #[error("cannot {doing} `{path}`: {error}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// On what, escaped.
        path: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

impl Error {
    fn system(doing: &'static str, path: &AbsolutePath) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_string();
        move |error| Error::System { doing, path, error }
    }
}
