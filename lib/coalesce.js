"use strict";
// Writes several packets for one client together. engine.io makes a system call for each packet, which
// costs more than everything before it.

const { nextTick } = require("./timers");

/** The Engine.IO servers that already have the listener. @type {WeakSet<object>} */
const engines = new WeakSet();

/**
 * @param {any} conn
 * @returns {import("node:net").Socket | undefined} the TCP or TLS socket of a WebSocket; not every
 * `wsEngine` has one in this place
 */
function streamOf(conn) {
  const stream = conn.transport?.socket?._socket;
  return typeof stream?.cork === "function" ? stream : undefined;
}

/** @param {import("node:net").Socket} stream */
const uncork = (stream) => stream.uncork();

/** @param {any} engine the Engine.IO server; Bun's does not have the event */
function coalesceWrites(engine) {
  if (typeof engine?.on !== "function" || engines.has(engine)) {
    return;
  }
  engines.add(engine);
  // engine.io emits it right before it writes the packets.
  engine.on("flush", (/** @type {any} */ conn, /** @type {unknown[]} */ packets) => {
    const stream = packets.length > 1 ? streamOf(conn) : undefined;
    if (stream !== undefined) {
      stream.cork();
      // Not in "drain": that event is not emitted if an earlier listener of the user's throws.
      nextTick(uncork, stream);
    }
  });
}

/**
 * Keeps what is written to a connection until the tick ends, and then hands it to the transport at once.
 * Otherwise the first packet would go alone: it would end a long-polling request that waits, and the
 * client would have the rest one request later.
 *
 * @param {any} conn
 */
function writeTogether(conn) {
  const { transport } = conn;
  if (transport?.writable !== true || typeof conn.flush !== "function") {
    return; // The transport is busy and keeps the packets anyway, or the engine is another one (Bun's).
  }
  // As during a write. What is volatile is discarded, as it is behind a packet that was just sent.
  transport.writable = false;
  nextTick(() => {
    transport.writable = true;
    if (transport.readyState === "open") {
      conn.flush();
    } else if (transport.res) {
      transport.send([{ type: "noop" }]); // as engine.io ends the request of a connection that it closes
    }
  });
}

module.exports = { coalesceWrites, writeTogether };
