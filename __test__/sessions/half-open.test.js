// Clients that are back before their node has noticed that the connection is dead: the node hands the
// session over. The connections are really half open: a proxy carries nothing more, and tells nobody.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { startNodeOn } = require("../helpers/node");
const { liveKeyOf, missedBy, offsetOf, packetsOf, pidOf } = require("../helpers/recovery");
const { startProxy } = require("../helpers/tcp-proxy");
const { connectClient } = require("../helpers/socket-client");
const { once, settle, waitFor } = require("../helpers/wait");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

/** A ping that fails only long after each test. */
const SERVER = { connectionStateRecovery: {}, pingInterval: 60_000 };

/** Code of the user's that runs when a socket ends. @type {Record<string, (socket: any, bug: () => void) => void>} */
const BUGS = {
  "a handler of `disconnecting`": (socket, bug) => socket.on("disconnecting", bug),
  "a handler of `disconnect`": (socket, bug) => socket.on("disconnect", bug),
  "a listener for `leave-room`": ({ adapter }, bug) => adapter.once("leave-room", bug),
};
/** The first of the warnings of them, whose number is limited. */
const warned = once(process, "warning");

for (const requestsVia of ["pubsub", "stream"]) {
  describe(`a half-open client (requests via ${requestsVia})`, () => {
    const context = useCluster({
      nodes: 3,
      clientsPerNode: 0,
      serverOptions: SERVER,
      adapterOptions: { requestsVia },
      setup: (io) =>
        io.on("connection", (socket) => {
          if (!socket.recovered) {
            socket.join("room");
            socket.data.name = "first";
          }
        }),
    });

    /**
     * A client of node 0 that can be left half open.
     *
     * @param {import("node:test").TestContext} t
     */
    async function connect(t) {
      const { cluster } = context;
      const proxy = await startProxy(cluster.nodes[0].port);
      t.after(() => proxy.close());
      const client = await connectClient(`http://127.0.0.1:${proxy.port}`);
      cluster.homes.set(client, cluster.nodes[0]);
      const socket = cluster.serverSocket(client);
      const key = liveKeyOf(pidOf(cluster, client));
      await waitFor(() => context.admin.command("EXISTS", key), { what: "the session's record" });
      return { client, proxy, socket };
    }

    /** The client is gone, and its server does not know. @param {SocketClient} client @param {any} proxy */
    async function leaveHalfOpen(client, proxy) {
      proxy.stall();
      const left = once(client.socket, "disconnect");
      client.cut();
      await left;
    }

    for (const [where, node] of /** @type {const} */ ([
      ["another node", 1],
      ["the same node", 0],
    ])) {
      for (const what of ["a packet", "nothing"]) {
        // Breaks when the owner is not asked, and when it does not end its socket.
        test(`that has received ${what} is recovered at ${where}`, async (t) => {
          const { cluster } = context;
          const { client, proxy, socket } = await connect(t);
          if (what === "a packet") {
            cluster.io(2).to("room").emit("first");
            await client.receives("first");
          }
          await leaveHalfOpen(client, proxy);
          const before = packetsOf(client).length;
          const reason = once(socket, "disconnect");
          cluster.io(2).to("room").emit("missed", 1);
          cluster.io(2).emit("missed", 2);
          socket.join("late");
          assert.deepEqual(await missedBy(cluster, client, node), [
            ["missed", 1],
            ["missed", 2],
          ]);
          assert.equal((await reason)[0], "transport close");
          const again = cluster.serverSocket(client);
          assert.notEqual(again, socket);
          assert.deepEqual([...again.rooms], [socket.id, "room", "late"]);
          assert.deepEqual(again.data, { name: "first" });
          const sockets = await cluster.io(2).in("room").fetchSockets();
          assert.equal(sockets.filter(({ id }) => id === client.id).length, 1);
          cluster.io(2).to("late").emit("live");
          await client.receives("live");
          assert.equal(packetsOf(client).length, before + 4);
          await cluster.disconnect(client);
        });
      }

      for (const [bug, add] of Object.entries(BUGS)) {
        // Breaks when the session is not saved, or not handed over, because of the error.
        test(`is recovered at ${where}, although ${bug} throws`, async (t) => {
          const { cluster } = context;
          const { client, proxy, socket } = await connect(t);
          await leaveHalfOpen(client, proxy);
          cluster.io(2).to("room").emit("missed");
          await settle();
          add(socket, () => {
            throw new Error("a bug in a handler");
          });
          assert.deepEqual(await missedBy(cluster, client, node), [["missed"]]);
          assert.deepEqual([...cluster.serverSocket(client).rooms], [socket.id, "room"]);
          assert.equal((await warned)[0].code, "ERR_SIO_REDIS_HANDLER");
          assert.equal(socket.connected, false);
          const sockets = await cluster.io(2).in("room").fetchSockets();
          assert.equal(sockets.filter(({ id }) => id === client.id).length, 1);
          await cluster.disconnect(client);
        });
      }
    }

    // Breaks when a socket that has given its session away saves it again.
    test("does not disturb its successor when its node notices at last", async (t) => {
      const { cluster } = context;
      const { client, proxy, socket } = await connect(t);
      await leaveHalfOpen(client, proxy);
      await cluster.reconnect(client, 1);
      assert.ok(client.socket.recovered);
      cluster.serverSocket(client).join("later");
      socket.conn.close(true);
      await settle();
      await cluster.cut(client);
      await cluster.reconnect(client, 2);
      assert.ok(client.socket.recovered);
      assert.ok(cluster.serverSocket(client).rooms.has("later"));
      await cluster.disconnect(client);
    });

    test("that bounces between nodes ends as one socket", async (t) => {
      const { cluster } = context;
      const { client, proxy } = await connect(t);
      cluster.io(2).to("room").emit("first");
      await client.receives("first");
      const pid = pidOf(cluster, client);
      const offset = /** @type {any} */ (client.socket)._lastOffset;
      await leaveHalfOpen(client, proxy);
      const attempts = await Promise.all(
        [1, 2, 0, 1, 2, 0].map(async (node) => {
          const attempt = await cluster.connect(node, { auth: { pid, offset } });
          return attempt;
        }),
      );
      await settle(300);
      const sockets = (await cluster.io(0).fetchSockets()).filter(({ id }) => id === client.id);
      assert.ok(sockets.length <= 1, `${sockets.length} sockets with one ID`);
      assert.equal(sockets.length, 1, "and one has the session");
      const holders = attempts.filter(
        (attempt) => attempt.socket.connected && attempt.id === client.id,
      );
      assert.equal(holders.length, 1, "which is that of one client");
      for (const attempt of attempts) {
        attempt.disconnect();
      }
    });
  });
}

