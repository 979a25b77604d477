"use strict";
// A Socket.IO packet that the engine has encoded for clients. It is sent without being parsed or
// encoded again. The bytes are those that socket.io-adapter would have sent.

/** WebSocket: the final frame of a text message. */
const FINAL_TEXT = 0x81;
/** Engine.IO: a message. */
const MESSAGE = 0x34;

/** The packet of each frame that was made here: as long as a frame waits to be written, its packet can
 * be shared. @type {WeakMap<Buffer, EncodedPacket>} */
const packets = new WeakMap();

class EncodedPacket {
  #frames;
  #start;
  #end;
  /** @type {Buffer | undefined} */
  #ownFrame;

  /**
   * @param {(string | Buffer)[]} parts as socket.io-parser encodes it: the text, then the attachments
   * @param {Buffer} [frames] a buffer that holds the text's WebSocket frame, if the engine made one
   * @param {number} [start] offset of the frame in `frames`
   * @param {number} [end] offset of the end of the frame
   */
  constructor(parts, frames, start = 0, end = 0) {
    this.parts = parts;
    this.#frames = frames;
    this.#start = start;
    this.#end = end;
  }

  /**
   * The packet's WebSocket frames, as `ws` writes them. Undefined for a packet with attachments: it
   * has several frames, and engine.io makes them.
   *
   * @returns {Buffer[] | undefined}
   */
  get frames() {
    if (this.parts.length > 1) {
      return undefined;
    }
    if (this.#frames !== undefined) {
      return [this.#frames.subarray(this.#start, this.#end)];
    }
    if (this.#ownFrame === undefined) {
      this.#ownFrame = frameOf(/** @type {string} */ (this.parts[0]));
      packets.set(this.#ownFrame, this);
    }
    return [this.#ownFrame];
  }

  /**
   * The packet in decoded form.
   *
   * @param {any} nsp
   * @returns {any}
   */
  decode(nsp) {
    // The parser's limit is ten attachments by default. That limit is for what clients send.
    const decoder = new nsp.server._parser.Decoder({ maxAttachments: Infinity });
    /** @type {any} */
    let decoded;
    decoder.on("decoded", (/** @type {any} */ packet) => (decoded = packet));
    this.parts.forEach((part) => decoder.add(part));
    return decoded;
  }
}

/**
 * A text frame that holds an Engine.IO message.
 *
 * @param {string} text
 */
function frameOf(text) {
  const length = 1 + Buffer.byteLength(text);
  const header = headerLength(length);
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

/** @param {number} length of a frame's payload, bytes */
function headerLength(length) {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10;
}

/** @param {number} bytes of a packet's text */
function frameLength(bytes) {
  return headerLength(1 + bytes) + 1 + bytes;
}

module.exports = { EncodedPacket, frameLength };
