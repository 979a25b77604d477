"use strict";
// The offset of the last packet that each socket was sent. A client that comes back with this offset has
// everything, also if the entry with this ID is no longer in the stream.

const { START, isEntryId } = require("./entry-ids");

/** A property of sockets, since a broadcast to thousands of them sets it for each. */
const LAST_SENT = Symbol("last offset that was sent");
/** The last packet had no offset, so the client's offset does not show whether it arrived. */
const UNKNOWN = null;

/**
 * Called before a packet is sent, so that it holds whatever becomes of the packet.
 *
 * @param {any} socket
 * @param {string} [offset] of a packet that the client gets again if it comes back without it; undefined
 * if the packet has no entry in the stream
 */
function noteSent(socket, offset) {
  socket[LAST_SENT] = offset !== undefined && isEntryId(offset) ? offset : UNKNOWN;
}

/**
 * @param {any} socket
 * @returns {string | undefined} {@link START} if the socket was sent nothing; undefined if it is not known
 */
function lastSentTo(socket) {
  const offset = socket[LAST_SENT];
  return offset === undefined ? START : (offset ?? undefined);
}

module.exports = { lastSentTo, noteSent };
