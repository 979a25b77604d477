// An emitter's connection that breaks, and Redis that is away, while packets are on their way: each of
// them is published exactly once, in its order.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startCluster, useRedis } = require("../helpers/cluster");
const { startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor, within } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { random, seed } = require("../faults/random");
const { EVENT, Traffic } = require("../faults/traffic");
const { isNoticed } = require("../faults/noticed");
const { takeWarnings } = require("../faults/warnings");
const {
  LATE,
  writerCutter,
  emitUntil,
  startCutThenHang,
  startUpstreamReader,
  packetsInStream,
} = require("../faults/writer-cuts");

const { Emitter } = require("../..");

/** @typedef {import("node:test").TestContext} TestContext */

const CUTS = 20;
const CUTS_PER_MODE = 12;
/** ms between two packets */
const RATE = 2;
/** One batch of the writer. */
const MANY = 700;
/** How long a close takes without Redis, at most (ms), and something for a slow machine. */
const CLOSE_LIMIT = 5_000 + 3_000;

// Trimming is another matter.
const OPTIONS = { maxLen: 100_000 };

const context = useRedis({ appendOnly: true });

/**
 * An emitter, a node of ours and its client.
 *
 * @param {TestContext} t
 * @param {string} [url] where the emitter finds Redis
 */
async function start(t, url = context.redis.url) {
  await context.admin.command("FLUSHALL");
  const cluster = await startCluster(context, { nodes: 1, adapterOptions: OPTIONS });
  defer(t, () => cluster.close());
  const emitter = new Emitter({ url, clientName: "emitter" }, OPTIONS);
  defer(t, () => emitter.close().catch(() => {}));
  const traffic = new Traffic([emitter], [...cluster.clients]);
  return { cluster, emitter, traffic, stats: () => cluster.adapter(0).stats() };
}

/**
 * Each packet is in the stream once, and the clients have got all of them in their order.
 *
 * @param {Traffic} traffic
 */
async function assertOnce(traffic) {
  await traffic.assertComplete({ timeout: 15_000 });
  const packets = await packetsInStream(context.admin);
  assert.deepEqual(
    packets,
    Array.from({ length: traffic.total }, (_, number) => `0:${number}`),
    "what is in the stream",
  );
}

