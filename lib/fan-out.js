"use strict";
// Sends a packet that the engine has encoded to the local sockets that it is for, without parsing
// it or encoding it again. The bytes are those that socket.io-adapter would have sent.

const { ClusterAdapter } = require("socket.io-adapter");

/** The adapter that does the local part, as it was when this was loaded. */
const InMemoryAdapter = Object.getPrototypeOf(ClusterAdapter.prototype);
const stockBroadcast = InMemoryAdapter.broadcast;

/** WebSocket: the final frame of a text message. */
const FINAL_TEXT = 0x81;
/** Engine.IO: a message. */
const MESSAGE = 0x34;

/**
 * @typedef {import("./targets").Targets} Targets
 *
 * @typedef {object} EncodedPacket
 * @property {string} text as a Socket.IO parser would have encoded it
 * @property {any} [packet] what listeners for outgoing packets get; made when first needed
 */

/**
 * Whether packets may be sent as the engine encodes them: not with a parser of the user's own, nor
 * where `Adapter.prototype.broadcast` was replaced, as the support for uWebSockets.js does.
 *
 * @param {any} nsp
 */
function canFanOut(nsp) {
  return nsp.server.opts.parser === undefined && InMemoryAdapter.broadcast === stockBroadcast;
}

/**
 * A text frame that holds an Engine.IO message.
 *
 * @param {string} text
 */
function frame(text) {
  const length = 1 + Buffer.byteLength(text);
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const buffer = Buffer.allocUnsafe(header + length);
  buffer[0] = FINAL_TEXT;
  if (header === 2) {
    buffer[1] = length;
  } else if (header === 4) {
    buffer[1] = 126;
    buffer.writeUInt16BE(length, 2);
  } else {
    buffer[1] = 127;
    buffer.writeBigUInt64BE(BigInt(length), 2);
  }
  buffer[header] = MESSAGE;
  buffer.write(text, header + 1);
  return buffer;
}

/**
 * The packet that an encoded one stands for.
 *
 * @param {string} text
 * @param {string} nsp
 */
function parse(text, nsp) {
  const start = nsp === "/" ? 1 : 1 + nsp.length + 1;
  return { type: 2, nsp, data: JSON.parse(text.slice(start)) };
}

/**
 * @param {any} adapter
 * @param {string} text the encoded packet
 * @param {Targets} opts
 * @param {{ volatile?: boolean, compress?: boolean }} flags
 */
function fanOut(adapter, text, opts, { volatile, compress }) {
  /** @type {any} */
  let packetOpts;
  /** @type {any} */
  let packet;
  const encoded = [text];
  adapter.apply(opts, (/** @type {any} */ socket) => {
    packetOpts ??= { preEncoded: true, volatile, compress, wsPreEncodedFrame: [frame(text)] };
    if (socket._anyOutgoingListeners?.length) {
      packet ??= parse(text, adapter.nsp.name);
      socket.notifyOutgoingListeners(packet);
    }
    socket.client.writeToEngine(encoded, packetOpts);
  });
}

module.exports = { canFanOut, fanOut, parse };
