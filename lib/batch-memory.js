"use strict";
// Memory that the engine writes small batches of events to: then only a number crosses from the engine,
// in place of an object with strings and buffers. src/node/batch.rs writes it.

/** How many numbers it has room for. The texts are behind them. src/node/batch.rs has the same number. */
const NUMBERS = 2_048;
/** Bytes for the names of rooms, the texts of packets, and attachments. */
const TEXTS = 16 << 10;
/** Bytes that packets share for their frames. As many as in Node.js's own pool of buffers: a packet that
 * waits for a slow client keeps all of them in memory. */
const FRAMES = 8 << 10;
/** With less room for frames, the next packets get new memory. */
const LEAST_FRAMES = 2 << 10;

/**
 * @typedef {Partial<import("./native-binding").NativeBatch> & Numbers} Batch
 *
 * @typedef {object} Numbers
 * @property {Float64Array} numbers
 * @property {number} [length] how many of the numbers belong to events; default: all
 * @property {number} [framesAt] where the first packet's frame begins; default: 0
 */

class BatchMemory {
  /** The next batch overwrites it. */
  #bytes = Buffer.allocUnsafeSlow(NUMBERS * Float64Array.BYTES_PER_ELEMENT + TEXTS);
  #numbers = new Float64Array(this.#bytes.buffer, 0, NUMBERS);
  /** The frames wait in it for their sockets, so it is only written to from `#framesAt` on. */
  #frames = Buffer.allocUnsafeSlow(FRAMES);
  #framesAt = 0;

  /**
   * Takes events from the engine. They must be handled before the next ones are taken.
   *
   * @param {import("./native-binding").NativeEngine} native
   * @param {number} most
   * @returns {Batch | null} null if there are none
   */
  drain(native, most) {
    if (FRAMES - this.#framesAt < LEAST_FRAMES) {
      this.#frames = Buffer.allocUnsafeSlow(FRAMES);
      this.#framesAt = 0;
    }
    const drained = native.drain(most, this.#bytes, this.#frames, this.#framesAt);
    if (typeof drained === "number") {
      return this.#read(drained);
    }
    if (drained !== null) {
      drained.numbers ??= this.#numbers;
    }
    return /** @type {Batch | null} */ (drained);
  }

  /** @param {number} length @returns {Batch} */
  #read(length) {
    const numbers = this.#numbers;
    const names = numbers[length];
    const end = numbers[length + 1] + names;
    const ofAttachments = numbers[length + 2];
    if (end === 0 && ofAttachments === 0) {
      return { numbers, length };
    }
    const begin = numbers.byteLength;
    const text = this.#bytes.toString("latin1", begin, begin + end);
    const framesAt = this.#framesAt;
    this.#framesAt += numbers[length + 3];
    const [texts, frames] = [[text.slice(names)], [this.#frames]];
    const batch = { numbers, length, names: text.slice(0, names), texts, frames, framesAt };
    if (ofAttachments === 0) {
      return batch;
    }
    // A copy: packets and messages keep their parts of it.
    const attachments = this.#bytes.subarray(begin + end, begin + end + ofAttachments);
    return { ...batch, attachments: Buffer.from(attachments) };
  }
}

module.exports = { BatchMemory };
