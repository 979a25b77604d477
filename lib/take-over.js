"use strict";
// Moves sockets to another adapter of their namespace. Many guides call `io.adapter()` when clients
// are already connected, and it can be called twice. socket.io leaves the sockets with the old adapter.

const debug = require("./debug");

/**
 * Moves the sockets of the previous adapter, with their rooms, to the new one, and closes the previous.
 *
 * @param {any} adapter the namespace's new adapter
 * @param {any} previous
 */
function takeOver(adapter, previous) {
  const { nsp } = adapter;
  for (const socket of [...nsp.sockets.values(), ...nsp._preConnectSockets.values()]) {
    socket.adapter = adapter;
    const rooms = previous.sids?.get(socket.id);
    if (rooms !== undefined) {
      adapter.addAll(socket.id, new Set(rooms));
    }
  }
  // It may be any adapter. It may hold connections, and nobody else closes it.
  Promise.resolve()
    .then(() => previous.close?.())
    .catch((error) => debug("the adapter before of %s was not closed: %s", nsp.name, error));
}

module.exports = { takeOver };
