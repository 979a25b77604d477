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

module.exports = { coalesceWrites, streamOf };
