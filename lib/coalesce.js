"use strict";
// Packets that go to one client together leave in one write: engine.io makes a system call for
// each, which costs more than all that comes before it.

/** The Engine.IO servers that are seen to. @type {WeakSet<object>} */
const engines = new WeakSet();

/**
 * @param {any} conn
 * @returns {import("node:net").Socket | undefined} the TCP or TLS socket of a WebSocket
 */
const streamOf = (conn) => conn.transport?.socket?._socket;

/** @param {any} engine the Engine.IO server; that of Bun has no such events */
function coalesceWrites(engine) {
  if (typeof engine?.on !== "function" || engines.has(engine)) {
    return;
  }
  engines.add(engine);
  /** @type {Set<import("node:net").Socket>} */
  const corked = new Set();
  // The one comes right before the packets are written, the other right after.
  engine.on("flush", (/** @type {any} */ conn, /** @type {unknown[]} */ packets) => {
    const stream = packets.length > 1 ? streamOf(conn) : undefined;
    if (stream && !corked.has(stream)) {
      corked.add(stream);
      stream.cork();
    }
  });
  engine.on("drain", (/** @type {any} */ conn) => {
    const stream = streamOf(conn);
    if (stream && corked.delete(stream)) {
      stream.uncork();
    }
  });
}

module.exports = { coalesceWrites };
