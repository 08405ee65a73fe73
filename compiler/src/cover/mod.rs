//! Whether an item covers a question, on the side it stands on.
//!
//! One module a kind of question: each takes the question together with its world, once, and is then asked
//! about one item after the other. What closes matches widely, what opens matches narrowly, and whatever an
//! item covers when it opens it covers when it closes.

mod addresses;
mod always;
mod command;
mod host;
mod options;
mod path;
mod program;
mod request;

pub(crate) use addresses::{addresses_of, each_address};
pub(crate) use always::{CLOSED_CALLS, always_closed, is_below, is_open_device, is_own_process};
pub use command::StartAsked;
pub(crate) use command::{spoken_names, words_close};
pub(crate) use host::meanings;
pub use host::{HostAsked, Need, is_internal};
pub(crate) use path::readings;
pub use path::{PROGRAM_DIRECTORIES, PathAsked};
pub(crate) use program::program_is_closed;
pub use request::{RequestAsked, SshAsked};

use crate::pattern::{NamePattern, Polarity, PortRange};
use crate::policy::Item;

/// A question in its world, to be compared with items of one kind.
pub trait Covers<P> {
    /// Whether the item covers the question.
    fn covers(&self, pattern: &P, polarity: Polarity) -> bool;
}

/// Whether a rule with these items covers the question: one of its items does, and none of its `except`.
pub fn rule_covers<P>(
    asked: &impl Covers<P>,
    items: &[Item<P>],
    except: &[Item<P>],
    polarity: Polarity,
) -> bool {
    items.iter().any(|item| asked.covers(&item.pattern, polarity))
        && !except.iter().any(|item| asked.covers(&item.pattern, polarity.opposite()))
}

/// A port to offer, which every item reads the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAsked(pub u16);

impl Covers<PortRange> for PortAsked {
    fn covers(&self, pattern: &PortRange, _: Polarity) -> bool {
        pattern.contains(self.0)
    }
}

/// A plain name, which every item reads the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAsked<'a>(pub &'a str);

impl Covers<NamePattern> for NameAsked<'_> {
    fn covers(&self, pattern: &NamePattern, _: Polarity) -> bool {
        pattern.matches(self.0)
    }
}
