"use strict";
// A session is saved when its client drops, by the node that notices. A node that is killed notices
// nothing more, so here each session is saved ahead as well: its client is recovered all the same.

/**
 * @param {import("socket.io").Server} io
 * @param {number} duration for how long a saved session lasts (ms)
 */
function saveSessionsAhead(io, duration) {
  /** @param {any} socket `pid` is not among its types */
  const save = ({ id: sid, pid, rooms, data, nsp }) => {
    nsp.adapter.persistSession({ sid, pid, rooms: [...rooms], data });
  };
  // Behind the other handlers of the connection, which join rooms.
  io.on("connection", (socket) => {
    setImmediate(() => socket.connected && save(socket));
  });
  setInterval(() => io.of("/").sockets.forEach(save), duration / 4).unref();
}

module.exports = { saveSessionsAhead };
