// What a chaos run does to one node, and to its connections to Redis.

"use strict";

const { settle } = require("../helpers/wait");
const { random } = require("../faults/random");
const { between, oneOf } = require("./chances");

/**
 * @typedef {import("./scenario").Place} Place
 * @typedef {import("./scenario").Scenario} Scenario
 *
 * @typedef {object} NodeFault
 * @property {boolean} isOfLink it stands between the node and Redis
 * @property {(chance: () => number) => Record<string, any>} draw its particulars
 * @property {(place: Place, particulars: any, scenario: Scenario) => Promise<unknown> | void} happen
 *   resolves when it is over
 */

/** ms between two lost segments on the links of a node. */
const LOSS_EVERY = 60;
/** ms until TCP sends again what was lost: once, or twice. */
const RESENT = [210, 630];
/** So many of the losses end a connection. */
const RESETS = 0.1;

/** @type {Record<string, NodeFault>} */
const NODE_FAULTS = {
  "proxy stalled": {
    isOfLink: true,
    draw: (chance) => ({ ms: between(chance, 100, 1_500) }),
    async happen({ gate }, { ms }) {
      gate.set({ stalled: true });
      await settle(ms);
      gate.set({ stalled: false });
    },
  },

  "proxy cut": {
    isOfLink: true,
    draw: (chance) => ({
      direction: oneOf(chance, ["up", "down"]),
      // Anywhere from the first byte of a reply to the last one of many.
      bytes: Math.floor(10 ** (chance() * 4)),
    }),
    happen: ({ gate }, { direction, bytes }) => gate.cutAfter(direction, bytes),
  },

  "link slow": {
    isOfLink: true,
    draw: (chance) => ({
      ms: between(chance, 1_000, 4_000),
      delay: between(chance, 5, 300),
      bytesPerSecond: Math.floor(10_000 * 100 ** chance()),
    }),
    async happen({ gate }, { ms, ...conditions }) {
      gate.set(conditions);
      await settle(ms);
      gate.set({ delay: 0, bytesPerSecond: Infinity });
    },
  },

  "link lossy": {
    isOfLink: true,
    draw: (chance) => ({ ms: between(chance, 1_000, 3_000), seed: between(chance, 0, 2 ** 31) }),
    async happen({ gate }, { ms, seed }) {
      const chance = random(seed);
      const end = Date.now() + ms;
      while (Date.now() < end) {
        const { links } = gate;
        const link = links.length > 0 ? oneOf(chance, links) : undefined;
        if (chance() < RESETS) {
          link?.reset();
        } else {
          const direction = /** @type {"up" | "down"} */ (oneOf(chance, ["up", "down"]));
          link?.stall(direction);
          setTimeout(() => link?.resume(direction), oneOf(chance, RESENT));
        }
        await settle(chance() * 2 * LOSS_EVERY);
      }
      await settle(Math.max(...RESENT));
    },
  },

  "event loop blocked": {
    isOfLink: false,
    draw: (chance) => ({ ms: between(chance, 50, 1_000) }),
    happen: ({ agent }, { ms }) => agent?.block(ms),
  },

  "node killed": {
    isOfLink: false,
    draw: (chance) => ({ ms: between(chance, 50, 1_000) }),
    happen: (place, { ms }, scenario) => scenario.replaceNode(place, ms),
  },
};

module.exports = { NODE_FAULTS };
