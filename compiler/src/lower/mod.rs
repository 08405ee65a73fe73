//! Lowering: from what a policy means to what a target applies, and how faithfully.

pub mod linux;

mod calls;
