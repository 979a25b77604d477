// Whom a node asks which master serves which keys, and how often.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../..");
const { defer } = require("../faults/defer");
require("../faults/warnings"); // outages are warned of
const { startRedisCluster } = require("../helpers/redis-cluster");
const { ask, freePort, startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { STREAM } = require("./verdict");

/** No replica takes over while a test runs. */
const NO_FAILOVER = 60_000;
/** ms that lie between two questions at the least. */
const PAUSE = 100;
const CLIENTS = 300;

/**
 * @param {import("node:test").TestContext} t
 * @param {number[]} ports
 * @returns {Promise<any>} the namespace adapter of a node, once it has published
 */
async function startNode(t, ports) {
  const nodes = ports.map((port) => ({ host: "127.0.0.1", port }));
  const io = new Server({
    adapter: createAdapter({ cluster: { nodes } }),
    connectionStateRecovery: {},
  });
  const adapter = /** @type {any} */ (io.of("/").adapter);
  defer(t, () => adapter.close());
  io.emit("event");
  await waitFor(() => adapter.stats().published === 1, { what: "the packet to be published" });
  return adapter;
}

// Break when the first answer is taken, whatever it knows.
for (const [what, ...commands] of [
  ["that is in no cluster"],
  ["with slots of its own", "CLUSTER ADDSLOTS 0 1 2"],
]) {
  test(`a seed ${what} stands first`, async (t) => {
    const redis = await startRedisCluster({ nodeTimeout: NO_FAILOVER });
    defer(t, () => redis.stop());
    const busPort = await freePort();
    const alone = await startRedis({
      args: ["--cluster-enabled", "yes", "--cluster-port", String(busPort)],
    });
    defer(t, () => alone.remove());
    for (const command of commands) {
      await ask(alone.port, [command], /\+OK/);
    }
    await startNode(t, [alone.port, ...redis.ports]);
  });
}

// Breaks when each client that needs the dead master has somebody asked where it is.
test("clients whose sessions are on a dead master do not storm the others", async (t) => {
  const redis = await startRedisCluster({
    nodeTimeout: NO_FAILOVER,
    args: ["--cluster-require-full-coverage", "no"],
  });
  defer(t, () => redis.stop());
  const adapter = await startNode(t, redis.ports);
  const { master: ofStream } = await redis.masterOf(STREAM);
  const { tag, master } = await tagElsewhere(redis, ofStream);
  await master.kill();
  const others = redis.nodes.filter((node) => node !== master);
  const before = await questions(others);
  const started = Date.now();
  const restores = Array.from({ length: CLIENTS }, (_, i) =>
    adapter.restoreSession(`{${tag}}${i}`, "1-0").catch(() => {}),
  );
  await Promise.all(restores);
  const took = Date.now() - started;
  const asked = (await questions(others)) - before;
  t.diagnostic(`${CLIENTS} clients: CLUSTER SLOTS ${asked} times in ${took} ms`);
  assert.ok(asked <= took / PAUSE + 2, `${asked} times in ${took} ms`);
});

/**
 * A hash tag whose keys are on another master than this one.
 *
 * @param {import("../helpers/redis-cluster").RedisCluster} redis
 * @param {import("../helpers/redis-server").RedisServer} not
 */
async function tagElsewhere(redis, not) {
  for (let i = 0; ; i++) {
    const { master } = await redis.masterOf(`tag${i}`);
    if (master !== not) {
      return { tag: `tag${i}`, master };
    }
  }
}

/**
 * How often servers were asked for the slots.
 *
 * @param {import("../helpers/redis-server").RedisServer[]} servers
 */
async function questions(servers) {
  let sum = 0;
  for (const { port } of servers) {
    const [stats] = await ask(port, ["INFO commandstats"], /^\$\d+\r\n[\s\S]*\r\n\r\n/);
    // before 7.0 subcommands are not counted by themselves
    sum += Number(/cmdstat_cluster(?:\|slots)?:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  }
  return sum;
}
