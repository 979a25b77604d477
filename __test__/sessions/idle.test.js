// Clients that were idle for so long that Redis has trimmed the entry of their offset. They have
// everything that they were sent, and the session shows how far the stream held nothing more for them.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { cut, liveKeyOf, missedBy, offsetOf } = require("../helpers/recovery");
const { startChildNode } = require("../helpers/remote-node");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { once, waitFor } = require("../helpers/wait");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const STREAM = "socket.io";
/** The stream and the history of each node hold a part of what the tests emit. */
const OPTIONS = {
  maxLen: 100,
  historyBytes: 20_000,
  heartbeatInterval: 300,
  heartbeatTimeout: 900,
};
const SERVER = { connectionStateRecovery: {}, pingInterval: 60_000 };

const context = useCluster({
  nodes: 2,
  clientsPerNode: 0,
  serverOptions: SERVER,
  adapterOptions: OPTIONS,
  setup: (io) => io.on("connection", (socket) => socket.join("room")),
});

const last = async () =>
  (await context.admin.command("XREVRANGE", STREAM, "+", "-", "COUNT", 1))[0];

/** Lets packets for others push everything before them out of the stream and of the nodes' memory. */
async function trim() {
  const { cluster } = context;
  const [before] = await last();
  // In small parts: nothing may be trimmed before the nodes have read it.
  for (let n = 0; n < 400; n++) {
    cluster.io(1).to("elsewhere").emit("others", n, "x".repeat(500));
    if (n % 50 === 49) {
      await caughtUp();
    }
  }
  assert.deepEqual(await context.admin.command("XRANGE", STREAM, before, before), []);
  assert.deepEqual(
    cluster.nodes.map(({ index }) => cluster.adapter(index).stats().losses),
    [0, 0],
  );
}

/** Waits until both nodes have read everything. */
async function caughtUp() {
  const { cluster } = context;
  for (const { index } of cluster.nodes) {
    let probes = 0;
    const count = () => probes++;
    cluster.io(index).on("probe", count);
    cluster.io(1 - index).serverSideEmit("probe");
    await waitFor(() => probes > 0, { what: `node ${index} to have read everything` });
    cluster.io(index).off("probe", count);
  }
}

/**
 * Waits until the record of a connected client's session holds a text.
 *
 * @param {SocketClient} client
 * @param {string} text
 */
async function recorded({ socket }, text) {
  const { _pid: pid } = /** @type {any} */ (socket);
  const key = liveKeyOf(pid);
  const record = async () => String(await context.admin.command("HVALS", key));
  await waitFor(async () => (await record()).includes(text), { what: `${text} in the record` });
}

/** @param {string} url @param {boolean} hasReceived */
async function idleClient(url, hasReceived) {
  const client = await connectClient(url);
  await recorded(client, client.id);
  if (hasReceived) {
    context.cluster.io(1).to(client.id).emit("first");
    await client.receives("first");
  }
  return client;
}

for (const hasReceived of [true, false]) {
  describe(`an idle client that has received ${hasReceived ? "a packet" : "nothing"}`, () => {
    // Breaks when a restore needs the entry of the client's offset.
    test("is recovered when its offset was trimmed long ago", async () => {
      const { cluster } = context;
      for (const node of [0, 1]) {
        const client = await idleClient(cluster.nodes[0].url, hasReceived);
        cluster.homes.set(client, cluster.nodes[0]);
        await trim();
        await cut(cluster, client);
        cluster.io(1).to("room").emit("missed", 1);
        cluster.io(0).to("elsewhere").emit("missed", 2);
        cluster.io(0).emit("missed", 3);
        assert.deepEqual(await missedBy(cluster, client, node), [
          ["missed", 1],
          ["missed", 3],
        ]);
        // Once more, and it has received something by now.
        await trim();
        await cut(cluster, client);
        assert.deepEqual(await missedBy(cluster, client, 1 - node), []);
        await cluster.disconnect(client);
      }
    });

    // Breaks when what was sent, but did not arrive, counts as received.
    test("starts anew if it did not get what it was sent since", async (t) => {
      const { cluster } = context;
      const proxy = await startProxy(cluster.nodes[0].port);
      t.after(() => proxy.close());
      const client = await idleClient(`http://127.0.0.1:${proxy.port}`, hasReceived);
      cluster.homes.set(client, cluster.nodes[0]);
      const offset = offsetOf(client);
      proxy.stall();
      cluster.io(1).to("room").emit("lost");
      await trim();
      const left = once(client.socket, "disconnect");
      client.cut();
      await left;
      await cluster.reconnect(client, 1);
      assert.equal(client.socket.recovered, false);
      assert.equal(offsetOf(client), offset);
      await cluster.disconnect(client);
    });

    // The same without a trimmed stream: breaks when the restore begins too late.
    test("gets what it was sent and did not get, if the stream has it", async (t) => {
      const { cluster } = context;
      const proxy = await startProxy(cluster.nodes[0].port);
      t.after(() => proxy.close());
      const client = await idleClient(`http://127.0.0.1:${proxy.port}`, hasReceived);
      cluster.homes.set(client, cluster.nodes[0]);
      proxy.stall();
      cluster.io(1).to("room").emit("lost");
      await caughtUp();
      const left = once(client.socket, "disconnect");
      client.cut();
      await left;
      assert.deepEqual(await missedBy(cluster, client, 1), [["lost"]]);
      await cluster.disconnect(client);
    });

    /**
     * A node of its own process with an idle client behind a proxy. The stream was trimmed, and then the
     * client's record was written.
     *
     * @param {import("node:test").TestContext} t
     */
    async function onVictim(t) {
      const { cluster } = context;
      const victim = await startChildNode({
        redis: context.redis,
        adapterOptions: OPTIONS,
        serverOptions: SERVER,
      });
      const proxy = await startProxy(victim.port);
      t.after(() => proxy.close());
      const client = await idleClient(`http://127.0.0.1:${proxy.port}`, hasReceived);
      await trim();
      // The record is written again when the rooms have changed.
      cluster.io(1).in(client.id).socketsJoin("late");
      await recorded(client, "late");
      return { victim, proxy, client };
    }

    // Breaks when the record of a connected client does not show what it was sent.
    test("is recovered after its node was killed", async (t) => {
      const { cluster } = context;
      const { victim, client } = await onVictim(t);
      await victim.kill();
      await waitFor(() => !client.socket.connected);
      cluster.io(1).to("late").emit("missed");
      assert.deepEqual(await missedBy(cluster, client, 0), [["missed"]]);
      await cluster.disconnect(client);
    });

    // Breaks when a record counts for what was sent after it was written.
    test("gets what its node sent after it wrote the record", async (t) => {
      const { cluster } = context;
      for (const isTrimmed of [false, true]) {
        const { victim, proxy, client } = await onVictim(t);
        proxy.stall();
        await victim.emit("lost", [], { rooms: ["late"] });
        await waitFor(async () => String((await last())[1]).includes("lost"));
        await victim.kill();
        if (isTrimmed) {
          await trim();
        }
        const left = once(client.socket, "disconnect");
        client.cut();
        await left;
        if (isTrimmed) {
          await cluster.reconnect(client, 0);
          assert.equal(client.socket.recovered, false);
        } else {
          assert.deepEqual(await missedBy(cluster, client, 0), [["lost"]]);
        }
        await cluster.disconnect(client);
      }
    });
  });
}
