"use strict";
// The packets that a client missed, from the engine's answer to a restore.

const { MessageType } = require("socket.io-adapter");

const { decodeData } = require("./codec");
const debug = require("./debug");
const { isAfter, isEntryId } = require("./entry-ids");
const { isWellFormed } = require("./message-shape");

/** Packet type of the Socket.IO protocol. */
const EVENT = 2;

/**
 * @typedef {import("./shared-packets").Missed} Missed
 * @typedef {{ encoded: import("./encoded-packet").EncodedPacket } | { packet: any }} Outgoing an event packet
 * with its offset
 */

/**
 * The offset that a client takes from a packet: the packet's last argument. A packet that Redis has
 * refused has none, whatever its last argument is.
 *
 * @param {Outgoing} outgoing
 * @returns {string | undefined}
 */
function offsetOf(outgoing) {
  if ("packet" in outgoing) {
    const last = outgoing.packet.data.at(-1);
    return typeof last === "string" && isEntryId(last) ? last : undefined;
  }
  return /"(\d+-\d+)"\]$/.exec(/** @type {string} */ (outgoing.encoded.parts[0]))?.[1];
}

/**
 * Whether a client that was away gets a packet: an event that expects no answer, as with the other
 * adapters.
 *
 * @param {any} packet
 */
function isForAbsent({ type, data, id }) {
  return type === EVENT && Array.isArray(data) && id === undefined;
}

/**
 * @param {Missed} broadcast
 * @param {Map<any, string>} since by room of the client, the last entry before it joined
 * @param {string} nsp
 * @returns {Outgoing[]} empty if the client did not miss it
 */
function toOutgoing(broadcast, since, nsp) {
  if (broadcast.kind === "packet") {
    return [{ encoded: broadcast.encoded }];
  }
  const { id } = broadcast;
  try {
    const data = decodeData(broadcast);
    if (!isWellFormed({ uid: "", nsp: "", type: MessageType.BROADCAST, data })) {
      return [];
    }
    return isMissed(data, id, since)
      ? [{ packet: { type: EVENT, nsp, data: [...data.packet.data, id] } }]
      : [];
  } catch (error) {
    debug("entry %s skipped: %s", id, error);
    return [];
  }
}

/**
 * @param {any} data of a broadcast
 * @param {string} id of its entry
 * @param {Map<any, string>} since by room of the client, the last entry before it joined
 */
function isMissed({ packet, opts, requestId }, id, since) {
  /** @param {any} room */
  const wasIn = (room) => {
    const joined = since.get(room);
    return joined !== undefined && isAfter(id, joined);
  };
  return (
    isForAbsent(packet) &&
    requestId === undefined &&
    opts.flags?.volatile === undefined &&
    (opts.rooms.length === 0 || opts.rooms.some(wasIn)) &&
    !opts.except.some(wasIn)
  );
}

module.exports = { isForAbsent, offsetOf, toOutgoing };