describe("a half-open client of a namespace that is removed with its last socket", () => {
  const context = useCluster({
    nodes: 2,
    clientsPerNode: 0,
    serverOptions: { ...SERVER, cleanupEmptyChildNamespaces: true },
    setup: (io) => io.of(/^\/dynamic-\d$/),
  });

  for (const [where, node] of /** @type {const} */ ([
    ["another node", 1],
    ["the same node", 0],
  ])) {
    // Breaks when the client gets into the namespace that is removed while its session is handed over.
    test(`is recovered at ${where}`, async (t) => {
      const { cluster } = context;
      const nsp = `/dynamic-${node}`;
      const proxy = await startProxy(cluster.nodes[0].port);
      t.after(() => proxy.close());
      const client = await connectClient(`http://127.0.0.1:${proxy.port}`, { nsp });
      cluster.homes.set(client, cluster.nodes[0]);
      const removed = cluster.io(0).of(nsp);
      const key = liveKeyOf(pidOf(cluster, client));
      await waitFor(() => context.admin.command("EXISTS", key), { what: "the session's record" });
      proxy.stall();
      const left = once(client.socket, "disconnect");
      client.cut();
      await left;
      removed.emit("missed");
      assert.deepEqual(await missedBy(cluster, client, node), [["missed"]]);
      assert.notEqual(cluster.io(0)._nsps.get(nsp), removed);
      const count = async () => (await cluster.io(1).of(nsp).fetchSockets()).length;
      await waitFor(async () => (await count()) === 1, { what: "one socket" });
      await cluster.disconnect(client);
    });
  }
});

describe("a half-open client whose node", () => {
  const context = useCluster({ nodes: 2, clientsPerNode: 0, serverOptions: SERVER });

  // Breaks when a message of one node is answered by another, or when a socket that is gone for good
  // leaves its session behind.
  test("has disconnected it for good is not recovered", async () => {
    const { cluster } = context;
    const client = await cluster.connect(0);
    const pid = pidOf(cluster, client);
    await waitFor(() => context.admin.command("EXISTS", liveKeyOf(pid)));
    cluster.serverSocket(client).disconnect();
    await waitFor(() => !client.socket.connected);
    await cluster.reconnect(client, 1);
    assert.equal(client.socket.recovered, false);
    const records = await context.admin.command("HVALS", liveKeyOf(pid));
    assert.deepEqual(records, [], "nothing is left of the session");
  });

  // Breaks when nobody handles that the wait for the session ends with the engine: an unhandled
  // rejection, which ends a process.
  test("closes before it could save the session finds another one", async (t) => {
    const { cluster, redis } = context;
    const proxy = await startProxy(redis.port, ({ notes }, direction, chunk) => {
      notes.isOfSessions ||= direction === "up" && chunk.includes("sio:session:live:");
    });
    t.after(() => proxy.close());
    const owner = await startNodeOn(
      { adapterArgument: proxy.url, close: async () => {} },
      { index: 2, serverOptions: SERVER },
    );
    t.after(() => owner.close());
    const client = await connectClient(owner.url);
    t.after(() => client.disconnect());
    const { pid } = /** @type {any} */ (owner.io.of("/").sockets.get(client.id));
    await waitFor(() => context.admin.command("EXISTS", liveKeyOf(pid)));
    owner.io.emit("first");
    await client.receives("first");
    const offset = offsetOf(client);
    const links = [...proxy.links].filter(({ notes }) => notes.isOfSessions);
    assert.ok(links.length > 0);
    links.forEach((link) => link.stall());
    const left = once(client.socket, "disconnect");
    const back = connectClient(cluster.nodes[1].url, { auth: { pid, offset } });
    await left;
    await owner.close();
    const second = await back;
    assert.ok(second.socket.connected);
    second.disconnect();
  });
});
