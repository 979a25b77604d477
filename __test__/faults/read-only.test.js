// A server that stays read-only: an address that leads to a replica. Clients of the same node get what
// is emitted, after a while, and the warning tells why those of other nodes do not. A server that is
// read-only for a moment, after an outage of any length, is about to take over: nobody loses anything.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ask, freePort, startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { startTwo } = require("./two-nodes");
const { takeWarnings, warnings } = require("./warnings");

/** How long the writer waits for a failover, ms. */
const READ_ONLY_LIMIT = 10_000;
/** Longer than that. */
const TIMEOUT = 30_000;

// Breaks when publishes wait for ever, or when the writer does not try again.
test("clients of the same node get packets from a node whose Redis stays a replica", async (t) => {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const two = await startTwo(t, { host: "127.0.0.1", port: redis.port });
  await two.assertWorks();
  await ask(redis.port, ["REPLICAOF 127.0.0.1 1"], /\+OK/);
  const [near, far] = two.clients;
  for (const event of ["first", "second"]) {
    two.ios[0].emit(event);
    await waitFor(() => near.received(event).length === 1, { timeout: TIMEOUT, what: event });
  }
  assert.deepEqual(far.received("first"), []);
  assert.ok(
    warnings.some(({ message }) => /read-only/.test(message)),
    JSON.stringify(warnings),
  );
  assert.ok(two.counter("failed")[0] >= 2);
  await ask(redis.port, ["REPLICAOF NO ONE"], /\+OK/);
  await waitFor(
    () => {
      two.ios[0].emit("again");
      return far.received("again").length > 0;
    },
    { interval: 200, timeout: TIMEOUT, what: "a packet to reach the other node again" },
  );
  takeWarnings();
});

// Breaks when the time of an outage counts as time in which the server was read-only.
test("a server that is read-only before and after an outage loses no packet", async (t) => {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  let refused = 0;
  const proxy = await startProxy(redis.port, ({ notes }, direction, chunk) => {
    notes.writes ||= direction === "up" && chunk.includes("\r\nXADD\r\n");
    if (notes.writes && direction === "down" && chunk.includes("-READONLY")) {
      refused++;
    }
  });
  defer(t, () => proxy.close());
  const two = await startTwo(t, { host: "127.0.0.1", port: proxy.port });
  await two.areWhole();
  await two.assertPackets();
  await ask(redis.port, ["REPLICAOF 127.0.0.1 1"], /\+OK/);
  two.ios[0].emit("waits");
  await waitFor(() => refused > 0, { what: "the refusal" });
  proxy.moveTo(await freePort());
  const gone = Date.now();
  await waitFor(() => Date.now() - gone > READ_ONLY_LIMIT, { timeout: TIMEOUT });
  refused = 0;
  proxy.moveTo(redis.port);
  await waitFor(() => refused > 0, { timeout: TIMEOUT, what: "the refusal behind the outage" });
  await ask(redis.port, ["REPLICAOF NO ONE"], /\+OK/);
  await Promise.all(two.clients.map((client) => client.receives("waits")));
  assert.deepEqual(two.counter("failed"), [0, 0]);
  takeWarnings();
});
