"use strict";
// Moves sockets to another adapter of their namespace. Many guides call `io.adapter()` when clients
// are already connected, and it can be called twice. socket.io leaves the sockets with the old adapter.

const debug = require("./debug");

/** The namespaces that move sockets when they connect. @type {WeakSet<object>} */
const changed = new WeakSet();

/**
 * Moves the sockets of the previous adapter, with their rooms, to the new one, and closes the previous.
 *
 * @param {any} adapter the namespace's new adapter
 * @param {any} previous
 */
function takeOver(adapter, previous) {
  const { nsp } = adapter;
  for (const socket of [...nsp.sockets.values(), ...(nsp._preConnectSockets?.values() ?? [])]) {
    move(socket, adapter);
  }
  moveLate(nsp);
  // It may be any adapter. It may hold connections, and nobody else closes it.
  Promise.resolve()
    .then(() => previous.close?.())
    .catch((error) => debug("the adapter before of %s was not closed: %s", nsp.name, error));
}

/** @param {any} socket @param {any} adapter */
function move(socket, adapter) {
  const rooms = socket.adapter.sids?.get(socket.id);
  socket.adapter = adapter;
  if (rooms !== undefined) {
    adapter.addAll(socket.id, new Set(rooms));
  }
}

/**
 * Moves the sockets that were on their way through the middlewares. Before 4.8, Socket.IO does not tell
 * which these are.
 *
 * @param {any} nsp
 */
function moveLate(nsp) {
  if (changed.has(nsp)) {
    return;
  }
  changed.add(nsp);
  const connect = nsp._doConnect;
  nsp._doConnect = (/** @type {any} */ socket, /** @type {any} */ done) => {
    if (socket.adapter !== nsp.adapter) {
      move(socket, nsp.adapter);
    }
    return connect.call(nsp, socket, done);
  };
}

module.exports = { takeOver };
