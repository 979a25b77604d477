// The rights that docs/operations.md lists for a Redis Cluster and for sentinels are enough, and none of
// those that they add is too many.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { defer } = require("../faults/defer");
const { takeWarnings } = require("../faults/warnings");
const { createAdmin } = require("../helpers/clients");
const { needsServer, serverVersion } = require("../helpers/configuration");
const { startNodeOn } = require("../helpers/node");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { startRedisSentinel } = require("../helpers/redis-sentinel");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { STREAM } = require("./verdict");

/** @typedef {import("../helpers/clients").Admin} Admin */

const OPERATIONS = readFileSync(join(__dirname, "..", "..", "docs", "operations.md"), "utf8");
const USERS = [...OPERATIONS.matchAll(/^ACL SETUSER chat .*$/gm)].map(([line]) => line.split(" "));
const IN_CLUSTER = rights(/^- In a Redis Cluster: `([^`]+)`/m);
const WITH_SENTINELS = rights(/With sentinels: `([^`]+)`/);
const OF_SENTINELS = rights(/With sentinels: .*, and `([^`]+)` for their own user/);

/** @param {RegExp} pattern */
function rights(pattern) {
  const [, list] = /** @type {RegExpExecArray} */ (pattern.exec(OPERATIONS));
  return list.split(" ");
}

/** An admin for each server. @param {import("node:test").TestContext} t @param {any[]} servers */
async function admins(t, servers) {
  const all = await Promise.all(servers.map((server) => createAdmin(server)));
  defer(t, () => Promise.all(all.map((admin) => admin.close())));
  return all;
}

/** @param {Admin[]} all @param {string[]} args */
const everywhere = (all, ...args) => Promise.all(all.map((admin) => admin.command(...args)));

/**
 * Two nodes that do what an adapter does.
 *
 * @param {import("node:test").TestContext} t
 * @param {any} settings
 * @param {Record<string, unknown>} [adapterOptions]
 */
async function startTwo(t, settings, adapterOptions) {
  const handle = { adapterArgument: settings, close: async () => {} };
  /** @type {import("../helpers/node").SocketIoNode[]} */
  const nodes = [];
  for (const index of [0, 1]) {
    const serverOptions = { connectionStateRecovery: {} };
    const node = await startNodeOn(handle, { index, adapterOptions, serverOptions });
    defer(t, () => node.close());
    nodes.push(node);
  }
  const [{ io }, other] = nodes;
  const adapter = /** @type {any} */ (io.of("/").adapter);
  await waitFor(async () => (await adapter.serverCount()) === 2);
  const client = await connectClient(other.url);
  defer(t, () => client.disconnect());
  client.socket.on("ask", (answer) => answer("yes"));
  return {
    async assertWorks() {
      const before = client.received("hello").length;
      for (let i = 0; i < 3; i++) {
        io.emit("hello"); // a batch, most likely
      }
      await client.receives("hello", before + 3);
      assert.deepEqual(await io.timeout(2_000).emitWithAck("ask"), ["yes"]);
      client.cut();
      await waitFor(() => other.io.of("/").sockets.size === 0);
      await client.reconnect(nodes[0].url);
      assert.equal(client.socket.recovered, true);
      client.cut();
      await waitFor(() => io.of("/").sockets.size === 0);
      await client.reconnect(other.url);
    },
  };
}

/** @param {Admin[]} all @param {string[]} granted */
async function assertUsed(all, granted) {
  const stats = (await everywhere(all, "INFO", "commandstats")).join("\n");
  const counted = (/** @type {string} */ right) =>
    serverVersion().major < 7 ? right.split("|")[0] : right; // Redis 6 has one count for all of them
  const unused = granted.filter((right) => !stats.includes(`cmdstat_${counted(right).slice(1)}:`));
  assert.deepEqual(unused, [], "rights that nothing needs");
}

describe("the permissions that docs/operations.md lists are enough in a Redis Cluster", () => {
  for (const [i, useShardedPubSub] of [false, true].entries()) {
    const skip = useShardedPubSub && needsServer(7, "sharded PUB/SUB");
    test(useShardedPubSub ? "sharded PUB/SUB" : "classic PUB/SUB", { skip }, async (t) => {
      const redis = await startRedisCluster();
      defer(t, () => redis.stop());
      const all = await admins(t, redis.nodes);
      const [, , user, ...rules] = USERS[i];
      await everywhere(all, "ACL", "SETUSER", user, ...rules, ...IN_CLUSTER);
      takeWarnings();
      const settings = { cluster: { nodes: [redis.url] }, username: user, password: "secret" };
      const { assertWorks } = await startTwo(t, settings, { useShardedPubSub });
      await assertWorks();
      const { master, slot } = await redis.masterOf(STREAM);
      const to = redis.nodes.slice(0, 3).find((node) => node !== master);
      assert.ok(to);
      await redis.moveSlot(slot, master, to, async () => {
        await assertWorks();
        await settle(); // the one that only looks once a second asks as well
      });
      await assertWorks();
      assert.deepEqual((await everywhere(all, "ACL", "LOG")).flat(), [], "nothing was denied");
      assert.deepEqual(takeWarnings(), []);
      await assertUsed(all, IN_CLUSTER);
    });
  }
});

test("the permissions that docs/operations.md lists are enough at sentinels", async (t) => {
  const sentinel = await startRedisSentinel();
  defer(t, () => sentinel.stop());
  const all = await admins(t, sentinel.servers);
  const watchers = await admins(t, sentinel.sentinels);
  const [, , user, ...rules] = USERS[0];
  await everywhere(all, "ACL", "SETUSER", user, ...rules, ...WITH_SENTINELS);
  await everywhere(watchers, "ACL", "SETUSER", "asker", "on", ">of", "-@all", ...OF_SENTINELS);
  takeWarnings();
  const { name, nodes } = sentinel;
  const { assertWorks } = await startTwo(t, {
    sentinel: { name, nodes, username: "asker", password: "of" },
    username: user,
    password: "secret",
  });
  await assertWorks();
  assert.deepEqual((await everywhere(all, "ACL", "LOG")).flat(), [], "nothing was denied");
  assert.deepEqual((await everywhere(watchers, "ACL", "LOG")).flat(), []);
  assert.deepEqual(takeWarnings(), []);
  await assertUsed(all, WITH_SENTINELS);
});
