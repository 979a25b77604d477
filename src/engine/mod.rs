//! The engine, in plain Rust: everything that does not need Node.

pub mod control;
mod credentials;
#[allow(clippy::module_inception)]
mod engine;
pub mod error;
pub mod inbox;
pub mod latency;
pub mod link;
pub mod log;
pub mod membership;
pub mod namespaces;
pub mod options;
mod peer;
pub mod presence;
mod random;
pub mod redis;
mod runtime;
pub mod session;
pub mod stats;
pub mod stream;
pub mod warnings;
pub mod wire;

pub use engine::Engine;
