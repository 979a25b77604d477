"use strict";
// socket.io asks for a session only if the client sends an offset, and a client has one only after its
// first packet. A client that has received nothing yet sends its session ID alone.

const { randomUUID } = require("node:crypto");

/** Stands for "no offset" between the two places. No client can send it. */
const NO_OFFSET = randomUUID();

/** The namespaces that are changed already. @type {WeakSet<object>} */
const changed = new WeakSet();

/**
 * Lets a namespace ask for the session of every client that has one.
 *
 * @param {any} nsp
 */
function recoverWithoutOffset(nsp) {
  if (changed.has(nsp)) {
    return;
  }
  changed.add(nsp);
  const createSocket = nsp._createSocket;
  nsp._createSocket = async (/** @type {any} */ client, /** @type {any} */ auth) => {
    if (typeof auth?.pid !== "string" || auth.offset !== undefined) {
      return createSocket.call(nsp, client, auth);
    }
    auth.offset = NO_OFFSET;
    try {
      return await createSocket.call(nsp, client, auth);
    } finally {
      // `socket.handshake.auth` holds what the client has sent.
      delete auth.offset;
    }
  };
}

module.exports = { NO_OFFSET, recoverWithoutOffset };
