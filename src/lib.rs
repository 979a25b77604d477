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
//! `docs/architecture.md` follows the data through the modules and explains the terms.
//!
//! # Layout
//!
//! - [`engine`]: plain Rust, knows nothing of Node.js. `engine/mod.rs` declares the modules in the
//!   order in which they build on each other; this list goes from the top down.
//!   - [`engine::Engine`] starts, wires and stops the rest: that of a node, or that of an emitter,
//!     which has writers only (`engine::options::Role`; `engine/node_services.rs` is what only a
//!     node has).
//!   - [`engine::session`]: sessions of connection state recovery, saved and restored.
//!   - [`engine::control`]: the PUB/SUB connections, requests and answers.
//!   - [`engine::heartbeats`]: this node's heartbeats, if requests travel in the stream.
//!   - [`engine::stream`]: the cursor, the reader, the writer, own entries, history.
//!   - [`engine::redis`]: connection settings, finding the server (single, cluster, sentinel), which
//!     server is current, dialling (TCP, unix socket, TLS), credentials that change, backoff.
//!   - [`engine::inbox`], [`engine::event`]: what waits for the JS thread, bounded in bytes.
//!   - [`engine::namespaces`]: open namespaces, and which rooms have a member here.
//!   - [`engine::membership`]: which nodes of our own kind are alive.
//!   - [`engine::presence`]: the same if requests travel in the stream, as in upstream 0.2.
//!   - [`engine::wire`]: the formats of stream entries, sessions, messages and heartbeats.
//!   - [`engine::stats`], [`engine::connection_health`], [`engine::warnings`], [`engine::log`],
//!     [`engine::error`]: counters, connections as an operator sees them, warnings, `DEBUG=` lines,
//!     errors.
//! - `fuzzing`: properties of what reads bytes from Redis, for `fuzz/` and the tests only.
//! - `testing`: servers that the tests of the tasks play, over sockets in memory.
//! - `node`: the N-API face, the only module that names napi.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map is for those who change the engine: cargo doc --document-private-items"
)]

mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod node;
#[cfg(test)]
mod testing;

/// What JS hands over is freed on the engine's threads, and the other way round: a fifth of a
/// publish is spent on that in glibc's allocator, and more in musl's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
