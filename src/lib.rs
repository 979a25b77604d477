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
//! which nodes are alive ◄──── heartbeats ────► Membership
//! ```
//!
//! `docs/architecture.md` follows the data through the modules and explains the terms.
//!
//! # Layout
//!
//! - [`engine`]: plain Rust, knows nothing of Node.js. `engine/mod.rs` declares the modules in the
//!   order in which they build on each other; this list goes from the top down.
//!   - [`engine::Engine`] starts, connects and stops the rest. The engine of an emitter has writers
//!     only (`engine::options::Role`); `engine/node_services.rs` has what only a node has.
//!   - [`engine::session`]: sessions of connection state recovery, saved and restored.
//!   - [`engine::control`]: the PUB/SUB connections, requests and answers.
//!   - [`engine::heartbeats`]: this node's heartbeats, if requests travel in the stream.
//!   - [`engine::stream`]: the cursor, the reader, the writer, own entries, history.
//!   - [`engine::redis`]: connection settings, finding the server (single, cluster, sentinel), which
//!     server is current, dialling (TCP, unix socket, TLS), credentials that change, backoff.
//!   - [`engine::inbox`], [`engine::event`]: events, and the queue in which they wait for the
//!     JS thread, bounded in bytes.
//!   - [`engine::left_out`]: broadcasts that get a recipient while JS handles their slice.
//!   - [`engine::namespaces`]: open namespaces, and which rooms have a member here.
//!   - [`engine::membership`]: which nodes of this package are alive.
//!   - [`engine::presence`]: the same if requests travel in the stream, as in upstream 0.2.
//!   - [`engine::wire`]: the formats of stream entries, sessions, messages and heartbeats.
//!   - [`engine::stats`], [`engine::connection_health`], [`engine::warnings`], [`engine::log`],
//!     [`engine::error`]: counters, connections as an operator sees them, warnings, `DEBUG=` lines,
//!     errors.
//! - `fuzzing`: properties of the decoders of bytes from Redis, for `fuzz/` and the tests only.
//! - `testing`: scripted Redis servers over sockets in memory, for the tests of the tasks.
//! - `node`: the N-API binding, the only module that uses napi.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the map is for those who change the engine: cargo doc --document-private-items"
)]

mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
// Public, or its functions would count as unused in tests, where napi registers none.
pub mod node;
#[cfg(test)]
mod testing;

/// The engine's threads free what the JS thread has allocated, and the other way round. With
/// glibc's allocator that takes a fifth of the time of a publish, with musl's more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
