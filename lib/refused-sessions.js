"use strict";
// A client whose session is refused gets a new one. Socket.IO sees to that since 4.6.1; in 4.6.0 nobody
// would handle the rejection of `restoreSession()`, which would end the process.

const debug = require("./debug");

/** The namespaces that are changed already. @type {WeakSet<object>} */
const changed = new WeakSet();

/**
 * Lets a namespace create a socket without a session if it cannot restore the one that the client names.
 *
 * @param {any} nsp
 */
function connectWithoutSession(nsp) {
  if (changed.has(nsp)) {
    return;
  }
  changed.add(nsp);
  const createSocket = nsp._createSocket;
  nsp._createSocket = async (/** @type {any} */ client, /** @type {any} */ auth) => {
    if (typeof auth?.pid !== "string") {
      return createSocket.call(nsp, client, auth);
    }
    try {
      return await createSocket.call(nsp, client, auth);
    } catch (error) {
      debug("error while restoring a session: %s", error);
    }
    const { pid } = auth;
    delete auth.pid;
    try {
      return await createSocket.call(nsp, client, auth);
    } finally {
      // `socket.handshake.auth` holds what the client has sent.
      auth.pid = pid;
    }
  };
}

module.exports = { connectWithoutSession };
