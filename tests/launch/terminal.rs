//! The terminal and job control: a command behaves as it does without fence.

use crate::Case;
use crate::world::World;

pub const CASES: &[Case] = &[];
