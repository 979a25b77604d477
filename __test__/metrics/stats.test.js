// Each number of `stats()` moves when what it tells of happens, and comes back.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { SOON, STREAM, nodeOn, ownRedis, processOn } = require("./setup");

/** @typedef {import("node:test").TestContext} TestContext */

const BLOCK_TIME = 200;
/** Beyond what a reader that works is ever silent for, and before its connection counts as dead. */
const SILENT = 3 * BLOCK_TIME;

/** A reader that is stalled is given up only long after the test. */
const PATIENT = { blockTimeInMs: 30_000 };

/**
 * Two nodes, the second behind a proxy that can stall its reader and nothing else.
 *
 * @param {TestContext} t
 */
async function withStalledReader(t) {
  const { redis, admin } = await ownRedis(t);
  /** @type {Set<import("../helpers/tcp-proxy").Link>} */
  const readers = new Set();
  const proxy = await startProxy(redis.port, (link, direction, chunk) => {
    if (direction === "up" && chunk.includes("XREAD")) {
      readers.add(link);
    }
  });
  defer(t, () => proxy.close());
  const fast = await nodeOn(t, redis.url);
  const slow = await nodeOn(t, proxy.url, { index: 1, adapterOptions: PATIENT });
  await emit(fast, 5);
  for (const { stats } of [fast, slow]) {
    await waitFor(() => stats().read === 5 && stats().lagEntries === 0, SOON);
  }
  return {
    admin,
    fast,
    slow,
    stall: () => readers.forEach((link) => link.stall()),
    release: () => readers.forEach((link) => link.destroy()),
  };
}

/** @param {Awaited<ReturnType<typeof nodeOn>>} node @param {number} count */
async function emit({ io, stats }, count) {
  const published = stats().published + count;
  for (let i = 0; i < count; i++) {
    io.emit("event", i);
  }
  await waitFor(() => stats().published === published, { what: `${count} entries to be written` });
}

describe("the lag", () => {
  // Breaks when what was read is not counted exactly, or when a node that has caught up is not told
  // from one that is behind.
  test("is what a reader has not read, and 0 when it has read all", async (t) => {
    const { fast, slow, stall, release } = await withStalledReader(t);
    stall();
    await emit(fast, 70);
    await emit(slow, 30); // its writer works
    await waitFor(() => slow.stats().lagEntries === 100, {
      ...SOON,
      what: () => `100 entries, not ${slow.stats().lagEntries}`,
    });
    const before = slow.stats();
    assert.equal(before.streamLength, 105);
    assert.ok(Number(before.lagMs) > 0 && before.silentMs > 0, "it is late");
    assert.equal(fast.stats().lagEntries, 0);
    assert.equal(fast.stats().lagMs, 0);
    await emit(fast, 1);
    await waitFor(() => slow.stats().lagEntries === 101, SOON);
    assert.ok(slow.stats().silentMs > before.silentMs, "it rises");

    release();
    await waitFor(() => slow.stats().read === 106, { ...SOON, what: "the reader to catch up" });
    const { lagEntries, lagMs, lost } = slow.stats();
    assert.deepEqual({ lagEntries, lagMs, lost }, { lagEntries: 0, lagMs: 0, lost: 0 });
  });

  // Breaks when entries that are gone for good count as unread for ever.
  test("does not count what was trimmed unread", async (t) => {
    const { admin, fast, slow, stall, release } = await withStalledReader(t);
    stall();
    await emit(fast, 100);
    await waitFor(() => slow.stats().lagEntries === 100, SOON);
    await admin.command("XTRIM", STREAM, "MAXLEN", 10);
    await waitFor(() => slow.stats().lagEntries === 10, {
      ...SOON,
      what: () => `10 entries, not ${slow.stats().lagEntries}`,
    });
    assert.equal(slow.stats().streamLength, 10);
    release();
    await waitFor(() => slow.stats().lost === 90, { ...SOON, what: "the loss to be noticed" });
    await emit(fast, 3);
    await waitFor(() => slow.stats().lagEntries === 0 && slow.stats().streamLength === 13, SOON);
    assert.equal(slow.stats().losses, 1);
  });

  test("is 0 again after the stream was deleted", async (t) => {
    const { redis, admin } = await ownRedis(t);
    const node = await nodeOn(t, redis.url);
    await emit(node, 50);
    await waitFor(() => node.stats().streamLength === 50, SOON);
    await admin.command("DEL", STREAM);
    await waitFor(() => node.stats().streamLength === 0, SOON);
    assert.equal(node.stats().lagEntries, 0);
    await emit(node, 7);
    await waitFor(() => node.stats().streamLength === 7 && node.stats().lagEntries === 0, SOON);
    assert.equal(node.stats().losses, node.stats().resets);
  });

  test("is absent where XINFO is not permitted, and the time is not", async (t) => {
    const { redis, admin } = await ownRedis(t);
    await admin.command(
      ...["ACL", "SETUSER", "chat", "on", ">secret", "~*", "&*", "+@all", "-xinfo"],
    );
    const node = await nodeOn(t, redis.url.replace("redis://", "redis://chat:secret@"));
    await emit(node, 5);
    // The first look may have found the stream empty, which is known without XINFO.
    await waitFor(
      () => {
        const { lagEntries, lagMs, streamLength } = node.stats();
        return lagMs === 0 && lagEntries === undefined && streamLength === undefined;
      },
      { ...SOON, what: () => `nothing but the time, not ${JSON.stringify(node.stats())}` },
    );
  });
});

