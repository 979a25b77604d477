// Two nodes that read from the replicas of one master, and what the tests ask about them.

"use strict";

const assert = require("node:assert/strict");
const { defer } = require("../faults/defer");
const { startTwo } = require("../faults/two-nodes");
const { recordLosses } = require("../cluster/verdict");
const { ask } = require("../helpers/redis-server");
const { startReplicated } = require("../helpers/replicated");
const { waitFor } = require("../helpers/wait");

/** How long a reader may take to find another server, ms. */
const MOVE_LIMIT = 20_000;
/** Between two packets of a node, ms. */
const RATE = 4;

/**
 * @param {import("node:test").TestContext} t
 * @param {{ replicas?: number, announce?: string, settings?: (master: any) => any,
 *   adapterOptions?: object }} [options] `announce`: the host that replicas tell their master
 */
async function startReading(t, { replicas = 2, announce, settings, adapterOptions } = {}) {
  const redis = await startReplicated(replicas, { announce });
  defer(t, () => redis.stop());
  const argument = settings === undefined ? redis.master.url : await settings(redis.master);
  return { redis, ...(await startReadingAt(t, argument, adapterOptions)) };
}

/**
 * @param {import("node:test").TestContext} t
 * @param {any} argument for `createAdapter`
 * @param {object} [adapterOptions]
 */
async function startReadingAt(t, argument, adapterOptions) {
  const options = { readFrom: "replica", maxLen: 100_000, ...adapterOptions };
  const two = await startTwo(t, argument, options);
  await two.areWhole();
  const cluster = /** @type {any} */ ({
    nodes: two.nodes,
    adapter: (/** @type {number} */ index) => two.adapters[index],
  });
  const losses = recordLosses(cluster);
  const { traffic } = two;
  defer(t, () => traffic.stop());
  return { two, cluster, traffic, losses };
}

/** From which server each node reads. @param {import("../faults/two-nodes").Two} two */
const readers = (two) => two.counter("readFromAddress");

/**
 * Waits until all nodes read from servers of this kind, and not from this server.
 *
 * @param {import("../faults/two-nodes").Two} two
 * @param {"master" | "replica"} kind
 * @param {{ address?: string }} [other]
 */
async function readFrom(two, kind, { address } = {}) {
  await waitFor(
    () =>
      two.counter("readFrom").every((from) => from === kind) &&
      !readers(two).some((from) => from === address),
    {
      timeout: MOVE_LIMIT,
      interval: 10,
      what: () => `all to read from a ${kind}, not from ${JSON.stringify(two.counter("readFrom"))}`,
    },
  );
}

/** How often a server has executed a command. @param {any} server @param {string} command */
async function calls(server, command) {
  const [, count] = await ask(
    server.port,
    ["INFO commandstats"],
    new RegExp(`\\r\\n(?:cmdstat_${command}:calls=(\\d+)[\\s\\S]*)?\\r\\n$`),
  );
  return Number(count ?? 0);
}

/**
 * What a server has sent to others than replicas, bytes. Good for differences: it leaves out what each
 * of the present replicas would have been sent since the server began to replicate. Redis counts what it
 * sends to replicas only since 7.0.
 *
 * @param {any} server
 */
async function egress(server) {
  const [, sent] = await ask(server.port, ["INFO stats"], /total_net_output_bytes:(\d+)/);
  const [, replicas, offset] = await ask(
    server.port,
    ["INFO replication"],
    /connected_slaves:(\d+)\r\n[\s\S]*master_repl_offset:(\d+)/,
  );
  return Number(sent) - Number(replicas) * Number(offset);
}

/** @param {any[][]} losses */
function assertNothingLost(losses) {
  assert.deepEqual(losses.flat(), [], "losses that were reported");
}

module.exports = {
  MOVE_LIMIT,
  RATE,
  assertNothingLost,
  calls,
  egress,
  readFrom,
  readers,
  startReading,
  startReadingAt,
};
