// Clients of a Redis Cluster that read from replicas: the adapter does as well.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { format } = require("node:util");
const { STREAM } = require("../cluster/verdict");
const { defer } = require("../faults/defer");
const { takeWarnings } = require("../faults/warnings");
const { startNodeOn } = require("../helpers/node");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");

/** @typedef {import("../helpers/redis-cluster").RedisCluster} RedisCluster */

/** @type {Record<string, (redis: RedisCluster) => { argument: any, close: () => void }>} */
const CLIENTS = {
  "redis with useReplicas": ({ url }) => {
    const argument = require("redis").createCluster({ rootNodes: [{ url }], useReplicas: true });
    return { argument, close() {} }; // never connected: its settings are enough
  },
  "ioredis with scaleReads": ({ port }) => {
    const { Cluster } = require("ioredis");
    const argument = new Cluster([port], { scaleReads: "slave", lazyConnect: true });
    return { argument, close: () => argument.disconnect() };
  },
};

/** The lines that the engine logs during a test: they tell why it does not read from a replica. */
function logLines(/** @type {import("node:test").TestContext} */ t) {
  const debug = require("debug");
  const { log } = debug;
  /** @type {string[]} */
  const lines = [];
  debug.enable("socket.io-redis-streams-adapter");
  debug.log = (...line) => lines.push(format(...line));
  t.after(() => {
    debug.disable();
    debug.log = log;
  });
  return lines;
}

for (const [name, create] of Object.entries(CLIENTS)) {
  test(`${name}: the stream is read from a replica of its master`, async (t) => {
    const redis = await startRedisCluster();
    defer(t, () => redis.stop());
    takeWarnings();
    const lines = logLines(t);
    const start = async (/** @type {Record<string, unknown>} */ adapterOptions) => {
      const { argument, close } = create(redis);
      const handle = { adapterArgument: argument, close: async () => close() };
      const node = await startNodeOn(handle, { adapterOptions });
      defer(t, () => node.close());
      return /** @type {any} */ (node.io.of("/").adapter);
    };
    const [adapter, ofMaster] = [await start({}), await start({ readFrom: "master" })];
    const { master } = await redis.masterOf(STREAM);
    const replica = redis.nodes[redis.nodes.indexOf(master) + 3];
    await waitFor(() => adapter.stats().readFrom === "replica", {
      timeout: 20_000,
      what: () => `a replica to be read from; the engine's lines: ${lines.join("\n")}`,
    });
    assert.equal(adapter.stats().readFromAddress, `127.0.0.1:${replica.port}`);
    const client = await connectClient(
      `http://127.0.0.1:${adapter.nsp.server.httpServer.address().port}`,
    );
    defer(t, () => client.disconnect());
    adapter.nsp.emit("own", 1);
    ofMaster.nsp.emit("other", 2);
    await client.receives("own");
    await client.receives("other");
    assert.equal(ofMaster.stats().readFrom, "master", "the option wins over the client");
    assert.deepEqual(takeWarnings(), []);
  });
}
