"use strict";
// Numbered packets, so that a client can tell whether any is missing: each node emits ten per second
// to whoever watches, on whichever node.

const { randomUUID } = require("node:crypto");

/** Time between two packets (ms). */
const INTERVAL = 100;

/**
 * @typedef {object} NumberedPacket
 * @property {string} source this start of the node's process: the next one counts from 1 again
 * @property {string} node
 * @property {number} since when the source began
 * @property {number} number 1, 2, 3, ...
 * @property {number} time when it was emitted
 */

class PacketSource {
  #io;
  #node;
  #id = randomUUID();
  #since = Date.now();
  #number = 0;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /**
   * @param {import("socket.io").Server} io
   * @param {string} node this one's name
   */
  constructor(io, node) {
    this.#io = io;
    this.#node = node;
    io.on("connection", (socket) => {
      // One that was recovered is in the room already.
      if (socket.handshake.auth.watches) {
        socket.join("watchers");
      }
    });
  }

  start() {
    this.#since = Date.now();
    this.#timer = setInterval(() => this.#emit(), INTERVAL);
  }

  stop() {
    clearInterval(this.#timer);
  }

  #emit() {
    /** @type {NumberedPacket} */
    const packet = {
      source: this.#id,
      node: this.#node,
      since: this.#since,
      number: ++this.#number,
      time: Date.now(),
    };
    this.#io.to("watchers").emit("packet", packet);
  }

  /** @param {number} count */
  burst(count) {
    for (let i = 0; i < count; i++) {
      this.#emit();
    }
  }
}

module.exports = { PacketSource };
