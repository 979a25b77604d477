// What is emitted after `io.close()` reaches the other nodes, as it does with adapters that write over a
// client of the user's: "a user has left" of a handler that first asks a database, for example.
//
// Breaks when an adapter that is closed, or is closing, does what it emits on its own node only.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { connectClient } = require("../helpers/socket-client");
const { LateMessages } = require("../../lib/late-messages");
const { waitFor, within } = require("../helpers/wait");
const { defer } = require("./defer");
const { startNodes } = require("./nodes");
const { takeWarnings } = require("./warnings");

/**
 * A node that a test closes, and another one with a client.
 *
 * @param {import("node:test").TestContext} t
 * @param {Record<string, unknown>} [adapterOptions]
 */
async function start(t, adapterOptions) {
  const { redis, nodes } = await startNodes(t, 2, { adapterOptions });
  const [{ io, url }, other] = nodes;
  const client = await connectClient(other.url);
  defer(t, () => client.disconnect());
  const heard = new Promise((resolve) => other.io.on("server event", resolve));
  return { redis, io, url, client, heard };
}

for (const requestsVia of ["pubsub", "stream"]) {
  test(`a handler of a closing server emits later (${requestsVia})`, async (t) => {
    const { redis, io, url, client, heard } = await start(t, { requestsVia });
    const own = await connectClient(url);
    defer(t, () => own.disconnect());
    const closed = new Promise((resolve) => {
      io.of("/").sockets.forEach((socket) =>
        socket.on("disconnect", async () => {
          io.emit("left", 1);
          await null;
          io.emit("left", 2);
          // Something that takes until the adapter has closed.
          await closing;
          io.emit("left", 3);
          await new Promise((soon) => setImmediate(soon));
          io.emit("left", 4, Buffer.from("binary"));
          io.serverSideEmit("server event", "of a closed server");
          resolve(undefined);
        }),
      );
    });
    const before = await redis.connectionCount();
    const closing = io.close();
    await within(Promise.all([closing, closed]), "the close");
    await client.receives("left", 4);
    assert.deepEqual(
      client.record.map(([, number]) => number),
      [1, 2, 3, 4],
    );
    assert.equal(await within(heard, "the event"), "of a closed server");
    await waitFor(async () => (await redis.connectionCount()) < before, {
      what: "the node's connections to be closed",
    });
    assert.deepEqual(takeWarnings(), []);
  });
}

test("what is emitted while a closing server waits for Redis comes behind what was emitted before", async (t) => {
  const { redis, io, client } = await start(t);
  await redis.pause();
  io.emit("number", 0);
  const closing = io.close();
  await new Promise((soon) => setImmediate(soon));
  for (let i = 1; i <= 100; i++) {
    io.emit("number", i);
  }
  await redis.resume();
  await within(closing, "the close");
  await waitFor(() => client.record.length === 101, { what: "all numbers" });
  assert.deepEqual(
    client.record.map(([, number]) => number),
    Array.from({ length: 101 }, (_, i) => i),
  );
  takeWarnings(); // of the outage, if it took long enough
});

test("what Redis does not take after the close is warned of, and bounded", async (t) => {
  const { redis, io } = await start(t, { publishQueueBytes: 1_000_000 });
  await io.close();
  await redis.kill();
  for (let i = 0; i < 100; i++) {
    io.emit("lost", "x".repeat(20_000));
  }
  await waitFor(() => warnings().length > 0, { timeout: 30_000, what: "the warning" });
  const [warning] = warnings();
  assert.match(warning.message, /^100 messages that were emitted after the adapter was closed/);
});

// A certificate may have become unreadable since the adapter was made.
test("what no engine can be started for ends with the reason", async () => {
  taken = [];
  const refusal = new Error("no engine");
  const late = new LateMessages(() => {
    throw refusal;
  }, 1_000_000);
  const ended = new Promise((resolve) => {
    late.publish(undefined, "/", 3, { json: "{}" }, { end: resolve });
  });
  assert.equal(await within(ended, "the end"), refusal);
  await waitFor(() => warnings().length > 0, { what: "the warning" });
  assert.match(warnings()[0].message, /^1 message that was emitted/);
});

/** @type {any[]} */
let taken = [];

/** Those with the code of a closed adapter, so far. */
function warnings() {
  taken = [...taken, ...takeWarnings()];
  return taken.filter(({ code }) => code === "ERR_SIO_REDIS_CLOSED");
}
