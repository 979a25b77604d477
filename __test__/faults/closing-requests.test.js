// Requests that are open when their adapter closes, and those of `disconnect` handlers. Nobody catches
// the error of such a request: a rejection would end the process.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { connectClient } = require("../helpers/socket-client");
const { ANSWER_TIMEOUT, waitFor, within } = require("../helpers/wait");
const { defer } = require("./defer");
const { startNodes } = require("./nodes");
const { takeWarnings } = require("./warnings");

const SPACES = /^\/space-\d$/;
const SPACE = "/space-1";

/**
 * @param {import("node:test").TestContext} t
 * @param {number} count of nodes, which know each other
 * @param {Record<string, unknown>} [adapterOptions]
 * @param {(redis: import("../helpers/redis-server").RedisServer) => Promise<unknown>} [then] what happens
 * to Redis when they do
 */
async function startCluster(t, count, adapterOptions, then) {
  const { redis, nodes } = await startNodes(t, count, {
    adapterOptions,
    serverOptions: { cleanupEmptyChildNamespaces: true },
    setup: (io) => io.of(SPACES).on("connection", (socket) => socket.join("room")),
  });
  const knows = async () => (await adapterOf(nodes[0].io.of("/")).serverCount()) === count;
  await waitFor(knows, { what: "the nodes to know each other" });
  await then?.(redis);
  return nodes;
}

/** @param {any} nsp */
const adapterOf = (nsp) => nsp.adapter;

/**
 * What a handler of the last socket of a node learns about the other node.
 *
 * @param {any} nsp
 */
async function askAround(nsp) {
  return {
    sockets: (await nsp.in("room").fetchSockets()).length,
    servers: await nsp.adapter.serverCount(),
    acknowledged: await nsp.timeout(ANSWER_TIMEOUT).emitWithAck("question"),
    answered: await nsp.serverSideEmitWithAck("question"),
    counted: await nsp.adapter.countSockets(),
  };
}

/**
 * Waits until the node has left the namespace, as the other node sees it.
 *
 * @param {any} others the other node's adapter
 */
const hasLeft = (others) =>
  waitFor(async () => (await others.serverCount()) === 1, {
    what: "the node to leave the namespace",
  });

/** @type {Record<string, (others: any) => Promise<unknown>>} */
const BEFORE = { "at once": async () => {}, "when it has left": hasLeft };

/**
 * The last socket of a namespace at one node, and a client at another node.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} requestsVia
 */
async function startLast(t, requestsVia) {
  const [node, other] = await startCluster(t, 2, { requestsVia });
  const stays = await connectClient(other.url, { nsp: SPACE });
  defer(t, () => stays.disconnect());
  stays.socket.on("question", (answer) => answer("a client"));
  other.io.of(SPACE).on("question", (answer) => answer("a server"));
  const goes = await connectClient(node.url, { nsp: SPACE });
  const nsp = node.io.of(SPACE);
  await waitFor(async () => (await adapterOf(nsp).serverCount()) === 2);
  const [socket] = nsp.sockets.values();
  const others = adapterOf(other.io.of(SPACE));
  return { node, stays, goes, others, socket: /** @type {any} */ (socket) };
}

for (const requestsVia of ["pubsub", "stream"]) {
  for (const event of ["disconnecting", "disconnect"]) {
    for (const [when, before] of Object.entries(BEFORE)) {
      const skip =
        requestsVia === "stream" &&
        before === hasLeft &&
        "a node that comes again knows the others once they have answered its heartbeat";
      const title = `"${event}" of the last socket of a namespace`;
      test(`${title} asks the other nodes ${when} (${requestsVia})`, { skip }, async (t) => {
        const { node, goes, others, socket } = await startLast(t, requestsVia);
        const found = new Promise((resolve, reject) => {
          socket.on(event, async () => {
            await before(others);
            askAround(socket.nsp).then(resolve, reject);
          });
        });
        goes.disconnect();
        assert.deepEqual(await within(found, "the answers"), {
          sockets: 1,
          servers: 2,
          acknowledged: ["a client"],
          answered: ["a server"],
          counted: 1,
        });
        assert.ok(!node.io._nsps.has(SPACE), "the namespace is gone");
        await hasLeft(others);
      });

      test(`${title} emits ${when} (${requestsVia})`, async (t) => {
        const { stays, goes, others, socket } = await startLast(t, requestsVia);
        socket.on(event, async () => {
          await before(others);
          socket.nsp.emit("left");
        });
        goes.disconnect();
        await stays.receives("left");
      });
    }
  }
}

describe("io.close()", () => {
  for (const count of [1, 2]) {
    test(`of one of ${count} waits for what a "disconnect" handler asks`, async (t) => {
      const nodes = await startCluster(t, count);
      const [{ io, url }] = nodes;
      const client = await connectClient(url);
      defer(t, () => client.disconnect());
      /** @type {unknown[]} */
      const found = [];
      io.of("/").sockets.forEach((socket) =>
        socket.on("disconnect", async () => found.push((await io.fetchSockets()).length)),
      );
      const stays = await Promise.all(nodes.slice(1).map((node) => connectClient(node.url)));
      defer(t, () => stays.forEach((each) => each.disconnect()));
      await io.close();
      assert.deepEqual(found, [stays.length]);
      assert.deepEqual(takeWarnings(), []);
    });
  }

  test("gives up after some seconds what nobody answers", async (t) => {
    const [{ io }] = await startCluster(t, 2, {}, async (redis) => redis.pause());
    // The test fails by its own limit if this time-out counts.
    const found = io.timeout(120_000).fetchSockets();
    const rejected = assert.rejects(found, /the adapter was closed: only 0 responses/);
    await within(io.close(), "the close", 30_000);
    await rejected;
    takeWarnings();
  });
});
