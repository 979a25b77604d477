// Batches that Redis does not take as one: MULTI is refused, and the XADDs behind it are executed,
// or refused, each for itself. A proxy brings that about in front of a real Redis: it changes the
// names of commands, so that Redis refuses them, and the words of its refusals.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { startNode } = require("../helpers/node");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle } = require("../helpers/wait");
const { decodeData, entriesAfter } = require("../helpers/wire");
const { defer } = require("./defer");
const { random, seed } = require("./random");
const { EVENT } = require("./traffic");
const { takeWarnings } = require("./warnings");

const context = useRedis();

/** What Redis says when it does not know a command; the name is one of ours. */
const UNKNOWN = /-ERR unknown command [^\r]*\r\n/g;
/** Emitted in one go: they travel as one batch. */
const BATCH = 20;

/** Has Redis refuse MULTI. @param {string} text */
const withoutMulti = (text) => text.replace("\r\nMULTI\r\n", "\r\nMULTX\r\n");
const hasMulti = (/** @type {string} */ text) => text.includes("\r\nMULTI\r\n");
/** A writer asks with an empty transaction whether Redis accepts MULTI. @param {string} text */
const isBatch = (text) => hasMulti(text) && text.includes("\r\nXADD\r\n");

/**
 * Refuses MULTI, and some of the XADDs of each batch, in the given words.
 *
 * @param {(place: number) => boolean} isRefused which ones, by their place in the batch
 * @param {string} words
 * @param {number} batches how many; those behind pass
 */
function refuser(isRefused, words, batches) {
  const state = { batches: 0 };
  /** @type {import("../helpers/tcp-proxy").Inspect} */
  const inspect = ({ notes }, direction, chunk) => {
    const text = chunk.toString("latin1");
    if (direction === "up" && hasMulti(text) && state.batches < batches) {
      state.batches += isBatch(text) ? 1 : 0;
      notes.isRefused = true;
      let place = 0;
      const changed = withoutMulti(text).replaceAll("\r\nXADD\r\n", (name) =>
        isRefused(place++) ? "\r\nXADX\r\n" : name,
      );
      return { instead: Buffer.from(changed, "latin1") };
    }
    if (direction === "down" && notes.isRefused) {
      notes.isRefused = false;
      return { instead: Buffer.from(text.replace(UNKNOWN, `-${words}\r\n`), "latin1") };
    }
  };
  return { inspect, state };
}

/**
 * A node behind a proxy and one in front of Redis, with a client each.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("../helpers/tcp-proxy").Inspect} inspect
 */
async function startPair(t, inspect) {
  await context.admin.command("FLUSHALL");
  takeWarnings();
  const proxy = await startProxy(context.redis.port, inspect);
  defer(t, () => proxy.close());
  const urls = [proxy.url, context.redis.url];
  const nodes = [];
  for (const [index, url] of urls.entries()) {
    const redis = Object.create(context.redis, { url: { value: url } });
    const node = await startNode({ redis, index, client: "url" });
    defer(t, () => node.close());
    nodes.push(node);
  }
  const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
  defer(t, () => clients.forEach((client) => client.disconnect()));
  const ios = nodes.map(({ io }) => io);
  // The writer is connected, and the readers have met it.
  ios[0].emit("first");
  await Promise.all(clients.map((client) => client.receives("first")));
  return { io: ios[0], ios, clients };
}

/** @param {import("socket.io").Server} io @returns {any} */
const statsOf = (io) => /** @type {any} */ (io.of("/").adapter).stats();

/** How many losses each node has reported. @param {import("socket.io").Server[]} ios @returns {number[]} */
const lossesOf = (ios) => ios.map((io) => statsOf(io).losses);

/** The numbers of the packets in the stream. @returns {Promise<number[]>} */
async function numbersInStream() {
  const entries = await entriesAfter(context.admin, "socket.io");
  return entries
    .map(({ fields }) => decodeData(fields.data).packet.data)
    .filter(([event]) => event === EVENT)
    .map(([, number]) => number);
}

/** @param {number[]} numbers */
const sorted = (numbers) => [...numbers].sort((a, b) => a - b);

