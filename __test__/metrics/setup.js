// What the tests of the stats, metrics and diagnostics start: a Redis server and nodes, each for one
// test, and all of it ended behind it.

"use strict";

const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { startChildNode } = require("../helpers/remote-node");
const { defer } = require("../faults/defer");
require("../faults/warnings"); // outages are warned of

/**
 * @typedef {import("node:test").TestContext} TestContext
 * @typedef {import("../../index").AdapterStats} Stats
 */

/** With a look once a second, and whatever else the machine does. */
const SOON = { timeout: 15_000 };
/** Of what a node writes into the stream: broadcasts only. */
const STREAM = "socket.io";

/** @param {TestContext} t @param {import("../helpers/redis-server").RedisServerOptions} [options] */
async function ownRedis(t, options) {
  const redis = await startRedis(options);
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  return { redis, admin };
}

/**
 * A node in this process, and how it is.
 *
 * @param {TestContext} t
 * @param {string} url of Redis
 * @param {Omit<import("../helpers/node").NodeOptions, "redis">} [options]
 */
async function nodeOn(t, url, options = {}) {
  const node = await startNodeOn({ adapterArgument: url, close: async () => {} }, options);
  defer(t, () => node.close());
  const adapter = /** @type {any} */ (node.io.of("/").adapter);
  return Object.assign(node, { adapter, stats: () => /** @type {Stats} */ (adapter.stats()) });
}

/**
 * A node in a process of its own.
 *
 * @param {TestContext} t
 * @param {import("../helpers/redis-server").RedisServer} redis
 * @param {Record<string, unknown>} [adapterOptions]
 * @param {Record<string, any>} [serverOptions]
 */
async function processOn(t, redis, adapterOptions, serverOptions) {
  const child = await startChildNode({ redis, adapterOptions, serverOptions, client: "url" });
  defer(t, () => child.kill());
  return child;
}

module.exports = { SOON, STREAM, nodeOn, ownRedis, processOn };
