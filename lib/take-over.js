"use strict";
// A namespace gets another adapter while it is in use: `io.adapter()` is called when clients are
// there already, as many guides do, or a second time. socket.io leaves them with the one before.

const debug = require("./debug");

/**
 * The sockets of the adapter before come to the new one, with their rooms, and it is closed.
 *
 * @param {any} adapter that the namespace has now
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
  // Whatever it is: nobody else does, and it may hold connections.
  Promise.resolve()
    .then(() => previous.close?.())
    .catch((error) => debug("the adapter before of %s was not closed: %s", nsp.name, error));
}

module.exports = { takeOver };
