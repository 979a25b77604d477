"use strict";
// Packets that go to one client together leave in one write: engine.io makes a system call for
// each, which costs more than all that comes before it.

const { nextTick } = require("./timers");

/** The Engine.IO servers that are seen to. @type {WeakSet<object>} */
const engines = new WeakSet();

/**
 * @param {any} conn
 * @returns {import("node:net").Socket | undefined} the TCP or TLS socket of a WebSocket: not every
 * `wsEngine` has one there
 */
function streamOf(conn) {
  const stream = conn.transport?.socket?._socket;
  return typeof stream?.cork === "function" ? stream : undefined;
}

/** @param {import("node:net").Socket} stream */
const uncork = (stream) => stream.uncork();

/** @param {any} engine the Engine.IO server; that of Bun has no such event */
function coalesceWrites(engine) {
  if (typeof engine?.on !== "function" || engines.has(engine)) {
    return;
  }
  engines.add(engine);
  // Comes right before the packets are written.
  engine.on("flush", (/** @type {any} */ conn, /** @type {unknown[]} */ packets) => {
    const stream = packets.length > 1 ? streamOf(conn) : undefined;
    if (stream !== undefined) {
      stream.cork();
      // Not behind "drain", which does not come when a listener of the user's throws before.
      nextTick(uncork, stream);
    }
  });
}

module.exports = { coalesceWrites };
