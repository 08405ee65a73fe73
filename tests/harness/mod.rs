//! The harness of the black-box suites: a case is data, and is run against the built program as each person.
//!
//! A case lays out a *scene* (files, links, sockets, other processes of the host), runs one command in it
//! under a policy, and judges what came of it: the exit code, the output, and the scene compared before and
//! after. Then it runs its *control*: the same under the policy less the one rule, or without fence. A case
//! whose control comes to the same proves nothing and fails.

mod backend;
mod calls;
mod case;
mod exec;
mod judge;
mod leftovers;
mod person;
mod scene;
mod suite;
mod terminal;
mod tree;

pub use backend::{Backend, Difference, Then};
pub use case::{Control, Expect, Group};
pub use exec::{Ending, Finished, Start};
pub use leftovers::World;
pub use person::Person;
pub use scene::{Ground, Scene, free_port};
pub use suite::{Suite, groups};
pub use terminal::Terminal;
pub use tree::Tree;
