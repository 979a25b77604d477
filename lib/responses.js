"use strict";
// Answers to other servers' requests, encoded as far as users' data can be.

const { warnOfHandler } = require("./warnings");

/**
 * @template Encoded
 * @param {any} response
 * @param {(response: any) => Encoded} encode throws when it cannot be encoded
 * @returns {Encoded | undefined} nothing when it cannot be encoded, which is said
 */
function encodeResponse(response, encode) {
  try {
    return encode(response);
  } catch (error) {
    const { sockets } = response.data;
    if (sockets === undefined) {
      warnOfHandler("an answer to another server cannot be encoded, and was not sent", error);
      return undefined;
    }
    // Sockets without their data are better than a server that seems not to answer.
    warnOfHandler("`socket.data` cannot be encoded for other servers, and was left out", error);
    return encode(withoutOddData(response, encode));
  }
}

/**
 * @param {any} response to fetchSockets
 * @param {(response: any) => unknown} encode
 * @returns {any} the same with empty data where a socket's own cannot be encoded
 */
function withoutOddData(response, encode) {
  /** @param {any[]} sockets */
  const withSockets = (sockets) => ({ ...response, data: { ...response.data, sockets } });
  /** @param {any} socket */
  const reduced = (socket) => {
    try {
      encode(withSockets([socket]));
      return socket;
    } catch {
      return { ...socket, data: {} };
    }
  };
  return withSockets(response.data.sockets.map(reduced));
}

module.exports = { encodeResponse };
