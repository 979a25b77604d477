//! The engine, in plain Rust: everything that does not need Node.js.
//!
//! The modules stand in the order in which they build on each other: each uses only those above it
//! (`__test__/layout/layout.test.js` checks that).

pub mod address;
pub mod error;
pub mod latency;
pub mod stats;
mod random;
mod runtime;
pub mod wire;
pub mod options;
pub mod membership;
pub mod presence;
pub mod namespaces;
pub mod event;
pub mod inbox;
pub mod log;
pub mod warnings;
pub mod connection_health;
pub mod redis;
mod credentials;
pub mod stream;
pub mod control;
pub mod session;
pub mod heartbeats;
mod node_services;
#[allow(clippy::module_inception)]
mod engine;

pub use engine::Engine;
