"use strict";
// Sends a packet, encoded once, to its local recipients.

const { MessageType } = require("socket.io-adapter");

const { noteSent } = require("./last-sent");
const { isStock } = require("./stock");
const { warnOfHandler } = require("./warnings");

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./encoded-packet").EncodedPacket} EncodedPacket
 *
 * @typedef {object} Encoded an {@link EncodedPacket}, or a packet that the namespace's parser has encoded
 * @property {any} parts
 * @property {any} [frames]
 * @property {(nsp: any) => any} decode
 */

/**
 * Whether a message is not a packet, or is a packet that can be encoded for clients.
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
 * Sends a recovered socket a packet that it has missed.
 *
 * @param {any} socket
 * @param {EncodedPacket} encoded
 */
function sendTo(socket, encoded) {
  if (!isStock(socket.client.encoder, socket.server)) {
    sendDecodedTo(socket, encoded.decode(socket.nsp));
    return;
  }
  if (socket._anyOutgoingListeners?.length) {
    notify(socket, encoded.decode(socket.nsp));
  }
  const { parts, frames } = encoded;
  socket.client._packet(parts, { preEncoded: true, wsPreEncodedFrame: frames, isMissed: true });
}

/**
 * The same with a packet that the engine has not encoded.
 *
 * @param {any} socket
 * @param {any} packet
 */
function sendDecodedTo(socket, packet) {
  if (socket._anyOutgoingListeners?.length) {
    notify(socket, packet);
  }
  socket.packet(packet, { isMissed: true });
}

/**
 * Calls the outgoing listeners of a socket. If one throws, the packet is sent all the same.
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
 * Lets the namespace's parser encode a packet, as the in-memory adapter does.
 *
 * @param {any} adapter
 * @param {any} packet
 * @returns {Encoded}
 */
function encode(adapter, packet) {
  packet.nsp = adapter.nsp.name;
  const made = { wsPreEncodedFrame: undefined };
  const parts = adapter._encode(packet, made);
  return { parts, frames: made.wsPreEncodedFrame, decode: () => packet };
}

/**
 * Sends an encoded packet to its local recipients.
 *
 * @param {any} adapter
 * @param {Encoded} encoded
 * @param {Targets} opts
 * @param {{ volatile?: boolean, compress?: boolean }} flags
 * @param {import("./local-delivery").Origin | undefined} origin
 * @param {{ offset?: string } | undefined} note if the recipients must remember that they were sent the
 * packet: its offset, if it has one
 * @param {import("./held-writes").HeldWrites} writes
 */
function fanOut(adapter, encoded, opts, { volatile, compress }, origin, note, writes) {
  const { parts } = encoded;
  const tick = origin?.tick?.hasVolatile ? origin.tick : undefined;
  /** @type {any} */
  let packetOpts;
  /** @type {any} */
  let packet;
  /** Sockets whose outgoing listeners ran. A listener may leave the room and join it again, and the
   * iteration then meets the socket twice. @type {Set<any> | undefined} */
  let notified;
  const send = (/** @type {any} */ socket) => {
    if (note !== undefined) {
      noteSent(socket, note.offset);
    }
    packetOpts ??= { preEncoded: true, volatile, compress, wsPreEncodedFrame: encoded.frames };
    if (socket._anyOutgoingListeners?.length) {
      notified ??= new Set();
      if (notified.has(socket)) {
        return;
      }
      notified.add(socket);
      packet ??= origin?.packet?.() ?? encoded.decode(adapter.nsp);
      notify(socket, packet);
    }
    if (tick === undefined || tick.mayWrite(socket.client, Boolean(volatile))) {
      if (!volatile) {
        writes.hold(socket.client.conn);
      }
      socket.client.writeToEngine(parts, packetOpts);
    }
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
 * The IDs of the recipients if the packet is for everyone or for the members of one room, which
 * nearly all packets are. `apply` finds the same sockets, but makes a set of them for each packet.
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
 * Whether a packet that this node emitted may have local recipients. The engine decides when it
 * reads the packet back, which can be too early: if a middleware emits to the room of its own socket,
 * the socket joins the room only after that.
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

module.exports = {
  canBeSent,
  encode,
  fanOut,
  hasRecipients,
  notify,
  sendTo,
  sendDecodedTo,
};
