"use strict";
// Ends sockets and connections. Handlers of the user's that throw meanwhile keep nothing from being done.

const { warnOfHandler } = require("./warnings");

/** Packet type of the Socket.IO protocol. */
const DISCONNECT = 1;

/** @param {() => void} work may call handlers of the user's */
function guarded(work) {
  try {
    work();
  } catch (error) {
    warnOfHandler("a handler has thrown while its socket was disconnected", error);
  }
}

/**
 * Ends a connected socket whose client has gone, as socket.io does.
 *
 * @param {any} socket
 */
function endSocket(socket) {
  // A client that still listens here, such as a second tab with the same session, learns that it is
  // disconnected, and does not fight for the session.
  socket.packet({ type: DISCONNECT });
  endCompletely(socket, () => socket._onclose("transport close"));
}

/**
 * Lets a socket end completely, and its end throw nothing, whoever ends it.
 *
 * @param {any} socket
 */
function guardEnd(socket) {
  const { _onclose } = socket;
  socket._onclose = (/** @type {any[]} */ ...args) =>
    endCompletely(socket, () => _onclose.apply(socket, args));
}

/**
 * socket.io stops at an error. Then it goes on at the next call: each comes further by one room.
 *
 * @param {any} socket
 * @param {() => void} close
 */
function endCompletely(socket, close) {
  const { id, nsp, rooms } = socket;
  for (let left = 2 + rooms.size; left > 0 && nsp.sockets.get(id) === socket; left--) {
    guarded(close);
    socket.removeAllListeners("disconnecting");
  }
}

/**
 * Closes a connection. Its sockets in other namespaces are disconnected.
 *
 * @param {{ close(): void }} connection of engine.io, or a client of socket.io
 */
function endConnection(connection) {
  guarded(() => connection.close());
}

module.exports = { endConnection, endSocket, guardEnd };