describe("MULTI is refused, and of the XADDs behind it", () => {
  const start = seed();
  const chance = random(start);
  /** @type {Record<string, (place: number) => boolean>} */
  const CASES = {
    "the first is refused": (place) => place === 0,
    "the last is refused": (place) => place === BATCH - 1,
    "the first half is refused": (place) => place < BATCH / 2,
    "the second half is refused": (place) => place >= BATCH / 2,
    [`some are refused (SEED=${start})`]: () => chance() < 0.5,
    "none is refused": () => false,
    "all are refused": () => true,
  };

  // Break when a batch of which a part is in the stream is sent again whole (doubled there), and when
  // what is sent again keeps a sequence below one that readers have met (lost: they drop it), or its
  // first sequence, which nobody meets any more, counts as a loss.
  for (const [what, isRefused] of Object.entries(CASES)) {
    test(`${what}, for a moment (LOADING): all arrive, once`, async (t) => {
      const { inspect, state } = refuser(isRefused, "LOADING Redis is loading", 3);
      const { io, ios, clients } = await startPair(t, inspect);
      let total = 0;
      for (let batch = 0; batch < 5; batch++) {
        for (let i = 0; i < BATCH; i++) {
          io.emit(EVENT, total++);
        }
        await Promise.all(clients.map((client) => client.receives(EVENT, total)));
      }
      assert.ok(state.batches >= 3);
      await settle();
      const all = Array.from({ length: total }, (_, number) => number);
      assert.deepEqual(sorted(await numbersInStream()), all, "in the stream");
      for (const client of clients) {
        const numbers = client.received(EVENT).map(([number]) => number);
        assert.deepEqual(sorted(numbers), all, "at a client");
      }
      for (const each of ios) {
        const { doubled, doubtful, failed, losses, queueLength } = statsOf(each);
        assert.deepEqual(
          { doubled, doubtful, failed, losses, queueLength },
          { doubled: 0, doubtful: 0, failed: 0, losses: 0, queueLength: 0 },
        );
      }
    });
  }

  // Breaks when a part that was refused makes the whole batch count as refused: its sequences are
  // used again, and readers drop what comes next as doubles; and when it counts as a loss.
  test("some are refused for good (OOM): the others arrive, and so does all that follows", async (t) => {
    const isRefused = (/** @type {number} */ place) => place % 3 === 1;
    const { inspect } = refuser(isRefused, "OOM command not allowed", 1);
    const { io, ios, clients } = await startPair(t, inspect);
    const [local, remote] = clients;
    for (let number = 0; number < BATCH; number++) {
      io.emit(EVENT, number);
    }
    await local.receives(EVENT, BATCH);
    const { failed } = statsOf(io);
    assert.ok(failed > 0 && failed < BATCH, `${failed} failed`);
    for (let number = BATCH; number < 2 * BATCH; number++) {
      io.emit(EVENT, number);
    }
    await local.receives(EVENT, 2 * BATCH);
    await remote.receives(EVENT, 2 * BATCH - failed);
    await settle();
    const all = Array.from({ length: 2 * BATCH }, (_, number) => number);
    const numbers = clients.map((client) => client.received(EVENT).map(([number]) => number));
    assert.deepEqual(sorted(numbers[0]), all, "local clients get all");
    assert.deepEqual(numbers[1], await numbersInStream(), "the others what is in the stream");
    assert.equal(new Set(numbers[1]).size, 2 * BATCH - failed);
    assert.ok(takeWarnings().some(({ code }) => code === "ERR_SIO_REDIS_OOM"));
    assert.deepEqual(lossesOf(ios), [0, 0]);
  });

  // Breaks when the batch's last entry, which the reader has met, counts as proof of those before it.
  test("some are refused, and the connection is cut before that is heard: all arrive, once", async (t) => {
    let cuts = 0;
    const { io, ios, clients } = await startPair(t, ({ notes }, direction, chunk) => {
      const text = chunk.toString("latin1");
      if (direction === "up" && hasMulti(text) && cuts < 10) {
        notes.isCut = isBatch(text);
        cuts += notes.isCut ? 1 : 0;
        let place = 0;
        const isLast = (/** @type {number} */ at) => text.indexOf("\r\nXADD\r\n", at + 1) < 0;
        const changed = withoutMulti(text).replaceAll("\r\nXADD\r\n", (name, at) =>
          place++ % 3 === 1 && !isLast(at) ? "\r\nXADX\r\n" : name,
        );
        return { instead: Buffer.from(changed, "latin1") };
      }
      if (direction === "down" && notes.isCut) {
        return { pass: 0 };
      }
    });
    let total = 0;
    while (cuts < 10) {
      for (let i = 0; i < BATCH; i++) {
        io.emit(EVENT, total++);
      }
      await Promise.all(clients.map((client) => client.receives(EVENT, total)));
    }
    const all = Array.from({ length: total }, (_, number) => number);
    assert.deepEqual(sorted(await numbersInStream()), all, "in the stream");
    for (const client of clients) {
      assert.deepEqual(sorted(client.received(EVENT).map(([number]) => number)), all);
    }
    assert.deepEqual(lossesOf(ios), [0, 0]);
  });

  // Breaks when what was written before a cut is written again: without MULTI a part may be there.
  test("the connection is cut in the middle of a batch: nothing is in the stream twice", async (t) => {
    await context.admin.command("ACL", "SETUSER", "default", "-multi");
    t.after(() => context.admin.command("ACL", "SETUSER", "default", "+multi"));
    let cuts = 0;
    const { io, clients } = await startPair(t, (_, direction, chunk) => {
      const entries = chunk.toString("latin1").split("\r\nXADD\r\n").length - 1;
      if (direction === "up" && entries > 1 && cuts < 10) {
        cuts++;
        return { pass: Math.floor(chance() * chunk.length) };
      }
    });
    let total = 0;
    while (cuts < 10) {
      for (let i = 0; i < BATCH; i++) {
        io.emit(EVENT, total++);
      }
      await Promise.all(clients.map((client) => client.receives(EVENT, total)));
    }
    const all = Array.from({ length: total }, (_, number) => number);
    assert.deepEqual(await numbersInStream(), all);
    for (const client of clients) {
      assert.deepEqual(
        client.received(EVENT).map(([number]) => number),
        all,
      );
    }
    assert.equal(statsOf(io).doubtful, 0);
  });
});
