"use strict";
// Encodes answers to requests of other nodes. It leaves out data of users and clients that cannot be
// encoded or is too large.

const { warn, warnOfHandler } = require("./warnings");

/**
 * The limit for the details of sockets in one answer, bytes. By default Redis closes the connection of
 * a subscriber that has 32 MB waiting for it, or 8 MB for a minute (`client-output-buffer-limit`).
 */
const MOST = 8 * 2 ** 20;
/** The details of a socket are always sent whole if they are no larger than this, bytes. */
const SMALL = 4 * 2 ** 10;

/** @param {any} socket */
const withoutData = (socket) => ({ ...socket, data: {} });

/** @param {any} socket copied without the fields that may be large or deeply nested */
const bare = (socket) => ({
  ...withoutData(socket),
  handshake: { ...socket.handshake, auth: {} },
});

/**
 * @template Encoded
 * @param {any} response
 * @param {(response: any) => Encoded} encode throws if the response cannot be encoded
 * @param {(encoded: Encoded) => number} sizeOf bytes
 * @returns {Encoded | undefined} undefined, with a warning, if it cannot be encoded
 */
function encodeResponse(response, encode, sizeOf) {
  const { sockets } = response.data;
  if (sockets === undefined) {
    try {
      return encode(response);
    } catch (error) {
      warnOfHandler("an answer to another server cannot be encoded, and was not sent", error);
      return undefined;
    }
  }
  /** @param {any[]} sockets */
  const encodeWith = (sockets) => encode({ ...response, data: { ...response.data, sockets } });
  const { encoded, encodable } = encodeSockets(sockets, encodeWith);
  return sizeOf(encoded) <= MOST
    ? encoded
    : encodeWith(reduced(encodable, (socket) => sizeOf(encodeWith([socket]))));
}

/**
 * Leaves out what cannot be encoded. Otherwise the whole server would seem not to answer.
 *
 * @template Encoded
 * @param {any[]} sockets
 * @param {(sockets: any[]) => Encoded} encode
 */
function encodeSockets(sockets, encode) {
  try {
    return { encoded: encode(sockets), encodable: sockets };
  } catch (error) {
    warnOfHandler(
      "`socket.data` or `socket.handshake.auth` cannot be encoded for other servers, and was left out",
      error,
    );
    /** @param {any} socket */
    const canEncode = (socket) => {
      try {
        encode([socket]);
        return true;
      } catch {
        return false;
      }
    };
    const encodable = sockets.map(
      (socket) => [socket, withoutData(socket)].find(canEncode) ?? bare(socket),
    );
    return { encoded: encode(encodable), encodable };
  }
}

/**
 * Removes data and `auth` from the largest sockets until the rest is small enough.
 *
 * @param {any[]} sockets
 * @param {(socket: any) => number} sizeOf bytes
 */
function reduced(sockets, sizeOf) {
  const bySize = sockets
    .map((socket, index) => ({ index, size: sizeOf(socket) }))
    .sort((a, b) => b.size - a.size);
  const result = [...sockets];
  const whole = bySize.reduce((sum, { size }) => sum + size, 0);
  let total = whole;
  let count = 0;
  for (const { index, size } of bySize) {
    if (total <= MOST || size <= SMALL) {
      break;
    }
    result[index] = bare(sockets[index]);
    total += sizeOf(result[index]) - size;
    count++;
  }
  warn(
    "SIO_REDIS_ANSWER_TOO_LARGE",
    `an answer to fetchSockets() of another server would have taken ${whole} bytes, more than the ` +
      `${MOST} that Redis is sure to pass on: \`data\` and \`handshake.auth\` of the ${count} largest ` +
      "sockets were left out. Keep `socket.data` small, and limit what clients may send as `auth`",
  );
  return result;
}

module.exports = { encodeResponse };
