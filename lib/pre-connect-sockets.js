"use strict";
// The sockets of a namespace whose middlewares still run. Socket.IO keeps them in `_preConnectSockets`
// since 4.8; in older versions, this does.

/**
 * Gives a namespace `_preConnectSockets` if it has none.
 *
 * @param {any} nsp
 */
function keepPreConnectSockets(nsp) {
  if (nsp._preConnectSockets !== undefined) {
    return;
  }
  const sockets = (nsp._preConnectSockets = new Map());
  const { run, _doConnect, _remove } = nsp;
  const forget = (/** @type {any} */ socket) => {
    // A client that is back has the same ID.
    if (sockets.get(socket.id) === socket) {
      sockets.delete(socket.id);
    }
  };
  nsp.run = (/** @type {any} */ socket, /** @type {any[]} */ ...args) => {
    sockets.set(socket.id, socket);
    return run.call(nsp, socket, ...args);
  };
  nsp._doConnect = (/** @type {any} */ socket, /** @type {any[]} */ ...args) => {
    forget(socket);
    return _doConnect.call(nsp, socket, ...args);
  };
  nsp._remove = (/** @type {any} */ socket) => {
    forget(socket);
    return _remove.call(nsp, socket);
  };
}

module.exports = { keepPreConnectSockets };
