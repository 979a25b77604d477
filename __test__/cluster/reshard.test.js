// The stream's slot moves to another master while three nodes emit.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { settle, waitFor } = require("../helpers/wait");
require("../faults/warnings"); // a redirection is none, other things may be
const { assertRequestsWork, startEmitting } = require("./emitting");
const { STREAM, judge } = require("./verdict");

const MOVES = 6;

// Breaks when MOVED or ASK is not followed, when a batch that EXEC has refused is taken for written
// or in doubt, when ASKING does not go before MULTI, before each XADD where there is no MULTI, and
// before each XREAD, and when the reader starts anew at another place than where it stopped.
for (const [what, rules] of /** @type {const} */ ([
  ["", "+multi"],
  [", and MULTI is refused", "-multi"],
])) {
  test(`the stream's slot moves ${MOVES} times while three nodes emit${what}`, async (t) => {
    const { redis, admin, cluster, traffic, losses } = await startEmitting(t);
    for (const node of redis.nodes) {
      await redis.ask(node, `ACL SETUSER default ${rules}`, /\+OK/);
    }
    const masters = redis.nodes.slice(0, 3);
    for (let move = 0; move < MOVES; move++) {
      const { master, slot } = await redis.masterOf(STREAM);
      const to = masters[(masters.indexOf(master) + 1) % masters.length];
      await redis.moveSlot(slot, master, to, async () => {
        // Several of each node at once: they leave as a batch.
        traffic.emit(0);
        traffic.emit(0);
        traffic.emit(0);
        // Delivery does not wait for the end of the migration, which takes long with many keys.
        await traffic.flows();
        await assertRequestsWork(cluster);
      });
      await traffic.flows();
      await assertRequestsWork(cluster);
      assert.equal((await redis.masterOf(STREAM)).master, to);
    }
    traffic.stop();
    const { lost, said } = await judge({ cluster, traffic, admin, losses });
    assert.deepEqual([lost, said], [0, 0]);
    await traffic.assertComplete();
    for (const { index } of cluster.nodes) {
      const { doubtful, failed, malformed } = cluster.adapter(index).stats();
      assert.deepEqual({ doubtful, failed, malformed }, { doubtful: 0, failed: 0, malformed: 0 });
    }
  });
}

// Breaks when the server's word that a subscription has ended with the slot is not heeded, when
// SPUBLISH does not follow MOVED, and when subscriptions are counted on one node only.
test("with sharded PUB/SUB, the slots of the request channels move", async (t) => {
  const { redis, admin, cluster, traffic, losses } = await startEmitting(t, {
    adapterOptions: { useShardedPubSub: true },
  });
  const masters = redis.nodes.slice(0, 3);
  const uids = cluster.nodes.map(({ index }) => cluster.adapter(index).uid);
  const channels = ["#members#", "#/#", ...uids.map((uid) => `#/#${uid}#`)];
  for (const channel of channels.map((name) => `socket.io${name}`)) {
    const { master, slot } = await redis.masterOf(channel);
    const to = masters[(masters.indexOf(master) + 1) % masters.length];
    const subscribers = await admin.command("PUBSUB", "SHARDNUMSUB", channel);
    await redis.moveSlot(slot, master, to, () => settle());
    await waitFor(
      async () =>
        (await admin.command("PUBSUB", "SHARDNUMSUB", channel)).join() === subscribers.join(),
      { what: () => `${channel} to have its subscribers again: ${subscribers}` },
    );
    await assertRequestsWork(cluster);
  }
  traffic.stop();
  const { lost, said } = await judge({ cluster, traffic, admin, losses });
  assert.deepEqual([lost, said], [0, 0]);
});

// Breaks when sessions keep to the master that has given the slot away, or is about to.
test("a session is saved and restored while its slot is on its way", async (t) => {
  const { redis, cluster } = await startEmitting(t, {
    serverOptions: { connectionStateRecovery: {} },
  });
  const masters = redis.nodes.slice(0, 3);
  for (const isMoved of [false, true]) {
    const [client] = cluster.clients;
    const key = `sio:session:${/** @type {any} */ (client.socket)._pid}`;
    const { master, slot } = await redis.masterOf(key);
    const to = masters[(masters.indexOf(master) + 1) % masters.length];
    const { index } = cluster.homeOf(client);
    await redis.ask(to, `CLUSTER SETSLOT ${slot} IMPORTING ${master.id}`, /\+OK/);
    await redis.ask(master, `CLUSTER SETSLOT ${slot} MIGRATING ${to.id}`, /\+OK/);
    await cluster.cut(client);
    await waitFor(async () => (await redis.keysIn(to, slot)).includes(key), {
      what: "the session to be saved where its slot goes",
    });
    if (isMoved) {
      for (const node of [to, ...masters]) {
        await redis.ask(node, `CLUSTER SETSLOT ${slot} NODE ${to.id}`, /\+OK/);
      }
    }
    await cluster.reconnect(client, (index + 1) % 3);
    assert.equal(client.socket.recovered, true);
  }
});

// Breaks when commands for keys that are still at the source follow those whose keys are not there: the
// session is not found then, and what is written of it stands on both masters, which ends the migration.
test("a session that its slot has not taken along yet is restored and written", async (t) => {
  const { redis, cluster } = await startEmitting(t, {
    serverOptions: { connectionStateRecovery: {} },
  });
  const masters = redis.nodes.slice(0, 3);
  const [client] = cluster.clients;
  const key = `sio:session:${/** @type {any} */ (client.socket)._pid}`;
  const records = `sio:session:live:{${key}}`;
  const { master, slot } = await redis.masterOf(key);
  const to = masters[(masters.indexOf(master) + 1) % masters.length];
  const isAt = (/** @type {any} */ node, /** @type {string} */ name, is = true) =>
    waitFor(async () => (await redis.keysIn(node, slot)).includes(name) === is, {
      what: `${name} to be ${is ? "" : "no more "}at ${node === to ? "the target" : "the source"}`,
    });
  const { index } = cluster.homeOf(client);
  await cluster.cut(client);
  await isAt(master, key);
  await redis.ask(to, `CLUSTER SETSLOT ${slot} IMPORTING ${master.id}`, /\+OK/);
  await redis.ask(master, `CLUSTER SETSLOT ${slot} MIGRATING ${to.id}`, /\+OK/);
  await cluster.reconnect(client, (index + 1) % 3);
  assert.equal(client.socket.recovered, true);

  // its records go to the target now; as if they had been at the source before
  await isAt(to, records);
  await redis.ask(master, `CLUSTER SETSLOT ${slot} STABLE`, /\+OK/);
  await redis.migrate(to, master, await redis.keysIn(to, slot));
  await redis.ask(master, `CLUSTER SETSLOT ${slot} MIGRATING ${to.id}`, /\+OK/);
  await cluster.cut(client);
  await isAt(to, key);
  await isAt(master, records);
  await redis.migrate(master, to, await redis.keysIn(master, slot));
  await cluster.reconnect(client, index);
  assert.equal(client.socket.recovered, true);
});