// Breaks when a batch in doubt is sent again without looking (doubled in the stream), or is taken for
// written (lost); when it is looked for behind another place than the last acknowledged entry; and when
// the old connection is not ended first (late arrival: doubled).
describe("a proxy that cuts in the middle of a packet", () => {
  for (const kind of /** @type {const} */ (["upstream", "upstream-0.2"])) {
    test(`each packet is published exactly once, as a client of ${kind} sees it`, async (t) => {
      const from = seed();
      t.diagnostic(`SEED=${from}`);
      const chance = random(from);
      const { inspect, cuts } = writerCutter(chance, ["request", "reply", "late"]);
      const proxy = await startProxy(context.redis.port, inspect);
      defer(t, () => proxy.close());
      const { cluster, emitter, traffic, stats } = await start(t, proxy.url);
      traffic.clients.push(await startUpstreamReader(t, context, cluster.io(0), OPTIONS, kind));
      await emitUntil(traffic, chance, cuts, ["request", "reply", "late"], CUTS_PER_MODE);
      await emitter.flush();
      await settle(LATE + 100); // nothing may come late
      await assertOnce(traffic);
      const { published, failed, doubtful, reconnects } = emitter.stats();
      assert.deepEqual(
        { published, failed, doubtful },
        { published: traffic.total, failed: 0, doubtful: 0 },
      );
      assert.ok(reconnects >= 3 * CUTS_PER_MODE);
      assert.equal(stats().doubled, 0);
      t.diagnostic(`${traffic.total} packets, cuts: ${JSON.stringify(cuts)}`);
    });
  }

  // Breaks when an emitter's entries lack what nodes know doubles by. And it shows that late arrivals
  // do arrive above, where they can.
  test("where CLIENT KILL is forbidden, doubles are dropped and the doubt is counted", async (t) => {
    await context.admin.command(
      ...["ACL", "SETUSER", "careful", "on", ">pw", "~*", "&*", "+@all", "-client", "+client|info"],
    );
    const from = seed();
    t.diagnostic(`SEED=${from}`);
    const chance = random(from);
    const { inspect, cuts } = writerCutter(chance, ["late"]);
    const proxy = await startProxy(context.redis.port, inspect);
    defer(t, () => proxy.close());
    const { emitter, traffic, stats } = await start(t, proxy.url.replace("//", "//careful:pw@"));
    await emitUntil(traffic, chance, cuts, ["late"], 3);
    await emitter.flush();
    await traffic.assertComplete({ timeout: 15_000 });
    await waitFor(() => stats().doubled > 0, { what: "doubles to arrive and be dropped" });
    await settle(LATE);
    await traffic.assertComplete();
    assert.ok(emitter.stats().doubtful > 0);
    assert.ok((await packetsInStream(context.admin)).length > traffic.total);
  });

  // Breaks when the first batch, before which nothing was acknowledged, is looked for at the wrong
  // place: the stream holds more than one page of others' entries.
  test("the very first batch is published exactly once", async (t) => {
    let cut = 0;
    const proxy = await startProxy(context.redis.port, ({ notes }, direction, chunk) => {
      notes.hasWritten ||= direction === "up" && chunk.includes("\r\nXADD\r\n");
      if (direction === "down" && notes.hasWritten && cut < 3) {
        cut++;
        return { pass: 0 };
      }
    });
    defer(t, () => proxy.close());
    const { cluster, traffic } = await start(t, proxy.url);
    for (let i = 0; i < 2_500; i++) {
      cluster.io(0).emit("other");
    }
    await traffic.clients[0].receives("other", 2_500);
    for (let i = 0; i < 50; i++) {
      traffic.emit();
    }
    await assertOnce(traffic);
    assert.ok(cut > 0);
  });
});

describe("CLIENT KILL: nothing is lost or doubled", () => {
  test(`of an emitter, ${CUTS} times while it emits`, async (t) => {
    const { emitter, traffic } = await start(t);
    traffic.start(RATE);
    defer(t, () => traffic.stop());
    await traffic.flows();
    for (let cut = 0; cut < CUTS; cut++) {
      const { reconnects } = emitter.stats();
      await killEmitter();
      await waitFor(() => emitter.stats().reconnects > reconnects, { what: "a new connection" });
      await traffic.flows();
    }
    traffic.stop();
    await emitter.flush();
    await assertOnce(traffic);
    const { failed, doubtful } = emitter.stats();
    assert.deepEqual({ failed, doubtful }, { failed: 0, doubtful: 0 });
  });

  // Nothing asks something of an idle emitter's connection: that it has gone is seen with the next batch.
  test("of an idle emitter: the next packet is published once", async (t) => {
    const { emitter, traffic } = await start(t);
    for (let round = 0; round < 5; round++) {
      traffic.emit();
      await emitter.flush();
      assert.equal(await killEmitter(), 1);
    }
    traffic.emit();
    await emitter.flush();
    await assertOnce(traffic);
  });

  // Breaks when nobody listens to an idle connection: what is written into it is in doubt, and the
  // stream is read back from the emitter's last entry on, however long ago that was.
  test("of an idle emitter, noticed: nothing is in doubt, and nothing is warned of", async (t) => {
    const { emitter, traffic } = await start(t);
    for (let round = 0; round < 5; round++) {
      traffic.emit();
      await emitter.flush();
      takeWarnings();
      await context.admin.command("CONFIG", "RESETSTAT");
      assert.equal(await killEmitter(), 1);
      await isNoticed([context.redis.port]);
      traffic.emit();
      await emitter.flush();
      assert.deepEqual(takeWarnings(), []);
      const stats = await context.admin.command("INFO", "commandstats");
      assert.doesNotMatch(stats, /cmdstat_xrange/);
    }
    await assertOnce(traffic);
  });

  /** @returns {Promise<number>} how many connections of the emitter were killed */
  async function killEmitter() {
    const list = await context.admin.command("CLIENT", "LIST");
    const ids = [...list.matchAll(/^id=(\d+) .* name=emitter /gm)].map(([, id]) => id);
    for (const id of ids) {
      await context.admin.command("CLIENT", "KILL", "ID", id);
    }
    return ids.length;
  }
});

