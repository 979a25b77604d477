// A batch whose reply was lost, and whose beginning was trimmed before it was looked for: it was one
// transaction, so if Redis has the rest, it has taken all of it.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { entriesAfter } = require("../helpers/wire");
const { Emitter } = require("../..");
const { defer } = require("./defer");
const { EVENT, Traffic } = require("./traffic");
require("./warnings"); // cuts are warned of

const STREAM = "socket.io";
const PACKETS = 200;

/**
 * A server, a proxy in front of it, and how to start nodes.
 *
 * @param {import("node:test").TestContext} t
 */
async function start(t) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const state = { isArmed: false };
  const proxy = await startProxy(redis.port, (_, direction, chunk) => {
    if (state.isArmed && direction === "up" && chunk.includes("\r\nXADD\r\n")) {
      state.isArmed = false;
      proxy.stall("down"); // it arrives, and nobody is told
    }
  });
  defer(t, () => proxy.close());
  /** @param {number} port */
  const startNode = async (port) => {
    const handle = { adapterArgument: { host: redis.host, port }, close: async () => {} };
    const node = await startNodeOn(handle, {});
    defer(t, () => node.close());
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    return { node, client };
  };
  return { redis, admin, proxy, state, startNode };
}

/**
 * Has the first emitter, which is behind the proxy, write a batch whose reply is lost, and trims the
 * first half of it.
 *
 * @param {Awaited<ReturnType<typeof start>>} of
 * @param {Traffic} traffic
 * @param {import("../helpers/socket-client").SocketClient} witness at another node: reads it in time
 */
async function loseReplyAndTrim({ admin, proxy, state }, traffic, witness) {
  // Not before the packet is sent: the writer would wait for the answer to a check first.
  state.isArmed = true;
  traffic.emit(0);
  await witness.receives(EVENT, traffic.total);
  const before = await entriesAfter(admin, STREAM);
  // While the reply to the first one is on its way, these gather.
  for (let i = 0; i < PACKETS; i++) {
    traffic.emit(0);
  }
  state.isArmed = true;
  proxy.resume("down");
  const last = /** @type {{ id: string }} */ (before.at(-1)).id;
  let batch = await entriesAfter(admin, STREAM, last);
  await waitFor(
    async () => {
      batch = await entriesAfter(admin, STREAM, last);
      return batch.length > 1;
    },
    { what: "a batch to arrive" },
  );
  assert.equal(state.isArmed, false, "its reply is lost");
  await witness.receives(EVENT, before.length + batch.length);
  const middle = batch[Math.floor(batch.length / 2)].id;
  await admin.command("XTRIM", STREAM, "MINID", middle);
  proxy.cut();
  proxy.resume("down");
  return batch.length;
}

// Break when what is missing of a batch that was all or nothing is sent again, with new sequences.
test("a node's batch whose beginning was trimmed before it was settled is not doubled", async (t) => {
  const parts = await start(t);
  const behind = await parts.startNode(parts.proxy.port);
  const direct = await parts.startNode(parts.redis.port);
  const clients = [behind.client, direct.client];
  const traffic = new Traffic([behind.node.io, direct.node.io], clients);
  traffic.emit(0);
  traffic.emit(1);
  await traffic.assertComplete();
  const count = await loseReplyAndTrim(parts, traffic, direct.client);
  t.diagnostic(`a batch of ${count}`);
  traffic.emit(0);
  traffic.emit(1);
  await traffic.assertComplete();
  const { doubtful, failed, published } = /** @type {any} */ (
    behind.node.io.of("/").adapter
  ).stats();
  const expected = { doubtful: 0, failed: 0, published: traffic.counts[0] };
  assert.deepEqual({ doubtful, failed, published }, expected);
});

test("an emitter's batch whose beginning was trimmed before it was settled is not doubled", async (t) => {
  const parts = await start(t);
  const { node, client } = await parts.startNode(parts.redis.port);
  const emitter = new Emitter(parts.proxy.url);
  defer(t, () => emitter.close());
  const traffic = new Traffic([emitter, node.io], [client]);
  traffic.emit(0);
  await traffic.assertComplete();
  const count = await loseReplyAndTrim(parts, traffic, client);
  t.diagnostic(`a batch of ${count}`);
  traffic.emit(0);
  await traffic.assertComplete();
  const { doubtful, failed, published } = /** @type {any} */ (emitter.stats());
  const expected = { doubtful: 0, failed: 0, published: traffic.counts[0] };
  assert.deepEqual({ doubtful, failed, published }, expected);
});
