"use strict";
// The environment of a measurement: its own Redis server, fresh nodes, and clients if needed.

const { startRedis } = require("../__test__/helpers/redis-server");
const ceilings = require("./ceilings");
const { startClients, startNode } = require("./process");
const { RawRedis } = require("./raw-redis");
const { endOf } = require("./entries");

/** @typedef {import("./process").Process} Process */

/**
 * @typedef {object} Context
 * @property {RawRedis} raw
 * @property {Process[]} nodes
 * @property {Process} node the first of them
 * @property {() => Promise<Process>} clients starts a process of clients
 *
 * @typedef {object} Scenario
 * @property {number} [nodes] default 1
 * @property {(context: Context) => Promise<Record<string, number>>} run resolves with values by metric
 * @property {Ceiling} [ceiling]
 *
 * @typedef {object} Ceiling the limit for any adapter on this machine
 * @property {string} metric the scenario's metric to which it applies
 * @property {(tools: { ceilings: typeof ceilings }) => Promise<number>} measure
 */

/** @param {() => Promise<boolean>} condition */
async function until(condition) {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until a node handles new entries. @param {RawRedis} raw @param {Process} node */
async function isReading(raw, node) {
  let isReached = false;
  node.reaches("reading").then(() => (isReached = true));
  // Upstream reads from the tail until it has read something. Between two such reads, it loses entries.
  await until(async () => {
    await raw.add(endOf("reading"), 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return isReached;
  });
}

/**
 * Makes one measurement.
 *
 * @param {Scenario} scenario
 * @param {string} kind of adapter
 */
async function measure({ nodes: count = 1, run }, kind) {
  const server = await startRedis();
  const raw = new RawRedis(server.port);
  await raw.connected;
  const nodes = Array.from({ length: count }, () => startNode(kind, server.port));
  /** @type {Process[]} */
  const crowds = [];
  const clients = async () => {
    const crowd = startClients();
    crowds.push(crowd);
    await crowd.started;
    return crowd;
  };
  try {
    await Promise.all(nodes.map((node) => node.started));
    await until(async () => (await nodes[0].ask("serverCount")) === count);
    for (const node of nodes) {
      await isReading(raw, node);
    }
    return await run({ raw, nodes, node: nodes[0], clients });
  } finally {
    await Promise.all([...crowds, ...nodes].map((each) => each.stop()));
    raw.close();
    await server.stop();
  }
}

module.exports = { measure, until };
