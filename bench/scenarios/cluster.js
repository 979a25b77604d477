"use strict";
// Measures what other nodes cost: requests to them, and their traffic.

/** @typedef {import("../context").Context} Context */

/** The number of packets per second that each node emits to its own room. With many nodes, two cores
 * take no more. */
const RATE = 200;
const RATE_OF_MANY = 25;
const SECONDS = 4;
const TICK = 50;

/** @param {Context} context */
async function fetchSockets({ node }) {
  await node.ask("fetchSockets", { count: 100 });
  return { "median, µs": await node.ask("fetchSockets", { count: 1_000 }) };
}

/** @param {Context} context @param {number} rate */
async function measureTraffic({ nodes }, rate) {
  await Promise.all(nodes.map((node, i) => node.ask("join", { room: `room:${i}`, members: 1 })));
  const emit = (/** @type {number} */ seconds) =>
    Promise.all(
      nodes.map((node, i) =>
        node.ask("emitAtRate", { rate, seconds, tick: TICK, room: `room:${i}` }),
      ),
    );
  await emit(1);
  const before = await Promise.all(nodes.map((node) => node.ask("cpu")));
  const start = performance.now();
  await emit(SECONDS);
  const elapsed = (performance.now() - start) * 1e3;
  const after = await Promise.all(nodes.map((node) => node.ask("cpu")));
  const mean = (/** @type {"jsThread" | "process"} */ what) =>
    after.reduce((sum, cpu, i) => sum + cpu[what] - before[i][what], 0) / nodes.length;
  return {
    "JS thread, % of a core per node": (100 * mean("jsThread")) / elapsed,
    "process, % of a core per node": (100 * mean("process")) / elapsed,
  };
}

/** @param {Context} context */
const sameLocalTraffic = (context) => measureTraffic(context, RATE);
/** @param {Context} context */
const littleTraffic = (context) => measureTraffic(context, RATE_OF_MANY);

/** @param {number} nodes @param {(context: Context) => Promise<Record<string, number>>} run */
const on = (nodes, run) => ({ nodes, run });

/** @type {Record<string, import("../context").Scenario>} */
const scenarios = {
  "fetchSockets on 2 nodes": on(2, fetchSockets),
  "fetchSockets on 4 nodes": on(4, fetchSockets),
  "fetchSockets on 8 nodes": on(8, fetchSockets),
  "the same local traffic, 1 node": on(1, sameLocalTraffic),
  "the same local traffic, 4 nodes": on(4, sameLocalTraffic),
  "the same local traffic, 16 nodes": on(16, sameLocalTraffic),
  "an eighth of that traffic, 32 nodes": on(32, littleTraffic),
};

module.exports = { scenarios };
