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
 * @typedef {(string | Buffer)[]} Encoded a packet as socket.io-parser encodes it: the text, then the
 * attachments
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
 * The WebSocket frame of an encoded packet. With attachments there are several, and engine.io makes
 * them.
 *
 * @param {Encoded} encoded
 */
function frames([text, ...attachments]) {
  return attachments.length === 0 ? [frame(/** @type {string} */ (text))] : undefined;
}

/**
 * The packet that an encoded one stands for.
 *
 * @param {any} nsp
 * @param {Encoded} encoded
 * @returns {any}
 */
function decodePacket(nsp, encoded) {
  const decoder = new nsp.server._parser.Decoder();
  /** @type {any} */
  let decoded;
  decoder.on("decoded", (/** @type {any} */ packet) => (decoded = packet));
  encoded.forEach((part) => decoder.add(part));
  return decoded;
}

/**
 * Sends an encoded packet to one socket.
 *
 * @param {any} socket
 * @param {Encoded} encoded
 */
function sendTo(socket, encoded) {
  if (socket._anyOutgoingListeners?.length) {
    socket.notifyOutgoingListeners(decodePacket(socket.nsp, encoded));
  }
  socket.client._packet(encoded, { preEncoded: true, wsPreEncodedFrame: frames(encoded) });
}

/**
 * Sends an encoded packet to the local sockets that it is for.
 *
 * @param {any} adapter
 * @param {Encoded} encoded
 * @param {Targets} opts
 * @param {{ volatile?: boolean, compress?: boolean }} flags
 */
function fanOut(adapter, encoded, opts, { volatile, compress }) {
  /** @type {any} */
  let packetOpts;
  /** @type {any} */
  let packet;
  adapter.apply(opts, (/** @type {any} */ socket) => {
    packetOpts ??= {
      preEncoded: true,
      volatile,
      compress,
      wsPreEncodedFrame: frames(encoded),
    };
    if (socket._anyOutgoingListeners?.length) {
      packet ??= decodePacket(adapter.nsp, encoded);
      socket.notifyOutgoingListeners(packet);
    }
    socket.client.writeToEngine(encoded, packetOpts);
  });
}

module.exports = { canEncode, canFanOut, decodePacket, fanOut, sendTo };
