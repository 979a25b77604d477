// An emitter on a Redis Cluster and behind sentinels: the stream's place changes meanwhile.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin, createRedisClient } = require("../helpers/clients");
const { startRedisCluster } = require("../helpers/redis-cluster");
const { startRedisSentinel } = require("../helpers/redis-sentinel");
const { waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { EVENT } = require("../faults/traffic");
const { packetsInStream } = require("../faults/writer-cuts");
require("../faults/warnings"); // each move is warned of

const { Emitter } = require("../..");

/** @typedef {import("../helpers/redis-server").RedisServer} RedisServer */

/** Packets in each part of a test. */
const COUNT = 500;

/** @param {Emitter} emitter @param {number} from */
function emit(emitter, from) {
  for (let i = from; i < from + COUNT; i++) {
    emitter.emit(EVENT, 0, i);
  }
}

/** @param {number} count */
const all = (count) => Array.from({ length: count }, (_, number) => `0:${number}`);

// Breaks when an emitter's writer does not follow the stream to where it is.
describe("on a Redis Cluster the emitter loses nothing", () => {
  for (const client of ["redis", "ioredis"]) {
    test(`with a cluster client of ${client}, while the stream's slot moves`, async (t) => {
      const cluster = await startRedisCluster();
      defer(t, () => cluster.stop());
      const server = /** @type {RedisServer} */ (/** @type {unknown} */ (cluster));
      const admin = await createAdmin(server);
      defer(t, () => admin.close());
      const handle = await createRedisClient(server, { client });
      defer(t, () => handle.close());
      const emitter = new Emitter(handle.adapterArgument);
      defer(t, () => emitter.close());
      emit(emitter, 0);
      await emitter.flush();
      const { master, slot } = await cluster.masterOf("socket.io");
      const other = cluster.nodes.slice(0, 3).filter((node) => node !== master)[0];
      await cluster.moveSlot(slot, master, other, async () => {
        emit(emitter, COUNT);
        await emitter.flush();
      });
      emit(emitter, 2 * COUNT);
      await emitter.flush();
      assert.deepEqual(await packetsInStream(admin), all(3 * COUNT));
      const { failed, doubtful } = emitter.stats();
      assert.deepEqual({ failed, doubtful }, { failed: 0, doubtful: 0 });
    });
  }
});

describe("behind sentinels", () => {
  test("it follows the master in a failover, and loses nothing that was flushed before", async (t) => {
    const sentinel = await startRedisSentinel();
    defer(t, () => sentinel.stop());
    const { name, nodes } = sentinel;
    const before = await sentinel.master();
    const server = Object.assign(Object.create(before), { reach: { sentinel: { name, nodes } } });
    const handle = await createRedisClient(server, { client: "ioredis" });
    defer(t, () => handle.close());
    const emitter = new Emitter(handle.adapterArgument);
    defer(t, () => emitter.close());
    emit(emitter, 0);
    await emitter.flush();
    const replica = sentinel.servers.filter((one) => one !== before)[0];
    const admin = await createAdmin(replica);
    defer(t, () => admin.close());
    await waitFor(async () => (await packetsInStream(admin)).length === COUNT, {
      what: "the replica to have all",
    });
    await sentinel.failOver();
    await waitFor(() => sentinel.isReplica(before), { timeout: 20_000, what: "the failover" });
    emit(emitter, COUNT);
    await emitter.flush();
    assert.deepEqual(await packetsInStream(admin), all(2 * COUNT));
    assert.equal(emitter.stats().failed, 0);
  });
});
