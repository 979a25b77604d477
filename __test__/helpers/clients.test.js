// The Redis clients of the tests end when they are closed.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { defer } = require("../faults/defer");
const { createRedisClient } = require("./clients");
const { startRedisCluster } = require("./redis-cluster");
const { settle } = require("./wait");

/** No replica takes over while the test runs. */
const NO_FAILOVER = 60_000;
/** More than the pause between two attempts to reconnect (ms). */
const ATTEMPT = 1_000;

// Breaks when the client's connections that come after its close stay: they try to reach the cluster
// for ever, and a test file that has passed never ends.
test("a cluster client that is closed while it asks for the cluster's nodes ends", async (t) => {
  const redis = await startRedisCluster({ nodeTimeout: NO_FAILOVER });
  defer(t, () => redis.stop());
  const { adapterArgument: client, close } = await createRedisClient(redis, { client: "redis" });
  // As it does by itself some seconds after a master has gone.
  const asking = client._slots.rediscover().catch(() => {});
  await close();
  await asking;
  await redis.stop();
  let attempts = 0;
  client.on("node-reconnecting", () => attempts++);
  await settle(ATTEMPT);
  assert.equal(attempts, 0);
});
