// A master that was cut off from its replicas, not from us, while one of them has taken over. With
// `min-replicas-to-write`, as Redis's documents advise, it refuses to write (NOREPLICAS).

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { ask, startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { startTwo } = require("./two-nodes");
const { takeWarnings, warnings } = require("./warnings");

/** @param {import("node:test").TestContext} t */
async function startPair(t) {
  const master = await startRedis({ args: ["--min-replicas-to-write", "1"] });
  defer(t, () => master.stop());
  const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(master.port)] });
  defer(t, () => replica.stop());
  const isWhole = async () => {
    const [, good] = await ask(master.port, ["INFO replication"], /min_slaves_good_slaves:(\d+)/);
    return good === "1";
  };
  await waitFor(isWhole, { what: "the replica to follow" });
  return { master, replica, isWhole };
}

/** How many entries the stream has at a server. @param {number} port */
const entries = async (port) => Number((await ask(port, ["XLEN socket.io"], /:(\d+)\r\n/))[1]);

const refusal = () => warnings.find(({ message }) => /NOREPLICAS/.test(message));

// Breaks when the writer keeps the connection to a master that says so.
test("the writers leave it for the master to which the address leads now", async (t) => {
  const { master, replica, isWhole } = await startPair(t);
  const proxy = await startProxy(master.port);
  defer(t, () => proxy.close());
  const two = await startTwo(t, { host: "127.0.0.1", port: proxy.port });
  await two.assertWorks();
  // A replica counts as good before it gets what was written since its snapshot.
  const hasAll = async () => (await entries(replica.port)) === (await entries(master.port));
  await waitFor(hasAll, { what: "the replica to have all entries" });
  await ask(replica.port, ["REPLICAOF NO ONE"], /\+OK/);
  proxy.target = replica.port;
  // Until it has noticed, it takes writes.
  await waitFor(async () => !(await isWhole()), { what: "the old master to lose its replica" });
  two.traffic.start(50);
  defer(t, () => two.traffic.stop());
  await two.traffic.flows();
  two.traffic.stop();
  await two.traffic.assertComplete();
  const runId = async (/** @type {number} */ port) =>
    (await ask(port, ["INFO server"], /run_id:(\w+)/))[1];
  assert.notEqual(await runId(master.port), await runId(replica.port));
  const length = await entries(replica.port);
  assert.ok(length >= two.traffic.total, `${length} entries at the new master`);
  await two.assertWorks();
  takeWarnings();
});

// Breaks when it is taken for a refusal, or when readers connect again and again with the writers.
test("without another master packets wait until a replica is back", async (t) => {
  const { master, replica, isWhole } = await startPair(t);
  const two = await startTwo(t, { host: "127.0.0.1", port: master.port });
  await two.assertWorks();
  await ask(replica.port, ["REPLICAOF NO ONE"], /\+OK/);
  await waitFor(async () => !(await isWhole()), { what: "the replica to have gone" });
  two.traffic.start(50);
  defer(t, () => two.traffic.stop());
  await waitFor(refusal, { what: "the refusal to be reported" });
  await ask(replica.port, [`REPLICAOF 127.0.0.1 ${master.port}`], /\+OK/);
  await two.traffic.flows();
  two.traffic.stop();
  await two.traffic.assertComplete();
  assert.deepEqual(two.counter("failed"), [0, 0], "failed");
  takeWarnings();
});
