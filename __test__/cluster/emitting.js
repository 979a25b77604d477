// Three nodes that emit, on a Redis Cluster of their own.

"use strict";

const assert = require("node:assert/strict");
const { defer } = require("../faults/defer");
const { Traffic } = require("../faults/traffic");
const { createAdmin } = require("../helpers/clients");
const { startCluster } = require("../helpers/cluster");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { waitFor } = require("../helpers/wait");
const { recordLosses } = require("./verdict");

/** ms between two packets of a node */
const RATE = 4;
const NODE_TIMEOUT = 1_500;

/**
 * @param {import("node:test").TestContext} t
 * @param {import("../helpers/redis-cluster").RedisClusterOptions &
 *   { adapterOptions?: Record<string, unknown>, serverOptions?: Record<string, unknown> }} [options]
 */
async function startEmitting(t, { adapterOptions, serverOptions, ...options } = {}) {
  const redis = await startRedisCluster({ nodeTimeout: NODE_TIMEOUT, ...options });
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const context = { redis: /** @type {any} */ (redis), admin };
  const cluster = await startCluster(context, {
    adapterOptions: { maxLen: 100_000, ...adapterOptions },
    serverOptions,
    // @ts-ignore sent by other servers
    setup: (io, index) => io.on("ask", (answer) => answer(index)),
  });
  defer(t, () => cluster.close());
  const losses = recordLosses(cluster);
  const traffic = new Traffic(
    cluster.nodes.map(({ io }) => io),
    cluster.clients,
  );
  traffic.start(RATE);
  defer(t, () => traffic.stop());
  await traffic.flows();
  return { redis, admin, cluster, traffic, losses };
}

/**
 * Asserts that requests reach all nodes, without a second try.
 *
 * @param {import("../helpers/cluster").Cluster} cluster
 */
async function assertRequestsWork(cluster) {
  // Whose server was just lost is not subscribed for a moment, and not waited for: requests are at
  // most once.
  const counts = () => Promise.all([0, 1, 2].map((index) => cluster.adapter(index).serverCount()));
  await waitFor(async () => (await counts()).join() === "3,3,3", {
    timeout: 20_000,
    interval: 20,
    what: "three servers to be counted by each",
  });
  assert.equal((await cluster.io(0).fetchSockets()).length, 3, "fetchSockets");
  const answers = await /** @type {any} */ (cluster.io(1)).serverSideEmitWithAck("ask");
  assert.deepEqual(answers.sort(), [0, 2], "serverSideEmit");
}

module.exports = { assertRequestsWork, startEmitting };
