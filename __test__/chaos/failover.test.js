// A failover to a replica that lacks the latest entries: what Redis itself cannot promise is noticed
// and said, on every node, and packets flow again.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { lastEntryId } = require("../helpers/wire");
const { defer } = require("../faults/defer");
const { startAgent } = require("./agent");
const { EVENT } = require("./packets");

const STREAM = "socket.io";
/** Packets that the replica has, those that it lacks, and those after the failover. */
const [COPIED, MISSING, AFTER] = [50, 30, 50];
/** Enough for another two looks at the stream, ms. */
const TWO_LOOKS = 2_300;

/** @param {import("node:test").TestContext} t @param {string[]} [args] */
async function startServer(t, args) {
  const redis = await startRedis({ args });
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  return { redis, admin };
}

// Breaks when the position is not compared with the stream's end: XREAD waits for IDs above what was
// read on the old master, and what is between is lost without a word.
test("a replica without the latest entries takes over: each node reports it once, and goes on", async (t) => {
  const master = await startServer(t);
  const replica = await startServer(t, ["--replicaof", "127.0.0.1", String(master.redis.port)]);
  const proxy = await startProxy(master.redis.port);
  defer(t, () => proxy.close());
  const nodes = await Promise.all(
    [0, 1].map((sender) => startAgent({ redis: proxy.redis, sender })),
  );
  defer(t, () => Promise.all(nodes.map((node) => node.close())));
  const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
  defer(t, () => clients.forEach((client) => client.disconnect()));
  const all = (/** @type {number} */ count) =>
    Promise.all(clients.map((client) => client.receives(EVENT, count)));

  await nodes[0].burst(COPIED);
  await all(COPIED);
  const last = await lastEntryId(master.admin, STREAM);
  await waitFor(async () => (await lastEntryId(replica.admin, STREAM)) === last, {
    what: "the replica to have all",
  });
  await replica.admin.command("REPLICAOF", "NO", "ONE");
  await nodes[0].burst(MISSING);
  await all(COPIED + MISSING);
  proxy.moveTo(replica.redis.port);

  await waitFor(
    async () =>
      (await Promise.all(nodes.map((node) => node.findings()))).every(
        ({ losses }) => losses.length > 0,
      ),
    { what: "each node to say a loss" },
  );
  await nodes[1].burst(AFTER);
  await all(COPIED + MISSING + AFTER);
  await settle(TWO_LOOKS);
  for (const { losses, faults, stats } of await Promise.all(nodes.map((node) => node.findings()))) {
    assert.deepEqual(losses, [{ reason: "fellBack", entries: undefined }]);
    assert.deepEqual(faults, []);
    assert.equal(stats.resets, 1);
  }
  const packets = (/** @type {number} */ sender, /** @type {number} */ count) =>
    Array.from({ length: count }, (_, seq) => [sender, seq]);
  for (const client of clients) {
    const expected = [...packets(0, COPIED + MISSING), ...packets(1, AFTER)];
    assert.deepEqual(client.received(EVENT), expected, "nothing comes a second time");
  }
});