describe("whether Redis is there", () => {
  test("a server that hangs shows in the silence, which ends with it", async (t) => {
    const { redis } = await ownRedis(t);
    const { stats } = await nodeOn(t, redis.url, { adapterOptions: { blockTimeInMs: BLOCK_TIME } });
    await waitFor(() => stats().connected && stats().position !== undefined);
    redis.pause();
    await waitFor(() => stats().silentMs > SILENT, { ...SOON, what: "the reader to be silent" });
    redis.resume();
    await waitFor(() => stats().silentMs < SILENT, SOON);
  });

  test("a server that is away is not connected to, until it is back", async (t) => {
    const { redis } = await ownRedis(t);
    const { stats } = await nodeOn(t, redis.url);
    await waitFor(() => stats().connected, SOON);
    assert.equal(stats().reconnects, 0);
    await redis.kill();
    await waitFor(() => !stats().connected, { ...SOON, what: "the outage to show" });
    await redis.restart();
    // The reader's, that of PUB/SUB, and the writer's, which is found broken when it is used.
    await waitFor(() => stats().reconnects >= 3 && stats().connected, {
      ...SOON,
      what: () => `3 connections to stand again, not ${stats().reconnects}`,
    });
  });

  // Breaks when a reader's connection counts as soon as it is open.
  test("a reader that may not read is neither connected nor connected again", async (t) => {
    const { redis, admin } = await ownRedis(t);
    await admin.command(
      ...["ACL", "SETUSER", "chat", "on", ">secret", "~*", "&*", "+@all", "-xread"],
    );
    const { stats } = await nodeOn(t, redis.url.replace("redis://", "redis://chat:secret@"));
    const attempts = async () =>
      /cmdstat_xread:.*rejected_calls=(\d+)/.exec(await admin.command("INFO", "commandstats"))?.[1];
    await waitFor(async () => Number(await attempts()) >= 4, {
      ...SOON,
      what: "some attempts to read",
    });
    const { connected, reconnects } = stats();
    assert.deepEqual({ connected, reconnects }, { connected: false, reconnects: 0 });
    await admin.command("ACL", "SETUSER", "chat", "+xread");
    await waitFor(() => stats().connected, { ...SOON, what: "the reader to read" });
  });

  test("a closed node is not connected", async (t) => {
    const { redis } = await ownRedis(t);
    const node = await nodeOn(t, redis.url);
    await waitFor(() => node.stats().connected, SOON);
    await node.close();
    assert.equal(node.stats().connected, false);
  });
});

