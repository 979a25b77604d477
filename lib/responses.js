"use strict";
// Answers to other servers' requests, encoded as far as users' data can be.

const { encodeMsgpack } = require("./codec");
const { warnOfHandler } = require("./warnings");

/**
 * @param {any} response
 * @returns {Uint8Array | undefined} nothing when it cannot be encoded, which is said
 */
function encodeResponse(response) {
  try {
    return encodeMsgpack(response);
  } catch (error) {
    const { sockets } = response.data;
    if (sockets === undefined) {
      warnOfHandler("an answer to another server cannot be encoded, and was not sent", error);
      return undefined;
    }
    // Sockets without their data are better than a server that seems not to answer.
    warnOfHandler("`socket.data` cannot be encoded for other servers, and was left out", error);
    const data = { ...response.data, sockets: sockets.map(withoutOddData) };
    return encodeMsgpack({ ...response, data });
  }
}

/**
 * @param {any} socket details of a socket
 * @returns {any} the same with empty data where its own cannot be encoded
 */
function withoutOddData(socket) {
  try {
    encodeMsgpack(socket);
    return socket;
  } catch {
    return { ...socket, data: {} };
  }
}

module.exports = { encodeResponse };
