// Clients of a node that was killed come back to other nodes, as they were. A node is killed for good:
// a process of its own gets SIGKILL.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { hasSession, liveKeyOf, packetsOf, pidOf } = require("../helpers/recovery");
const { startChildNode } = require("../helpers/remote-node");
const { startProxy } = require("../helpers/tcp-proxy");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");

const EXTENSION = require.resolve("./welcome");

for (const requestsVia of ["pubsub", "stream"]) {
  describe(`clients of a killed node (requests via ${requestsVia})`, () => {
    /** Short, so that the tests that wait for a silent node are. */
    const adapterOptions = { requestsVia, heartbeatInterval: 300, heartbeatTimeout: 900 };
    const context = useCluster({
      nodes: 2,
      clientsPerNode: 0,
      serverOptions: { connectionStateRecovery: {} },
      adapterOptions,
    });

    /** @param {number} [maxDisconnectionDuration] ms @param {any} [redis] how it reaches Redis */
    function startVictim(maxDisconnectionDuration = 120_000, redis = context.redis) {
      return startChildNode({
        redis,
        adapterOptions,
        serverOptions: { connectionStateRecovery: { maxDisconnectionDuration } },
        extension: EXTENSION,
      });
    }

    /** Waits until the sessions have a record, and their node a sign of life. @param {...import("../helpers/socket-client").SocketClient} clients */
    async function recorded(...clients) {
      for (const { socket } of clients) {
        const { _pid: pid } = /** @type {any} */ (socket);
        const key = liveKeyOf(pid);
        // A session that is being restored has another record.
        const connected = async () => {
          const [record = ""] = await context.admin.command("HVALS", key);
          return /^connected (\w+)/.exec(record);
        };
        const found = await waitFor(connected, { what: `the record of ${pid}` });
        const [, uid] = /** @type {RegExpExecArray} */ (found);
        await waitFor(() => context.admin.command("EXISTS", `sio:session:node:${uid}`), {
          what: `the sign of life of ${uid}`,
        });
      }
    }

    // Breaks when the sessions of a dead node are not honoured, and when it is waited for.
    test("are recovered with rooms, data, and what they missed", async () => {
      const { cluster } = context;
      const victim = await startVictim();
      const clients = await Promise.all(
        Array.from({ length: 20 }, () => connectClient(victim.url)),
      );
      // Half of them have received something.
      const half = clients.slice(0, 10);
      await recorded(...clients);
      for (const { id } of half) {
        await victim.emit("own", [], { rooms: [id] });
      }
      await Promise.all(half.map((client) => client.receives("own")));
      await victim.kill();
      cluster.io(0).to("room").emit("missed", 1);
      cluster.io(0).to("elsewhere").emit("missed", 2);
      await waitFor(() => clients.every(({ socket }) => !socket.connected));
      await Promise.all(clients.map((client, i) => cluster.reconnect(client, i % 2)));
      for (const client of clients) {
        assert.ok(client.socket.recovered);
        const socket = cluster.serverSocket(client);
        assert.deepEqual([...socket.rooms], [client.id, "room"]);
        assert.deepEqual(socket.data, { name: "welcome" });
        cluster.io(1).to(client.id).emit("live");
        await client.receives("live");
        const events = packetsOf(client).filter(([event]) => event !== "own");
        assert.deepEqual(events, [["missed", 1], ["live"]]);
        await cluster.disconnect(client);
      }
    });

    // Breaks when a session dies with a node that nobody here has ever seen.
    test("are recovered at a node that was started later", async () => {
      const { cluster } = context;
      const victim = await startVictim();
      const client = await connectClient(victim.url);
      await recorded(client);
      await victim.kill();
      await cluster.addNode(2);
      await cluster.reconnect(client, 2);
      assert.ok(client.socket.recovered);
      await cluster.disconnect(client);
    });

    for (const [name, duration] of /** @type {const} */ ([
      ["seconds", 5_000],
      ["weeks", 30 * 24 * 3_600_000],
      ["ever", Infinity],
    ])) {
      // Breaks when an idle client's record, which is written every 30 minutes, or the sign of life of its
      // node, ends before its time.
      test(`are recovered if sessions last for ${name}, again and again`, async () => {
        const { admin, cluster } = context;
        let home = await startVictim(duration);
        const client = await connectClient(home.url);
        const { _pid: pid } = /** @type {any} */ (client.socket);
        for (const isLast of [false, true]) {
          await recorded(client);
          const lasts = Math.min(duration, 1e12);
          const left = await admin.command("PTTL", `sio:session:node:${home.uid}`);
          assert.ok(left >= lasts, `the sign of life lasts for ${left} ms`);
          const record = await admin.command("PTTL", liveKeyOf(pid));
          assert.ok(record >= lasts + 30 * 60_000, `the record lasts for ${record} ms`);
          await home.kill();
          if (isLast) {
            break;
          }
          home = await startVictim(duration);
          await waitFor(() => !client.socket.connected);
          await client.reconnect(home.url);
          assert.ok(client.socket.recovered);
        }
        await waitFor(() => !client.socket.connected);
        await cluster.reconnect(client, 1);
        assert.ok(client.socket.recovered);
        await cluster.disconnect(client);
      });
    }

    // Breaks when a node shows only once that it is alive: Redis may lose or evict the key.
    test("are recovered if Redis has evicted the sign of life meanwhile", async () => {
      const { cluster } = context;
      const victim = await startVictim();
      const client = await connectClient(victim.url);
      await recorded(client);
      const key = `sio:session:node:${victim.uid}`;
      await context.admin.command("DEL", key);
      await waitFor(async () => (await context.admin.command("EXISTS", key)) === 1, {
        what: "the next sign of life",
      });
      await victim.kill();
      await waitFor(() => !client.socket.connected);
      await cluster.reconnect(client, 0);
      assert.ok(client.socket.recovered);
      await cluster.disconnect(client);
    });

    // Breaks when the node's last sign of life does not bound for how long its sessions are honoured.
    test("start anew when their node has been dead for longer than sessions last", async () => {
      const { cluster } = context;
      const victim = await startVictim(500);
      const client = await connectClient(victim.url);
      await recorded(client);
      const { uid } = victim;
      await victim.kill();
      const key = `sio:session:node:${uid}`;
      await waitFor(async () => (await context.admin.command("EXISTS", key)) === 0, {
        what: "the sign of life to expire",
      });
      await cluster.reconnect(client, 0);
      assert.equal(client.socket.recovered, false);
      await cluster.disconnect(client);
    });

    // Breaks when a node whose process is stopped is taken for a living one for ever, when it does not
    // learn that its client is elsewhere, and when it saves its old view of the session.
    for (const isCutOff of [false, true]) {
      test(`or of a stopped one${isCutOff ? " that was cut off as well" : ""}, as soon as it counts as dead`, async (t) => {
        const { cluster } = context;
        const redis = await startProxy(context.redis.port);
        t.after(() => redis.close());
        const victim = await startVictim(undefined, redis.redis);
        const proxy = await startProxy(victim.port);
        t.after(() => proxy.close());
        const client = await connectClient(`http://127.0.0.1:${proxy.port}`);
        await recorded(client);
        // Its connection is half open from now on: only Redis can tell the node.
        proxy.stall();
        victim.pause();
        if (isCutOff) {
          // It does not hear that the session is asked for, and finds out when it writes it.
          redis.links.forEach((link) => link.destroy());
        }
        client.cut();
        await waitFor(() => !client.socket.connected);
        await cluster.reconnect(client, 0);
        assert.ok(client.socket.recovered);
        const socket = cluster.serverSocket(client);
        socket.join("later");
        victim.resume();
        await waitFor(async () => (await victim.fetchSockets({ local: true })).length === 0, {
          timeout: 20_000,
          what: "the node to drop its socket",
        });
        await settle(300);
        assert.equal(
          await hasSession(cluster, pidOf(cluster, client)),
          false,
          "no old view is saved",
        );
        await cluster.cut(client);
        await cluster.reconnect(client, 1);
        assert.ok(client.socket.recovered);
        assert.ok(cluster.serverSocket(client).rooms.has("later"), "not the old view");
        await cluster.disconnect(client);
        await victim.kill();
      });
    }
  });
}
