// Thousands of sessions that are to be saved at once: nobody who comes back waits for them, and they
// are saved before the node ends.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { sessionsIn } = require("../helpers/recovery");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
require("./warnings"); // outages are warned of

/**
 * A server, and a node that may be behind a proxy.
 *
 * @param {import("node:test").TestContext} t
 */
async function start(t) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const proxy = await startProxy(redis.port);
  defer(t, () => proxy.close());
  const handle = {
    adapterArgument: { host: redis.host, port: proxy.port },
    close: async () => {},
  };
  const node = await startNodeOn(handle, { serverOptions: { connectionStateRecovery: {} } });
  defer(t, () => node.close());
  const saved = async () => (await sessionsIn(admin)).length;
  return { redis, proxy, node, saved };
}

describe("while Redis hangs", { concurrency: 2 }, () => {
  /**
   * How long a client that comes back waits for a fresh start, ms.
   *
   * @param {import("node:test").TestContext} t
   * @param {number} unsaved so many sessions wait to be saved
   */
  async function wait(t, unsaved) {
    const { redis, node, saved } = await start(t);
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    node.io.emit("first");
    await client.receives("first");
    client.cut();
    await waitFor(async () => (await saved()) === 1, { what: "its session to be saved" });
    redis.pause();
    defer(t, () => redis.resume());
    /** @type {any} */
    const adapter = node.io.of("/").adapter;
    for (let i = 0; i < unsaved; i++) {
      // what the server does for each client that has dropped
      adapter.persistSession({ sid: `s${i}`, pid: `pid-${i}`, rooms: [`s${i}`], data: {} });
    }
    const begin = performance.now();
    await client.reconnect(undefined, 40_000);
    const time = performance.now() - begin;
    assert.equal(client.socket.recovered, false);
    redis.resume();
    await waitFor(async () => (await saved()) >= unsaved, {
      what: () => `${unsaved} sessions to be saved`,
      interval: 100,
      timeout: 30_000,
    });
    return time;
  }

  // Breaks when a save that gets no answer stands in the way of restores.
  test("a restore is refused as soon with thousands of unsaved sessions as without", async (t) => {
    const [few, many] = await Promise.all([wait(t, 0), wait(t, 5_000)]);
    t.diagnostic(`after ${Math.round(few)} ms, and after ${Math.round(many)} ms`);
    assert.ok(many < 1.25 * few, `after ${few} ms, and after ${many} ms`);
  });
});

// Breaks when sessions are saved one for each round trip, and when close() waits for a fixed time
// while they are saved.
test("close() saves the sessions of 2,000 clients, 200 ms away from Redis", async (t) => {
  const CLIENTS = 2_000;
  const AT_A_TIME = 100;
  const { proxy, node, saved } = await start(t);
  for (let i = 0; i < CLIENTS; i += AT_A_TIME) {
    const some = Array.from({ length: AT_A_TIME }, () => connectClient(node.url));
    const clients = await Promise.all(some);
    defer(t, () => clients.forEach((client) => client.disconnect()));
  }
  proxy.delay(100);
  await node.close();
  assert.equal(await saved(), CLIENTS);
});
