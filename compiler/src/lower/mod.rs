//! Lowering: from what a policy means to what a target applies, and how faithfully.

pub mod landlock;
pub mod linux;
pub mod seatbelt;
pub mod target;
pub mod values;

mod acceptance;
mod atlas;
mod calls;
mod claims;
mod commands;
mod coverage;
mod devices;
pub mod environment;
mod features;
mod judgement;
mod limits;
mod mounts;
mod names;
mod naming;
mod network;
mod region;
mod report;
mod sockets;
mod unset;
