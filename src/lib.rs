//! The engine of `socket.io-redis-streams-native`: lets several Socket.IO servers (nodes) act as
//! one, over Redis Streams.
//!
//! # How does it work?
//!
//! ```text
//! emit → Adapter.broadcast → Engine::publish ─► Writer ══XADD══► Redis stream
//!                                                                  ║ XREAD
//! local sockets ◄─ Adapter (one wake per batch) ◄─ Inbox ◄───── Reader ─► History
//! requests (fetchSockets, serverSideEmit, acks) ◄──── PUB/SUB ────► Control
//! who is alive ◄──── heartbeats ────► Membership
//! ```
//!
//! # Layout
//!
//! - [`engine`]: plain Rust, knows nothing of Node.
//!   - [`engine::Engine`] starts, wires and stops the rest: that of a node, or that of an emitter, which
//!     has writers only (`engine::options::Role`; what makes a node of it is in `engine/node_services.rs`).
//!   - [`engine::redis`]: connection settings, finding the server (single, cluster, sentinel),
//!     dialling (TCP, unix socket, TLS), credentials that change, backoff.
//!   - [`engine::stream`]: entry IDs, the reader, the writer, own entries on their way, history.
//!   - [`engine::wire`]: what travels in stream entries, sessions and heartbeats.
//!   - [`engine::control`]: the PUB/SUB connection, requests and answers.
//!   - [`engine::membership`]: which nodes of our own kind are alive.
//!   - [`engine::presence`]: the same where requests travel in the stream, as in upstream 0.2.
//!   - [`engine::session`]: sessions of connection state recovery.
//!   - [`engine::inbox`]: what waits for the JS thread, bounded in bytes.
//!   - [`engine::stats`], [`engine::log`], [`engine::error`]: counters, `DEBUG=` lines, errors.
//! - `fuzzing`: properties of what reads bytes from Redis, for `fuzz/` and the tests only.
//! - `testing`: servers that the tests of the tasks play, over sockets in memory.
//! - `node`: the N-API face, the only module that names napi.

pub mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod node;
#[cfg(test)]
mod testing;

/// What JS hands over is freed on the engine's threads, and the other way round: a fifth of a
/// publish is spent on that in glibc's allocator, and more in musl's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
