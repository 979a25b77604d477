// A server that stays read-only: an address that leads to a replica. Clients of the same node get what
// is emitted, after a while, and the warning tells why those of other nodes do not.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ask, startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { startTwo } = require("./two-nodes");
const { takeWarnings, warnings } = require("./warnings");

/** Longer than the writer waits for a failover (`READ_ONLY_LIMIT`). */
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
