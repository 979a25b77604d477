"use strict";
// Measures what a broadcast of another node costs a node, by the number of members of its room.

const { until } = require("../context");
const { endOf, entryOf } = require("../entries");

/** @typedef {import("../context").Context} Context */

/** Broadcasts before a measurement, so that V8 has compiled the code. */
const WARM_UP = 2_000;

/**
 * Writes broadcasts, and waits until the node has handled them.
 *
 * @param {Context} context
 * @param {Record<string, string>} entry
 * @param {number} count
 * @param {string} name
 */
async function feed({ raw, node }, entry, count, name) {
  const reached = node.reaches(name);
  await raw.add(entry, count);
  await raw.add(endOf(name), 1);
  await reached;
}

/**
 * Measures the CPU time of a node that reads `count` broadcasts.
 *
 * @param {Context} context
 * @param {Record<string, string>} entry
 * @param {number} count
 */
async function costOf(context, entry, count) {
  const before = await context.node.ask("cpu");
  await feed(context, entry, count, "measured");
  const after = await context.node.ask("cpu");
  return {
    "JS thread, µs per entry": (after.jsThread - before.jsThread) / count,
    "process, µs per entry": (after.process - before.process) / count,
  };
}

/**
 * With members that only count what is written to them: measures the adapter's own cost.
 *
 * @param {{ members: number, count: number, bytes?: number, binary?: boolean }} options
 */
function counting({ members, count, bytes = 100, binary = false }) {
  return async (/** @type {Context} */ context) => {
    await context.node.ask("join", { room: "room", members });
    const entry = entryOf({ room: members > 0 ? "room" : "elsewhere", bytes, binary });
    const warmUp = Math.min(WARM_UP, count);
    await feed(context, entry, warmUp, "warm");
    const cost = await costOf(context, entry, count);
    // Text is one packet. Binary is one more for the attachment, in the same write.
    if ((await context.node.ask("written")) !== members * (warmUp + count)) {
      throw new Error("not every member got every packet");
    }
    return cost;
  };
}

/**
 * With members that are WebSocket clients, in their own process.
 *
 * @param {{ members: number, count: number, bytes?: number }} options
 */
function clients({ members, count, bytes = 100 }) {
  return async (/** @type {Context} */ context) => {
    const crowd = await context.clients();
    await crowd.ask("connect", { port: await context.node.ask("port"), count: members });
    // A client may learn that it is connected before its socket has joined the room. When the node answers,
    // all have.
    await context.node.ask("clients");
    const entry = entryOf({ room: "room", bytes });
    const warmUp = Math.ceil(count / 10);
    const got = async (/** @type {number} */ packets) =>
      until(async () => (await crowd.ask("packets")) === packets * members);
    await feed(context, entry, warmUp, "warm");
    await got(warmUp);
    const cost = await costOf(context, entry, count);
    await got(warmUp + count);
    return cost;
  };
}

/** @type {Record<string, import("../context").Scenario>} */
const scenarios = {
  "receive, no local member": { run: counting({ members: 0, count: 200_000 }) },
  "receive, 1 local member": { run: counting({ members: 1, count: 60_000 }) },
  "receive, 100 local members that count writes": {
    run: counting({ members: 100, count: 20_000 }),
  },
  "receive, 1,000 local members that count writes": {
    run: counting({ members: 1_000, count: 3_000 }),
  },
  "receive, 1 local member, 1 kB": {
    run: counting({ members: 1, count: 40_000, bytes: 1_000 }),
  },
  "receive, 1 local member, 10 kB": {
    run: counting({ members: 1, count: 10_000, bytes: 10_000 }),
  },
  "receive, no local member, 10 kB": {
    run: counting({ members: 0, count: 20_000, bytes: 10_000 }),
  },
  "receive, no local member, binary": {
    run: counting({ members: 0, count: 60_000, binary: true }),
  },
  "receive, 1 local member, binary": {
    run: counting({ members: 1, count: 40_000, binary: true }),
  },
  "receive, 1 WebSocket client": { run: clients({ members: 1, count: 20_000 }) },
  "receive, 100 WebSocket clients": { run: clients({ members: 100, count: 3_000 }) },
  "receive, 1,000 WebSocket clients": { run: clients({ members: 1_000, count: 300 }) },
};

module.exports = { scenarios, counting };
