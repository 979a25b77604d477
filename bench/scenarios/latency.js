"use strict";
// Measures the time from emit() on one node to a WebSocket client of another.

const { until } = require("../context");

/** @typedef {import("../context").Context} Context */

/** @param {number} rate per second @param {number} seconds */
const latency = (rate, seconds) => async (/** @type {Context} */ context) => {
  const [sender, receiver] = context.nodes;
  const clients = await context.clients();
  await clients.ask("connect", { port: await receiver.ask("port"), count: 1 });
  const emit = async (/** @type {number} */ duration) => {
    await clients.ask("measureLatency");
    const count = await sender.ask("emitAtRate", { rate, seconds: duration, room: "room" });
    await until(async () => (await clients.ask("latencies")).count === count);
  };
  await emit(1);
  await emit(seconds);
  const { p50, p99, p999 } = await clients.ask("latencies");
  return { "p50, ms": p50 / 1e3, "p99, ms": p99 / 1e3, "p99.9, ms": p999 / 1e3 };
};

/** @type {Record<string, import("../context").Scenario>} */
const scenarios = {
  "latency to a client of another node, 500/s": { nodes: 2, run: latency(500, 6) },
  "latency to a client of another node, 10,000/s": { nodes: 2, run: latency(10_000, 4) },
};

module.exports = { scenarios };
