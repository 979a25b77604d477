"use strict";
// Refuses a version of Socket.IO that is too old. Otherwise a missing function would fail later.

const socketIoAdapter = require("socket.io-adapter");

const NEEDED =
  "socket.io-redis-streams-native needs Socket.IO 4.6 or newer, and socket.io-adapter 2.5.4 or " +
  "newer, which comes with it. To update: `npm install socket.io@4`.";

/** @param {string} found */
function tooOld(found) {
  return Object.assign(new Error(`${found} ${NEEDED}`), { code: "ERR_SIO_REDIS_SOCKET_IO" });
}

if (socketIoAdapter.ClusterAdapter === undefined || socketIoAdapter.MessageType === undefined) {
  throw tooOld("The installed socket.io-adapter is too old.");
}

/** @param {any} nsp the namespace; it may belong to another copy of Socket.IO than the one above */
function requireSupported(nsp) {
  // New in 4.6.
  if (typeof nsp?.serverSideEmitWithAck !== "function") {
    throw tooOld("The server's version of Socket.IO is too old.");
  }
}

module.exports = { requireSupported };
