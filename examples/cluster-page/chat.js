"use strict";
// The chat of the page: what is written on one node is read on all.

/**
 * @param {unknown} text
 * @param {number} maxLength
 * @returns {string} trimmed and cut; empty when it is no text at all
 */
function clean(text, maxLength) {
  return typeof text === "string" ? text.trim().slice(0, maxLength) : "";
}

/**
 * @param {import("socket.io").Server} io
 * @param {string} node this one's name
 */
function openChat(io, node) {
  /** Everybody in the chat, on whichever node. */
  async function everybody() {
    const sockets = await io.fetchSockets();
    return sockets.map(({ id, data }) => ({ id, name: data.name, node: data.node }));
  }

  io.on("connection", (socket) => {
    // After a recovery the data is what it was, but the node may be another.
    socket.data.name ??= clean(socket.handshake.auth.name, 30) || "Guest";
    socket.data.node = node;
    io.local.to(socket.id).emit("welcome", { node }); // at once, also while Redis is away
    io.emit("presence", {
      name: socket.data.name,
      action: socket.recovered ? "is back" : "joined",
    });

    socket.on("message", (text) => {
      const cleaned = clean(text, 2_000);
      if (cleaned) {
        io.emit("message", {
          from: socket.id,
          name: socket.data.name,
          node,
          text: cleaned,
          time: Date.now(),
        });
      }
    });

    socket.on("name", (name) => {
      const before = socket.data.name;
      socket.data.name = clean(name, 30) || before;
      if (socket.data.name !== before) {
        io.emit("presence", { name: before, action: `is now ${socket.data.name}` });
      }
    });

    socket.on("everybody", async (reply) => {
      if (typeof reply !== "function") {
        return;
      }
      try {
        reply(await everybody());
      } catch (error) {
        // A node did not answer in time. The page asks again.
        console.error(`${node}: ${/** @type {Error} */ (error).message}`);
      }
    });

    socket.on("disconnect", () => {
      io.emit("presence", { name: socket.data.name, action: "left" });
    });
  });
}

module.exports = { openChat };
