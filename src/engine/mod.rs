//! The engine, in plain Rust: everything that does not need Node.js.
//!
//! The modules are declared in the order in which they build on each other: each uses only those
//! above it (`__test__/layout/layout.test.js` checks that).

pub(crate) mod address;
pub(crate) mod memory;
pub(crate) mod error;
pub(crate) mod latency;
pub(crate) mod stats;
mod random;
mod runtime;
pub(crate) mod wire;
pub(crate) mod options;
pub(crate) mod membership;
pub(crate) mod presence;
mod room_set;
pub(crate) mod namespaces;
pub(crate) mod missed;
pub(crate) mod event;
pub(crate) mod left_out;
pub(crate) mod inbox;
pub(crate) mod log;
pub(crate) mod warnings;
pub(crate) mod connection_health;
pub(crate) mod redis;
mod credentials;
pub(crate) mod stream;
pub(crate) mod control;
pub(crate) mod session;
pub(crate) mod heartbeats;
mod node_services;
#[allow(clippy::module_inception)]
mod engine;

pub(crate) use engine::Engine;
