"use strict";
// Packets that several clients have missed. The clients share them: each packet exists once as long
// as it waits for one of them.

const { EncodedPacket } = require("./encoded-packet");

/** Entry IDs below these two numbers have exact keys that are numbers. */
const MS = 2 ** 41;
const SEQ = 2 ** 12;

/**
 * @typedef {import("./native-binding").NativeMissed} NativeMissed
 * @typedef {Extract<NativeMissed, { kind: "entry" }>} MissedEntry
 * @typedef {{ kind: "packet", encoded: EncodedPacket } | MissedEntry} Missed a broadcast that a client
 * missed; JS decodes an entry, and decides whether the client missed it
 */

class SharedPackets {
  /** By namespace and by entry.
   * @type {Map<string, Map<number | string | undefined, WeakRef<EncodedPacket>>>} */
  #namespaces = new Map();
  #ended = new FinalizationRegistry(
    (/** @type {{ nsp: string, key: number | string }} */ { nsp, key }) => {
      const packets = this.#namespaces.get(nsp);
      if (packets?.get(key)?.deref() === undefined) {
        packets?.delete(key);
        if (packets?.size === 0) {
          this.#namespaces.delete(nsp);
        }
      }
    },
  );

  /**
   * @param {string} nsp
   * @param {Float64Array} ids of the entries of the broadcasts: two numbers each
   * @param {(wanted: number[]) => NativeMissed[]} take makes those of the broadcasts at these places
   * @returns {Missed[]} all of them, in order
   */
  share(nsp, ids, take) {
    const packets = this.#namespaces.get(nsp) ?? new Map();
    /** @type {Missed[]} */
    const missed = new Array(ids.length / 2);
    /** @type {number[]} */
    const wanted = [];
    for (let i = 0; i < missed.length; i++) {
      const key = keyOf(ids[2 * i], ids[2 * i + 1]);
      const encoded = packets.get(key)?.deref();
      if (encoded === undefined) {
        wanted.push(i);
      } else {
        missed[i] = { kind: "packet", encoded };
      }
    }
    take(wanted).forEach((made, n) => {
      const place = wanted[n];
      if (made.kind === "entry") {
        missed[place] = made;
        return;
      }
      const encoded = new EncodedPacket([made.text, ...made.attachments]);
      const key = keyOf(ids[2 * place], ids[2 * place + 1]);
      if (key !== undefined) {
        packets.set(key, new WeakRef(encoded));
        this.#namespaces.set(nsp, packets);
        this.#ended.register(encoded, { nsp, key });
      }
      missed[place] = { kind: "packet", encoded };
    });
    return missed;
  }

  /** Entries of a new stream may have the IDs of the one before. */
  clear() {
    this.#namespaces.clear();
  }
}

/** @param {number} ms NaN if the ID has no exact numbers @param {number} seq */
function keyOf(ms, seq) {
  if (Number.isNaN(ms)) {
    return undefined;
  }
  return ms < MS && seq < SEQ ? ms * SEQ + seq : `${ms}-${seq}`;
}

module.exports = { SharedPackets };
