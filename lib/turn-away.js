"use strict";
// Clients that come to a server while it closes. A client that was connected there would be disconnected
// a moment later, and could not be recovered, since the server cannot save its session any more. So the
// server ends the connection of each client that comes, at once, and the client goes to another server.

const { endConnection } = require("./end-socket");

/** The adapters that are closed, or about to be. @type {WeakSet<object>} */
const closed = new WeakSet();
/** The clients that are on their way into each namespace. @type {WeakMap<object, Set<any>>} */
const coming = new WeakMap();

/** Whether the whole server is closing: only with it, the adapter of the main namespace does. @param {any} server */
const isClosing = ({ sockets }) => closed.has(sockets?.adapter);

/**
 * Whether socket.io has removed a namespace because its last socket has gone
 * (`cleanupEmptyChildNamespaces`). That may be the half-open socket of a client that is back.
 *
 * @param {any} nsp
 */
const isRemoved = (nsp) => closed.has(nsp.adapter) && nsp.server._nsps.get(nsp.name) !== nsp;

/** socket.io would go on with the socket, and handles no rejection. @returns {Promise<never>} */
const never = () => new Promise(() => {});

/**
 * Lets a namespace turn clients away while its server closes, and once it was removed.
 *
 * @param {any} nsp
 */
function turnAwayLate(nsp) {
  if (coming.has(nsp)) {
    return;
  }
  const clients = new Set();
  coming.set(nsp, clients);
  const createSocket = nsp._createSocket;
  nsp._createSocket = async (/** @type {any} */ client, /** @type {any} */ auth) => {
    if (!isClosing(nsp.server)) {
      clients.add(client);
      const socket = await createSocket.call(nsp, client, auth);
      clients.delete(client);
      if (isRemoved(nsp) && client.conn.readyState === "open") {
        // To the namespace that has its name now.
        client.connect(nsp.name, auth);
        return never();
      }
      if (!isClosing(nsp.server) || socket.recovered) {
        return socket;
      }
    }
    endConnection(client);
    return never();
  };
}

/**
 * An adapter closes. If the whole server does, those that are on their way into its namespace are turned
 * away.
 *
 * @param {any} adapter
 */
function turnAway(adapter) {
  const { nsp } = adapter;
  closed.add(adapter);
  if (isClosing(nsp.server)) {
    coming.get(nsp)?.forEach(endConnection);
    // Their middlewares still run.
    nsp._preConnectSockets.forEach((/** @type {any} */ { client }) => endConnection(client));
  }
}

/**
 * The server has closed. It may be attached to an HTTP server again.
 *
 * @param {any} adapter of the main namespace
 */
function stopTurningAway(adapter) {
  closed.delete(adapter);
}

module.exports = { stopTurningAway, turnAway, turnAwayLate };
