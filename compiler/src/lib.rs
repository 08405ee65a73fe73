//! The compiler of fence policies.
//!
//! It takes a policy from its syntax tree ([`fence_grammar`]) or its document form ([`document`]) to a typed
//! [`policy::Policy`], answers questions about it ([`decide`]), and lowers it to what a target applies
//! ([`plan`]), knowing for each rule how faithfully it is enforced ([`fidelity`]).
//!
//! It is pure: no system call, no thread, no clock, no environment. Policy files come through
//! [`source::Loader`], the machine as a [`host::Host`] value and through [`host::Files`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod artifact;
mod asked;
pub mod bytes;
pub mod cover;
pub mod decide;
pub mod diagnostic;
pub mod document;
pub mod fidelity;
mod fold;
pub mod grant;
pub mod host;
mod inclusion;
pub mod index;
pub mod lower;
pub mod narrowing;
pub mod paths;
pub mod pattern;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod profile;
pub mod question;
pub mod reach;
pub mod resolve;
pub mod source;
pub mod suite;
pub mod world;
