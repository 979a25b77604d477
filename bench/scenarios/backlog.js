"use strict";
// Measures how fast a node that was stopped reads what was written meanwhile.

const { endOf, entryOf } = require("../entries");

/** @typedef {import("../context").Context} Context */

const ENTRIES = 300_000;
/** Entries of about 300 bytes. */
const BYTES = 200;

/** @param {Context} context */
async function backlog({ raw, node }) {
  await node.ask("join", { room: "room", members: 1 });
  node.pause();
  await raw.add(entryOf({ room: "elsewhere", bytes: BYTES }), ENTRIES);
  await raw.add(endOf("backlog"), 1);
  const reached = node.reaches("backlog");
  const start = process.hrtime.bigint();
  node.resume();
  await reached;
  return { "entries per second": ENTRIES / (Number(process.hrtime.bigint() - start) / 1e9) };
}

/** @type {Record<string, import("../context").Scenario>} */
const scenarios = {
  "a backlog of 300,000 entries": {
    run: backlog,
    ceiling: {
      metric: "entries per second",
      measure: async ({ ceilings }) => ceilings.xrange(entryOf({ bytes: BYTES }), ENTRIES),
    },
  },
};

module.exports = { scenarios };
