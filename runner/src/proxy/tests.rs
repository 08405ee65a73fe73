//! The proxy on loopback, without any namespace.

mod asking;
mod exchange;
mod hostile;
mod memory;
mod names;
mod relay;
mod scene;
mod socks;
mod transparent;
mod upstream;
