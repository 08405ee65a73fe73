//! What lowering yields: plans of machines made by hand, and a model of the plan that answers as the policy does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::disallowed_methods)]

mod agreement;
mod artifacts;
mod astray;
mod commands;
mod limits;
mod machine;
mod model;
mod network;
mod offers;
mod plans;
mod targets;
mod told;
mod trees;
mod written;
