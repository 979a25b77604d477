// `maxDisconnectionDuration` of any value: no client that leaves ends its server.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { startCluster, useRedis } = require("../helpers/cluster");
const { clientWithOffset, cut, pidOf, SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { once } = require("../helpers/wait");

const DEFAULT = 120_000;
const YEAR = 365 * 24 * 3_600 * 1_000;

const context = useRedis();

/** @type {[unknown, number, number][]} the value, and between what the session's life is, ms */
const KEPT = [
  [60_000, 30_000, 60_000],
  ["60000", 30_000, 60_000],
  [undefined, 60_001, DEFAULT],
  [null, 60_001, DEFAULT],
  [Infinity, 99 * YEAR, 101 * YEAR],
  [true, 60_001, DEFAULT],
  ["a minute", 60_001, DEFAULT],
];

for (const [maxDisconnectionDuration, least, most] of KEPT) {
  test(`${typeof maxDisconnectionDuration} ${maxDisconnectionDuration}`, async () => {
    const isOdd = maxDisconnectionDuration === true || maxDisconnectionDuration === "a minute";
    const warned = isOdd ? once(process, "warning") : undefined;
    const cluster = await startCluster(context, {
      nodes: 1,
      serverOptions: { connectionStateRecovery: { maxDisconnectionDuration } },
    });
    try {
      const client = await clientWithOffset(cluster, 0);
      const key = SESSION_KEY_PREFIX + pidOf(cluster, client);
      await cut(cluster, client);
      const left = await context.admin.command("PTTL", key);
      assert.ok(left > least && left <= most, `the session lives for ${left} ms`);
      await cluster.reconnect(client, 0);
      assert.equal(client.socket.recovered, true);
      assert.equal((await warned)?.[0].code, isOdd ? "SIO_REDIS_RECOVERY_DURATION" : undefined);
    } finally {
      await cluster.close();
    }
  });
}

test("0 keeps nothing", async () => {
  const cluster = await startCluster(context, {
    nodes: 1,
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 0 } },
  });
  try {
    const client = await clientWithOffset(cluster, 0);
    await cluster.cut(client);
    await cluster.reconnect(client, 0);
    assert.equal(client.socket.recovered, false);
  } finally {
    await cluster.close();
  }
});
