// A master of a Redis Cluster loses the records of connected clients. Nobody but the connections that
// sessions have to it can notice that: the stream and PUB/SUB are at other servers.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { liveKeyOf } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");
require("../faults/warnings"); // its connections break
const { startEmitting } = require("./emitting");
const { STREAM } = require("./verdict");

// Breaks when records are written again after a break of the connections for the stream or PUB/SUB only.
test("records that a master has lost are written again, though their clients are idle", async (t) => {
  const { redis, cluster, traffic } = await startEmitting(t, {
    serverOptions: { connectionStateRecovery: {} },
  });
  traffic.stop();
  const { master: ofStream } = await redis.masterOf(STREAM);
  let client = cluster.clients[0];
  const place = async () => {
    const { _pid: pid } = /** @type {any} */ (client.socket);
    return { key: liveKeyOf(pid), ...(await redis.masterOf(`sio:session:${pid}`)) };
  };
  while ((await place()).master === ofStream) {
    client = await cluster.connect(0);
  }
  const { key, master, slot } = await place();
  const isThere = async () => (await redis.keysIn(master, slot)).includes(key);
  await waitFor(isThere, { what: "the record" });
  await redis.ask(master, "FLUSHALL", /\+OK/);
  assert.equal(await isThere(), false);
  await redis.ask(master, "CLIENT KILL TYPE normal SKIPME yes", /:\d/);
  await waitFor(isThere, { timeout: 10_000, what: "the record to be written again" });
});
