//! The proxy on loopback, without any namespace.

mod exchange;
mod hostile;
mod memory;
mod names;
mod relay;
mod scene;
mod socks;
mod transparent;
mod upstream;
