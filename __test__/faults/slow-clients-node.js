// What slow-clients-memory.test.js adds to a node: packets for each client alone, and how far the memory
// has grown meanwhile.

"use strict";

const channels = require("node:diagnostics_channel");
const { setImmediate: turn } = require("node:timers/promises");
const { waitFor } = require("../helpers/wait");

/** Rounds between two looks at the memory. */
const LOOK = 10;

/** Bytes of JS, buffers included, without garbage. */
function memory() {
  /** @type {() => void} */ (global.gc)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

let messages = 0;
channels.subscribe("socket.io-redis-streams:slow-client", () => messages++);
/** Why clients were disconnected. @type {string[]} */
const reasons = [];

/** @type {import("../helpers/node-agent").Extend} */
module.exports = (running) => ({
  setup: (io) => io.on("connection", (socket) => socket.on("disconnect", (r) => reasons.push(r))),
  methods: {
    /**
     * Sends each client as many packets as there are rounds. Their bytes are not shared.
     *
     * @param {string[]} ids
     * @param {number} rounds
     * @param {number} bytes of each
     * @returns {Promise<number>} by how much the memory has grown at the most, bytes
     */
    async send(ids, rounds, bytes) {
      const { io } = running();
      const adapter = /** @type {any} */ (io.of("/").adapter);
      const before = memory();
      let most = before;
      for (let i = 1; i <= rounds; i++) {
        ids.forEach((id) => io.to(id).emit("packet", i, `${i}`.padEnd(bytes, "x")));
        await turn();
        if (i % LOOK === 0) {
          const isThrough = () => adapter.stats().queueLength + adapter.stats().inboxLength === 0;
          await waitFor(isThrough, { interval: 5, what: "the packets to be delivered" });
          most = Math.max(most, memory());
        }
      }
      return most - before;
    },

    slow: () => ({ messages, reasons }),
  },
});
