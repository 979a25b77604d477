// How long the stream keeps its entries: by default as long as connection state recovery needs them,
// or as long as `maxAge` says, and no more of them than `maxLen`.

"use strict";

const assert = require("node:assert/strict");
const { beforeEach, test } = require("node:test");
const { setTimeout: sleep } = require("node:timers/promises");
const { createAdmin } = require("../helpers/clients");
const { startCluster, useRedis } = require("../helpers/cluster");
const { clientWithOffset, cut, missedBy } = require("../helpers/recovery");
const { once, settle, waitFor } = require("../helpers/wait");
const { Emitter } = require("../..");

const STREAM = "socket.io";
const RECOVERY = { serverOptions: { connectionStateRecovery: {} } };
/** Small enough that the stream has to be read. */
const SMALL_HISTORY = { historyBytes: 100_000 };

const context = useRedis();

beforeEach(() => context.admin.command("FLUSHALL"));

/** Emits, and waits until Redis has all of it. @param {any} io @param {number} count */
async function emit(io, count) {
  const adapter = io.of("/").adapter;
  const before = adapter.stats().published;
  for (let n = 0; n < count; n++) {
    io.emit("n", n);
    if (n % 1_000 === 999) {
      await waitFor(() => adapter.stats().published > before + n, { what: "the packets in Redis" });
    }
  }
}

const length = () => context.admin.command("XLEN", STREAM);

/** @param {any} adapterOptions @param {any} options @param {(cluster: any) => Promise<void>} run */
async function withCluster(adapterOptions, options, run) {
  const cluster = await startCluster(context, { nodes: 2, adapterOptions, ...options });
  try {
    await run(cluster);
  } finally {
    await cluster.close();
  }
}

// Breaks when `maxLen` alone decides by default.
test("a client that has missed 30,000 packets is recovered by default", async () => {
  await withCluster(SMALL_HISTORY, RECOVERY, async (cluster) => {
    const COUNT = 30_000;
    const client = await clientWithOffset(cluster, 0);
    await cut(cluster, client);
    await emit(cluster.io(0), COUNT);
    const missed = await missedBy(cluster, client, 1);
    assert.deepEqual(
      missed.filter(([name]) => name === "n"),
      Array.from({ length: COUNT }, (_, n) => ["n", n]),
    );
  });
});

test("without connection state recovery, the stream is as long as upstream's", async () => {
  await withCluster({}, {}, async (cluster) => {
    await emit(cluster.io(0), 12_000);
    const now = await length();
    assert.ok(now >= 10_000 && now <= 10_200, `${now} entries`);
  });
});

// Breaks when a default applies beside the user's `maxLen`.
test("a `maxLen` is the bound with connection state recovery, and a client refused over it is warned of", async () => {
  const options = { maxLen: 1_000, ...SMALL_HISTORY };
  await withCluster(options, RECOVERY, async (cluster) => {
    const clients = [await clientWithOffset(cluster, 0), await clientWithOffset(cluster, 0)];
    for (const client of clients) {
      await cut(cluster, client);
    }
    await emit(cluster.io(0), 3_000);
    const now = await length();
    assert.ok(now >= 1_000 && now <= 1_200, `${now} entries`);
    // The warning tells the length that the last check has seen.
    const { adapter } = /** @type {any} */ (cluster.io(1).of("/"));
    await waitFor(() => adapter.stats().streamLength === now, { what: "a check" });
    const warned = once(process, "warning");
    /** @type {Error[]} */
    const warnings = [];
    const listener = (/** @type {Error} */ warning) => warnings.push(warning);
    process.on("warning", listener);
    try {
      // Offsets come from clients, who may make them up.
      const liar = await clientWithOffset(cluster, 0);
      await cut(cluster, liar);
      Object.assign(liar.socket, { _lastOffset: "1-1" });
      await cluster.reconnect(liar, 1);
      assert.equal(liar.socket.recovered, false);
      await settle();
      assert.deepEqual(warnings, []);
      for (const client of clients) {
        await cluster.reconnect(client, 1);
        assert.equal(client.socket.recovered, false);
      }
      const [{ code, message }] = await warned;
      assert.equal(code, "ERR_SIO_REDIS_STREAM_TOO_SHORT");
      assert.match(message, /`socket\.io` holds 1[01]\d\d entries/);
      assert.match(message, /may need 1\d\d s; set `maxLen` to \d+000 or more/);
      assert.equal(warnings.length, 1);
    } finally {
      process.off("warning", listener);
    }
  });
});

// Breaks when XADD does not trim by age, and when all XADDs do.
test("`maxAge` ends what is older, and `maxLen` what is too much", async () => {
  await withCluster({ maxAge: 500, maxLen: 2_000 }, {}, async (cluster) => {
    await emit(cluster.io(0), 5_000);
    const many = await length();
    assert.ok(many >= 1_000 && many <= 4_000, `${many} entries`);
    const [[oldest]] = await context.admin.command("XRANGE", STREAM, "-", "+", "COUNT", 1);
    // Redis trims whole blocks, of 100 entries.
    await waitFor(
      async () => {
        await emit(cluster.io(0), 1);
        await sleep(20);
        return (await length()) <= 200;
      },
      { what: "the oldest entries to end" },
    );
    const [[first]] = await context.admin.command("XRANGE", STREAM, "-", "+", "COUNT", 1);
    assert.ok(Number(first.split("-")[0]) > Number(oldest.split("-")[0]));
  });
});

test("an emitter's `maxAge` does the same", async () => {
  const redis = context.redis;
  const emitter = new Emitter(redis.url, { maxAge: 300 });
  const admin = await createAdmin(redis);
  try {
    for (let n = 0; n < 1_000; n++) {
      emitter.emit("n", n);
    }
    await emitter.flush();
    assert.equal(await admin.command("XLEN", STREAM), 1_000);
    await waitFor(
      async () => {
        emitter.emit("more");
        await emitter.flush();
        await sleep(10);
        return (await admin.command("XLEN", STREAM)) <= 300;
      },
      { what: "the oldest entries to end" },
    );
  } finally {
    await emitter.close();
    await admin.close();
  }
});
