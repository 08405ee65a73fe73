//! What is passed on to whoever asked for a command of a session, one message each.

use serde::{Deserialize, Serialize};

use super::Told;

/// Something that is passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Passed {
    /// An event of the command.
    Told(Told),
    /// One that its caller is told of already.
    Known(Told),
    /// Something that a person should know.
    Note(String),
}

impl Passed {
    /// As the bytes of a message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // INVARIANT: it is made of texts and numbers, and the keys of its objects are texts.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From the bytes of a message; `None` for what is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Passed> {
        serde_json::from_slice(bytes).ok()
    }
}