describe("Redis is away: nothing is lost or doubled", () => {
  // Breaks when what is emitted meanwhile is dropped, or when flush() does not wait for it.
  test("restarted: what was emitted meanwhile is published once it is back", async (t) => {
    const { emitter, traffic } = await start(t);
    traffic.start(RATE);
    defer(t, () => traffic.stop());
    await traffic.flows();
    for (let round = 0; round < 3; round++) {
      await context.redis.kill();
      const { total } = traffic;
      await waitFor(() => traffic.total > total + 20);
      assert.ok(emitter.stats().queueLength > 0);
      await context.redis.launch(context.redis.port);
      await traffic.flows();
    }
    traffic.stop();
    await emitter.flush();
    await waitFor(() => context.admin.command("PING").catch(() => false));
    await assertOnce(traffic);
    assert.equal(emitter.stats().failed, 0);
  });

  test("paused: what was emitted meanwhile is published once it goes on", async (t) => {
    const { emitter, traffic } = await start(t);
    traffic.emit();
    await emitter.flush();
    context.redis.pause();
    defer(t, () => context.redis.resume());
    for (let i = 0; i < 100; i++) {
      traffic.emit();
    }
    const flushed = emitter.flush();
    let isFlushed = false;
    flushed.finally(() => (isFlushed = true));
    await settle(200);
    assert.equal(isFlushed, false, "nothing is written while Redis stands still");
    context.redis.resume();
    await flushed;
    await assertOnce(traffic);
  });

  // Breaks when the writer holds messages between two parts of a batch where the close does not find
  // them: then neither the flush nor the close ever ends.
  test("it hangs over a part of a batch: the close gives up all messages of the batch", async (t) => {
    const { proxy, hangs } = await startCutThenHang(t, context.redis.port);
    const emitter = new Emitter(proxy.url, OPTIONS);
    defer(t, () => within(emitter.close(), "the close").catch(() => {}));
    for (let i = 0; i < MANY; i++) {
      emitter.emit(EVENT, 0, i, "x".repeat(400));
    }
    const flushed = emitter.flush();
    await hangs();
    // A few may have been written before the others were emitted.
    const left = MANY - emitter.stats().published;
    const failed = { code: "ERR_SIO_REDIS_CLOSED", failed: left };
    const closed = emitter.close();
    await within(assert.rejects(closed, failed), "the close", CLOSE_LIMIT);
    await within(assert.rejects(flushed, failed), "the flush");
    assert.equal(emitter.stats().failed, left);
    takeWarnings();
  });

  // The stream is deleted, and its next entries have lower IDs, as after a fall of the server's clock.
  // Breaks when a batch in doubt is looked for behind an ID that the stream has not reached again.
  test("the stream has fallen back: a batch in doubt is still found", async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    let armed = false;
    let cut = 0;
    const proxy = await startProxy(redis.port, ({ notes }, direction, chunk) => {
      notes.hasWritten = notes.hasWritten || chunk.includes("\r\nXADD\r\n");
      if (armed && notes.hasWritten && direction === "down") {
        armed = false;
        cut++;
        return { pass: 0 };
      }
    });
    defer(t, () => proxy.close());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    const emitter = new Emitter(proxy.url, OPTIONS);
    defer(t, () => emitter.close().catch(() => {}));
    const inAnHour = `${Date.now() + 3_600_000}-0`;
    await admin.command("XADD", "socket.io", inAnHour, "a", "b"); // what comes next follows it
    emitter.emit(EVENT, 0, 0);
    await emitter.flush();
    await admin.command("DEL", "socket.io");
    armed = true;
    emitter.emit(EVENT, 0, 1);
    await emitter.flush();
    assert.equal(cut, 1);
    assert.deepEqual(await packetsInStream(admin), ["0:1"]);
    takeWarnings();
  });
});
