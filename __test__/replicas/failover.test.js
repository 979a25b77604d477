// `readFrom: "replica"` while masters fail over: behind one address, with sentinels, in a cluster.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { assertRequestsWork, startEmitting } = require("../cluster/emitting");
const { STREAM, judge } = require("../cluster/verdict");
const { defer } = require("../faults/defer");
require("../faults/warnings"); // outages are warned of
const { createAdmin } = require("../helpers/clients");
const { ask } = require("../helpers/redis-server");
const { startRedisSentinel } = require("../helpers/redis-sentinel");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { RATE, calls, readFrom, readers, startReading, startReadingAt } = require("./reading");

const FAILOVER_LIMIT = 30_000;

/** @param {import("node:test").TestContext} t @param {any} server @param {any} of */
async function assertNothingMissing(t, server, { cluster, traffic, losses }) {
  traffic.stop();
  const admin = await createAdmin(server);
  defer(t, () => admin.close());
  const { lost, said } = await judge({ cluster, traffic, admin, losses });
  t.diagnostic(`${traffic.total} packets, ${lost} lost by replication, ${said} losses said`);
}

/** The address leads to the master, and can be moved. @param {import("node:test").TestContext} t */
async function startBehindAddress(t) {
  /** @type {import("../helpers/tcp-proxy").TcpProxy} */
  let address = /** @type {any} */ (undefined);
  const reading = await startReading(t, {
    settings: async (master) => {
      address = await startProxy(master.port);
      defer(t, () => address.close());
      return address.url;
    },
  });
  return { address, reading };
}

describe("behind one address", () => {
  for (const promoted of ["that replica", "another replica"]) {
    // Breaks when the reader stays on a replica of a master that was replaced, and when what the new
    // master lacks is not reported.
    test(`the master is killed, and ${promoted} takes over`, async (t) => {
      const { address, reading } = await startBehindAddress(t);
      const { redis, two, traffic } = reading;
      await readFrom(two, "replica");
      traffic.start(RATE);
      await traffic.flows();
      const read = redis.at(readers(two)[0]);
      const index = redis.replicas.findIndex(
        (one) => (one === read) === (promoted === "that replica"),
      );
      const next = redis.replicas[index];
      await redis.master.kill();
      await ask(next.port, ["REPLICAOF NO ONE"], /\+OK/);
      redis.links.forEach((link, of) => of !== index && link.moveTo(next.port));
      address.moveTo(next.port);
      await traffic.flows();
      await readFrom(two, "replica", { address: `${next.host}:${next.port}` });
      await traffic.flows();
      await assertNothingMissing(t, next, reading);
    });
  }

  // Breaks when the reader takes entries that the new master lacks for entries of the stream, or asks
  // for what is behind them only.
  test("a replica takes over that lacks what was read from another one", async (t) => {
    const { address, reading } = await startBehindAddress(t);
    const { redis, two, traffic, losses } = reading;
    // All read from the first one.
    await redis.replicas[1].kill();
    await readFrom(two, "replica", { address: `127.0.0.1:${redis.replicas[1].port}` });
    await redis.replicas[1].restart();
    await redis.areUp();
    traffic.emit(0);
    await traffic.assertComplete();
    redis.links[1].stall("down");
    for (let i = 0; i < 20; i++) {
      traffic.emit(1);
    }
    await traffic.assertComplete();
    assert.deepEqual(two.counter("readFrom"), ["replica", "replica"]);
    const [, next] = redis.replicas;
    await redis.master.kill();
    redis.links[1].close();
    await ask(next.port, ["REPLICAOF NO ONE"], /\+OK/);
    address.moveTo(next.port);
    await waitFor(() => losses.every((of) => of.length > 0), {
      timeout: 20_000,
      what: "each node to report the loss",
    });
    traffic.start(RATE);
    await traffic.flows();
    traffic.stop();
    await traffic.assertComplete();
    assert.deepEqual(
      two.counter("readFrom"),
      ["master", "master"],
      "the new master has no replica",
    );
  });
});

