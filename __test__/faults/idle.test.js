// Connections that the server closes because they were idle: they are opened again when they are needed.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { isNoticed } = require("./noticed");
const { IN_RESP2, renamed, startTwo } = require("./two-nodes");
const { takeWarnings } = require("./warnings");

const onLinux = { skip: process.platform !== "linux" && "looks into /proc" };
describe("idle connections that the server closes are opened again unnoticed", onLinux, () => {
  const TIMEOUT = 2;

  /**
   * Breaks when such a connection is missed before it is needed, or its end is said.
   *
   * @param {import("node:test").TestContext} t
   * @param {any} settings
   * @param {() => Promise<string[]>} lists CLIENT LIST of each server
   * @param {RegExp} idle what those look like that are not used for a while
   * @param {number[]} ports of the servers
   */
  async function assertUnnoticed(t, settings, lists, idle, ports) {
    const options = { heartbeatInterval: 5_000, heartbeatTimeout: 20_000 };
    const two = await startTwo(t, settings, options);
    const count = async () =>
      (await lists())
        .join("")
        .split("\n")
        .filter((line) => idle.test(line));
    for (let round = 0; round < 2; round++) {
      await two.assertWorks();
      assert.ok((await count()).length > 0, "there are connections that will be idle");
      await waitFor(async () => (await count()).length === 0, {
        timeout: 20_000,
        interval: 100,
        what: () => "them to be closed",
      });
      await isNoticed(ports);
      await two.assertRequests();
      await two.assertRecovery();
    }
    await two.assertPackets();
    assert.deepEqual(takeWarnings(), []);
    assert.deepEqual(two.counter("reconnects"), [0, 0]);
    assert.deepEqual(two.counter("dropped"), [0, 0]);
  }

  const SESSIONS = "get|set|del|hset|hsetnx|hdel|hgetall|pexpire|xrange|xrevrange|exec";
  /** @param {string} commands the last ones of connections */
  const lastOf = (commands) => new RegExp(` cmd=(${commands}) `);

  test("those for sessions", async (t) => {
    const redis = await startRedis({ args: ["--timeout", String(TIMEOUT)] });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const settings = { host: redis.host, port: redis.port };
    await assertUnnoticed(t, settings, async () => [await list(admin)], lastOf(SESSIONS), [
      redis.port,
    ]);
  });

  test("those for commands beside the subscriptions in RESP2", async (t) => {
    const redis = await startRedis({
      args: ["--timeout", String(TIMEOUT), ...renamed([IN_RESP2])],
    });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const settings = { host: redis.host, port: redis.port };
    const two = await startTwo(t, settings, { heartbeatInterval: 5_000, heartbeatTimeout: 20_000 });
    await two.assertWorks();
    takeWarnings(); // of the lack of RESP3
    const idle = async () => / cmd=(publish|pubsub\|numsub) /.test(await list(admin));
    assert.ok(await idle(), "there are connections that will be idle");
    await waitFor(async () => !(await idle()), { timeout: 20_000, what: "them to be closed" });
    await isNoticed([redis.port]);
    await two.assertRequests();
    assert.deepEqual(takeWarnings(), []);
    assert.deepEqual(two.counter("reconnects"), [0, 0]);
  });

  test("those to the nodes of a Redis Cluster", async (t) => {
    const redis = await startRedisCluster({ args: ["--timeout", String(TIMEOUT)] });
    defer(t, () => redis.stop());
    const admins = await Promise.all(redis.nodes.map((node) => createAdmin(node)));
    defer(t, () => Promise.all(admins.map((admin) => admin.close())));
    const nodes = redis.nodes.map(({ host, port }) => ({ host, port }));
    const idle = lastOf(`${SESSIONS}|pubsub\\|numsub`);
    const lists = () => Promise.all(admins.map((admin) => list(admin)));
    await assertUnnoticed(t, { cluster: { nodes } }, lists, idle, redis.ports);
  });

  /** @param {import("../helpers/clients").Admin} admin @returns {Promise<string>} */
  const list = (admin) => admin.command("CLIENT", "LIST");
});
