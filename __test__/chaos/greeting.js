// What a node of the chaos tests does with each client: it puts it into its rooms, and tells it
// whether it was recovered, and why not.

"use strict";

/** What a node says to each client that connects. */
const WELCOME = "welcome";

/** What a client gets back through the stream. */
const ECHO = "echo";

/**
 * @typedef {object} Welcome
 * @property {boolean} recovered
 * @property {number} sender the node
 * @property {string} [reason] why the session that the client came with was not restored
 */

/**
 * @param {import("socket.io").Server} io
 * @param {number} sender
 */
function greet(io, sender) {
  /** By session ID. @type {Map<string, string>} */
  const reasons = new Map();
  const adapter = /** @type {any} */ (io.of("/").adapter);
  const { restoreSession } = adapter;
  adapter.restoreSession = async (/** @type {string} */ pid, /** @type {string} */ offset) => {
    try {
      const session = await restoreSession.call(adapter, pid, offset);
      if (!session) {
        reasons.set(pid, "no session");
      }
      return session;
    } catch (error) {
      reasons.set(pid, error instanceof Error ? error.message : String(error));
      throw error;
    }
  };

  io.on("connection", (socket) => {
    const { rooms, pid } = socket.handshake.auth;
    if (!socket.recovered && rooms) {
      socket.join(rooms);
    }
    const { recovered } = socket;
    // Not through the stream, as socket.emit() goes where state is recovered. And an object at the
    // end: a string would be taken for an offset by the client.
    const reason = reasons.get(pid);
    io.local.to(socket.id).emit(WELCOME, { recovered, sender, reason });
    reasons.delete(pid);
    // All the way through the stream and back.
    socket.on(ECHO, (number) => io.to(socket.id).emit(ECHO, number));
  });
}

module.exports = { greet, ECHO, WELCOME };
