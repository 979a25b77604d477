"use strict";
// Sends a packet that the engine has encoded to the local sockets that it is for.

const { ClusterAdapter, MessageType } = require("socket.io-adapter");

const { warnOfHandler } = require("./warnings");

/** The adapter that does the local part, as it was when this was loaded. */
const InMemoryAdapter = Object.getPrototypeOf(ClusterAdapter.prototype);
const stockBroadcast = InMemoryAdapter.broadcast;

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./encoded-packet").EncodedPacket} EncodedPacket
 */

/**
 * Whether the engine may encode the packets of a namespace: not with a parser of the user's own.
 *
 * @param {any} nsp
 */
function canEncode(nsp) {
  return nsp.server.opts.parser === undefined;
}

/**
 * Whether encoded packets may be sent past `Adapter.prototype.broadcast`: not where that was
 * replaced, as the support for uWebSockets.js does at any time.
 */
function canFanOut() {
  return InMemoryAdapter.broadcast === stockBroadcast;
}

/**
 * Whether a message is no packet, or one that can be encoded for clients.
 *
 * @param {any} adapter
 * @param {any} message
 */
function canBeSent({ encoder }, { type, data }) {
  try {
    return type !== MessageType.BROADCAST || encoder.encode({ ...data.packet }) !== undefined;
  } catch {
    return false;
  }
}

/**
 * Sends an encoded packet to one socket.
 *
 * @param {any} socket
 * @param {EncodedPacket} encoded
 */
function sendTo(socket, encoded) {
  if (socket._anyOutgoingListeners?.length) {
    notify(socket, encoded.decode(socket.nsp));
  }
  socket.client._packet(encoded.parts, { preEncoded: true, wsPreEncodedFrame: encoded.frames });
}

/**
 * Calls the outgoing listeners of a socket. One that throws keeps the packet from nobody.
 *
 * @param {any} socket
 * @param {any} packet
 */
function notify(socket, packet) {
  try {
    socket.notifyOutgoingListeners(packet);
  } catch (error) {
    warnOfHandler("a listener for outgoing packets has thrown", error);
  }
}

/**
 * Sends an encoded packet to the local sockets that it is for.
 *
 * @param {any} adapter
 * @param {EncodedPacket} encoded
 * @param {Targets} opts
 * @param {{ volatile?: boolean, compress?: boolean }} flags
 * @param {() => any} [original] the packet as it was emitted here, for listeners
 */
function fanOut(adapter, encoded, opts, { volatile, compress }, original) {
  const { parts } = encoded;
  /** @type {any} */
  let packetOpts;
  /** @type {any} */
  let packet;
  /** Those whose listeners may have left the room and joined it again: they come up a second time.
   * @type {Set<any> | undefined} */
  let notified;
  const send = (/** @type {any} */ socket) => {
    packetOpts ??= { preEncoded: true, volatile, compress, wsPreEncodedFrame: encoded.frames };
    if (socket._anyOutgoingListeners?.length) {
      notified ??= new Set();
      if (notified.has(socket)) {
        return;
      }
      notified.add(socket);
      packet ??= original?.() ?? encoded.decode(adapter.nsp);
      notify(socket, packet);
    }
    socket.client.writeToEngine(parts, packetOpts);
  };
  const ids = simpleTargets(adapter, opts);
  if (ids === undefined) {
    adapter.apply(opts, send);
    return;
  }
  const { sockets } = adapter.nsp;
  for (const id of ids) {
    const socket = sockets.get(id);
    if (socket !== undefined) {
      send(socket);
    }
  }
}

/**
 * The IDs of the sockets that a packet is for, where it is for everyone or for the members of one
 * room: as `apply` finds them, which makes a set of them for each packet. Nearly all packets are.
 *
 * @param {any} adapter
 * @param {Targets} opts
 * @returns {Iterable<string> | undefined}
 */
function simpleTargets(adapter, { rooms, except }) {
  if (rooms.size > 1 || (except?.size ?? 0) > 0) {
    return undefined;
  }
  for (const room of rooms) {
    return adapter.rooms.get(room) ?? [];
  }
  return adapter.sids.keys();
}

/**
 * Whether there is anyone here that a packet of our own may be for. The engine may have read it back
 * before a socket was where its packet went: what a middleware emits to its socket comes before that
 * has joined a room.
 *
 * @param {any} adapter
 * @param {Targets} opts
 */
function hasRecipients(adapter, { rooms }) {
  if (rooms.size === 0) {
    return adapter.sids.size > 0;
  }
  for (const room of rooms) {
    if (adapter.rooms.has(room)) {
      return true;
    }
  }
  return false;
}

module.exports = { canBeSent, canEncode, canFanOut, fanOut, hasRecipients, sendTo };
