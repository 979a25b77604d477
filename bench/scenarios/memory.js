"use strict";
// Measures the resident memory of a node.

/** @typedef {import("../context").Context} Context */

/** @type {Record<string, import("../context").Scenario>} */
const scenarios = {
  "memory of an idle node": {
    run: async ({ node }) => ({ MiB: await node.ask("memory") }),
  },
  "memory with 50,000 rooms": {
    run: async ({ node }) => {
      await node.ask("joinRooms", { count: 50_000 });
      return { MiB: await node.ask("memory") };
    },
  },
};

module.exports = { scenarios };