describe("the latency of publishing", () => {
  test("is that of every publish, in buckets that add up", async (t) => {
    const { redis } = await ownRedis(t);
    const node = await nodeOn(t, redis.url);
    await emit(node, 1);
    await emit(node, 2_500); // several batches
    const { published, publishLatency } = node.stats();
    const { count, sumMs, buckets } = publishLatency;
    assert.equal(published, 2_501);
    assert.equal(count, published);
    assert.ok(sumMs > 0);
    buckets.reduce(([bound, below], [next, all]) => {
      assert.ok(next > bound && all >= below && all <= count, `${all} up to ${next} ms`);
      return [next, all];
    });
    assert.equal(/** @type {[number, number]} */ (buckets.at(-1))[1], count, "none took 10 s");
  });

  // Breaks when the time counts from the batch and not from the publish: the second one is in no batch
  // before the first one is through.
  test("holds the time of an outage", async (t) => {
    const { redis } = await ownRedis(t);
    const node = await nodeOn(t, redis.url);
    await emit(node, 1);
    const { publishLatency: before } = node.stats();
    await redis.kill();
    const text = "x".repeat(100_000);
    node.io.emit("in the outage", text);
    // When the writer has taken it, only what JS keeps of it is counted.
    const isTaken = () => node.stats().queueBytes < 2 * text.length;
    await waitFor(() => node.stats().queueLength === 1 && isTaken(), SOON);
    const start = performance.now();
    node.io.emit("later in the outage");
    await settle(600);
    const away = performance.now() - start;
    await redis.restart();
    await waitFor(() => node.stats().published === 3, SOON);
    const { count, sumMs, buckets } = node.stats().publishLatency;
    assert.equal(count, 3);
    assert.ok(sumMs - before.sumMs >= 2 * away, `${sumMs - before.sumMs} of 2 × ${away} ms`);
    const shorter = buckets.filter(([bound]) => bound <= away);
    assert.ok(
      shorter.every(([, n]) => n <= 1),
      `one took less than ${away} ms: ${shorter}`,
    );
  });
});

test("the inbox tells how long the event loop keeps what waits for it", async (t) => {
  const { redis } = await ownRedis(t);
  const [from, to] = await Promise.all([0, 1].map((index) => nodeOn(t, redis.url, { index })));
  const client = await connectClient(to.url);
  defer(t, () => client.disconnect());
  const start = performance.now();
  for (let i = 0; i < 300; i++) {
    from.io.emit("event", i);
  }
  // The last ones would be handed over at the end of the tick.
  from.stats();
  // The event loop is busy, the engines are not.
  while (to.stats().inboxLength < 300 || to.stats().inboxAgeMs < 50) {
    assert.ok(performance.now() - start < SOON.timeout, "the entries wait");
  }
  const { inboxAgeMs } = to.stats();
  assert.ok(inboxAgeMs <= performance.now() - start, `${inboxAgeMs} ms`);
  await client.receives("event", 300);
  const { inboxLength, inboxBytes, inboxAgeMs: age } = to.stats();
  assert.deepEqual([inboxLength, inboxBytes, age], [0, 0, 0]);
});

for (const requestsVia of ["pubsub", "stream"]) {
  test(`members come and go (requestsVia: "${requestsVia}")`, async (t) => {
    const { redis } = await ownRedis(t);
    const options = { requestsVia, heartbeatInterval: 200, heartbeatTimeout: 1_000 };
    const { stats } = await nodeOn(t, redis.url, { adapterOptions: options });
    assert.equal(stats().members, 1);
    const [killed, closed] = await Promise.all([
      processOn(t, redis, options),
      processOn(t, redis, options),
    ]);
    await waitFor(() => stats().members === 3, SOON);
    await closed.close();
    await waitFor(() => stats().members === 2, SOON);
    await killed.kill();
    await waitFor(() => stats().members === 1, SOON);
  });
}

test("sessions that are kept, given back and refused are counted", async (t) => {
  const { redis, admin } = await ownRedis(t);
  const node = await nodeOn(t, redis.url, {
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
  });
  const { io, stats } = node;
  const client = await connectClient(node.url);
  defer(t, () => client.disconnect());
  const goAway = async (/** @type {number} */ saved) => {
    io.emit("seen");
    await client.receives("seen", saved);
    client.cut();
    await waitFor(() => stats().sessionsSaved === saved, { what: "the session to be kept" });
  };
  await goAway(1);
  const { historyLength, historyBytes } = stats();
  assert.ok(historyLength === 1 && historyBytes > 0);
  await client.reconnect();
  assert.equal(client.socket.recovered, true);
  const { restores, restoresRefused, restoreLatency } = stats();
  assert.deepEqual([restores, restoresRefused, restoreLatency.count], [1, 0, 1]);
  assert.ok(restoreLatency.sumMs > 0);

  await goAway(2);
  await admin.command("DEL", STREAM);
  await waitFor(() => stats().resets === 1, SOON);
  await client.reconnect();
  assert.equal(client.socket.recovered, false);
  assert.deepEqual([stats().restores, stats().restoresRefused], [1, 1]);

  // What is no offset and no session never reaches Redis, and counts as well.
  for (const [i, auth] of [
    { pid: "x".repeat(200), offset: "1-1" },
    { pid: "x", offset: "?" },
  ].entries()) {
    const stranger = await connectClient(node.url, { auth });
    stranger.disconnect();
    assert.equal(stats().restoresRefused, 2 + i);
  }
  assert.equal(stats().restoreLatency.count, 1);
});
