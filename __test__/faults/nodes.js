// Nodes on a Redis of their own, which a test may pause or kill.

"use strict";

const { startNode } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { defer } = require("./defer");
const { takeWarnings } = require("./warnings");

/**
 * @param {import("node:test").TestContext} t
 * @param {number} count
 * @param {Omit<import("../helpers/node").NodeOptions, "redis" | "index">} [options] of each node
 */
async function startNodes(t, count, options) {
  takeWarnings();
  const redis = await startRedis();
  defer(t, () => redis.remove());
  const nodes = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      startNode({ redis, index, client: "url", ...options }),
    ),
  );
  defer(t, () => Promise.all(nodes.map((node) => node.close())));
  return { redis, nodes };
}

module.exports = { startNodes };
