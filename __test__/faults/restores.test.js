// Clients that come back while Redis is away: their restore waits for it, and is tried again.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { startLoad } = require("../chaos/load");
const { createAdmin } = require("../helpers/clients");
const { useRedis } = require("../helpers/cluster");
const { startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
require("./warnings"); // outages are warned of

/** A history that holds next to nothing: what was missed is read from the stream. */
const PAGED = { historyBytes: 1_000 };

/**
 * A client that has dropped, and missed some packets.
 *
 * @param {import("../chaos/load").Load} load
 */
async function leaveBehind(load) {
  const client = await load.connect(load.url(0));
  await load.cut(client);
  for (let i = 0; i < 100; i++) {
    load.emit();
  }
  await load.truth();
  return client;
}

describe("a restore that is cut off", () => {
  const context = useRedis();

  // Breaks when a reply that ends in its middle counts as a wrong answer, and not as a lost
  // connection. And when the session that was taken out by then is not put back.
  test("in the middle of what was missed is tried again", async (t) => {
    let cuts = 0;
    const proxy = await startProxy(context.redis.port, ({ notes }, direction, chunk) => {
      if (direction === "up") {
        // A page, however small it has become: single entries are looked up as well.
        notes.isRead = /\r\nXRANGE\r\n[^]*\r\nCOUNT\r\n\$\d+\r\n(?!1\r\n)/.test(chunk.toString());
      } else if (notes.isRead && cuts < 3) {
        cuts++;
        return { pass: Math.floor(chunk.length / (1 + cuts)) };
      }
    });
    defer(t, () => proxy.close());
    const place = { port: { value: proxy.port }, url: { value: proxy.url } };
    const redis = Object.create(context.redis, place);
    const load = await startLoad(t, { ...context, redis }, { adapterOptions: PAGED });
    const client = await leaveBehind(load);
    assert.ok(await client.connect(load.url(1)));
    assert.ok(client.socket.recovered, "into its session");
    assert.equal(cuts, 3);
    await load.assertComplete();
  });
});

describe("a client that comes back while Redis", { concurrency: 4 }, () => {
  /** How long Redis loads, at least, ms. It answers between every 1,024 commands that it loads. */
  const LOADING = 3_000;
  const KEYS = 3_000;

  /** @param {import("node:test").TestContext} t @param {string[]} [args] */
  async function ownRedis(t, args) {
    const redis = await startRedis({ appendOnly: true, args });
    defer(t, () => redis.stop());
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    return { redis, admin };
  }

  // Breaks when "LOADING" is an answer like any other.
  test("loads its data waits for its session", async (t) => {
    // µs for each key or command that is loaded
    const delay = ["--key-load-delay", String((LOADING / KEYS) * 1_000)];
    const context = await ownRedis(t);
    const load = await startLoad(t, context);
    const client = await leaveBehind(load);
    const keys = Array.from({ length: KEYS }, (_, i) => `key ${i}`);
    await Promise.all(keys.map((key) => context.admin.command("SET", key, "")));
    await context.redis.kill();
    const begin = Date.now();
    const restarted = context.redis.restart({ args: delay });
    defer(t, () => restarted.catch(() => {}));
    assert.ok(await client.connect(load.url(1)));
    const time = Date.now() - begin;
    assert.ok(client.socket.recovered, `after ${time} ms`);
    assert.ok(time > LOADING, `after ${time} ms: it loaded all the time`);
    await restarted;
    await load.assertComplete();
  });

  // Breaks when a connection that carries nothing is waited for and then not tried again.
  test("stands still waits for its session", async (t) => {
    const context = await ownRedis(t);
    const load = await startLoad(t, context);
    const client = await leaveBehind(load);
    context.redis.pause();
    const back = client.connect(load.url(1));
    // The first attempt gets no answer, and is given up.
    setTimeout(() => context.redis.resume(), 3_000);
    assert.ok(await back);
    assert.ok(client.socket.recovered);
    await load.assertComplete();
  });

  // Breaks when a restore looks into Redis for a session that its own node has not saved yet.
  test("is away drops, comes back to its node, and waits for its session", async (t) => {
    const context = await ownRedis(t);
    const load = await startLoad(t, context);
    const client = await load.connect(load.url(0));
    await context.redis.kill();
    client.cut();
    await load.settled();
    for (let i = 0; i < 100; i++) {
      load.emit();
    }
    const back = client.connect(load.url(0));
    await settle(1_500); // the attempts to save it come ever more rarely
    await context.redis.restart();
    assert.ok(await back);
    assert.ok(client.socket.recovered);
    await load.assertComplete();
  });

  // Breaks when an outage keeps every client waiting for as long as a short one may.
  test("has long been away starts fresh, and soon", async (t) => {
    const context = await ownRedis(t);
    const load = await startLoad(t, context);
    const early = await leaveBehind(load);
    const late = await leaveBehind(load);
    await context.redis.kill();
    const times = [];
    for (const client of [early, late]) {
      const begin = Date.now();
      assert.ok(await client.connect(load.url(1)));
      times.push(Date.now() - begin);
      assert.equal(client.socket.recovered, false);
    }
    t.diagnostic(`after ${times.join(" ms, then after ")} ms`);
    assert.ok(times[1] < times[0] / 2, `after ${times.join(" ms, then after ")} ms`);
    await waitFor(() => context.redis.restart().then(() => true));
  });
});