describe("with sentinels", () => {
  // Breaks when replicas are looked for at the sentinels' own addresses, and when the server that was
  // the replica is still read as one.
  test("the replica is read, and takes over from the master", async (t) => {
    const sentinel = await startRedisSentinel();
    defer(t, () => sentinel.stop());
    const reading = await startReadingAt(t, {
      sentinel: { name: sentinel.name, nodes: sentinel.nodes },
    });
    const { two, traffic } = reading;
    await readFrom(two, "replica");
    const master = await sentinel.master();
    assert.ok(!readers(two).includes(`${master.host}:${master.port}`));
    traffic.start(RATE);
    await traffic.flows();
    await master.kill();
    await waitFor(async () => (await sentinel.master()) !== master, {
      timeout: FAILOVER_LIMIT,
      interval: 20,
      what: "the replica to take over",
    });
    await traffic.flows();
    await readFrom(two, "master");
    await master.restart();
    await readFrom(two, "replica");
    assert.ok(readers(two).includes(`${master.host}:${master.port}`), "the old master is read");
    await traffic.flows();
    await assertNothingMissing(t, await sentinel.master(), reading);
  });
});

describe("in a Redis Cluster", () => {
  // Breaks without READONLY, and when a replica of another master is read.
  test("the replica of the stream's master is read, and takes over", async (t) => {
    const { redis, admin, cluster, traffic, losses } = await startEmitting(t, {
      adapterOptions: { readFrom: "replica" },
    });
    const stats = () => cluster.nodes.map(({ index }) => cluster.adapter(index).stats());
    const allReadFrom = (/** @type {string} */ kind, /** @type {any} */ server) =>
      waitFor(
        () =>
          stats().every(
            (of) => of.readFrom === kind && of.readFromAddress === `${server.host}:${server.port}`,
          ),
        {
          timeout: FAILOVER_LIMIT,
          what: () => JSON.stringify(stats().map((of) => [of.readFrom, of.readFromAddress])),
        },
      );
    const { master } = await redis.masterOf(STREAM);
    const replica = redis.nodes[redis.nodes.indexOf(master) + 3];
    await allReadFrom("replica", replica);
    const reads = await calls(master, "xread");
    await traffic.flows();
    assert.equal(await calls(master, "xread"), reads, "XREAD on the master");
    await master.kill();
    await allReadFrom("master", replica);
    await traffic.flows();
    await assertRequestsWork(cluster);
    await master.restart();
    await redis.isWhole();
    await allReadFrom("replica", master);
    await traffic.flows();
    await assertRequestsWork(cluster);
    traffic.stop();
    const { lost, said } = await judge({ cluster, traffic, admin, losses });
    t.diagnostic(`${traffic.total} packets, ${lost} lost by replication, ${said} losses said`);
  });

  // Breaks when the reader waits at the replica of a master that does not have the key any more.
  test("the stream's slot moves to another master", async (t) => {
    const { redis, admin, cluster, traffic, losses } = await startEmitting(t, {
      adapterOptions: { readFrom: "replica" },
    });
    const stats = () => cluster.nodes.map(({ index }) => cluster.adapter(index).stats());
    const allOnReplicas = () =>
      waitFor(() => stats().every(({ readFrom: from }) => from === "replica"), {
        timeout: FAILOVER_LIMIT,
        what: "all to read from a replica",
      });
    await allOnReplicas();
    const { master, slot } = await redis.masterOf(STREAM);
    const other = redis.nodes.slice(0, 3).find((node) => node !== master);
    await redis.moveSlot(slot, master, /** @type {any} */ (other), () => traffic.flows());
    await traffic.flows();
    await allOnReplicas();
    await traffic.flows();
    traffic.stop();
    const { lost } = await judge({ cluster, traffic, admin, losses });
    assert.equal(lost, 0);
    assert.deepEqual(losses.flat(), []);
  });
});
