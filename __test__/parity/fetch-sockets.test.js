// fetchSockets and what it returns, from each node of the cluster.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { assertReceivers, flushed } = require("../helpers/delivery");
const { once } = require("../helpers/wait");
const { toBuffer } = require("../helpers/wire");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const NODES = [0, 1, 2];

const context = useCluster({ clientsPerNode: 2 });

/**
 * @param {{ id: string }[]} sockets
 * @param {SocketClient[]} clients
 */
function assertIds(sockets, clients) {
  assert.deepEqual(sockets.map(({ id }) => id).sort(), clients.map(({ id }) => id).sort());
}

for (const sender of NODES) {
  describe(`asked by node ${sender} (${adapters.kindOf(sender)})`, () => {
    const io = () => context.cluster.io(sender);
    /** @param {SocketClient} client */
    const fetchOne = async (client) => {
      const sockets = await io().in(client.id).fetchSockets();
      assert.equal(sockets.length, 1);
      return sockets[0];
    };

    test("gives every socket of the cluster, once", async () => {
      assertIds(await io().fetchSockets(), context.cluster.clients);
    });

    test("by room, by several rooms, by except, by id", async () => {
      const { cluster } = context;
      const [a, b, c, d, e, f] = cluster.clients;
      const first = `first-${sender}`;
      const second = `second-${sender}`;
      [a, d, e].forEach((client) => cluster.serverSocket(client).join(first));
      [b, d].forEach((client) => cluster.serverSocket(client).join(second));
      assertIds(await io().in(first).fetchSockets(), [a, d, e]);
      assertIds(await io().to([first, second]).fetchSockets(), [a, b, d, e]);
      assertIds(await io().except(first).fetchSockets(), [b, c, f]);
      assertIds(await io().in(first).except(second).fetchSockets(), [a, e]);
      assertIds(await io().in("nobody").fetchSockets(), []);
      for (const client of cluster.clients) {
        assertIds(await io().in(client.id).fetchSockets(), [client]);
      }
    });

    test("local gives the node's own", async () => {
      const { cluster } = context;
      assertIds(await io().local.fetchSockets(), cluster.clientsOf(sender));
    });

    test("socket.broadcast leaves the socket itself out", async () => {
      const { cluster } = context;
      const [own] = cluster.clientsOf(sender);
      const others = cluster.clients.filter((client) => client !== own);
      assertIds(await cluster.serverSocket(own).broadcast.fetchSockets(), others);
    });

    test("rooms, data and handshake of a socket of any node", async () => {
      const { cluster } = context;
      for (const node of NODES) {
        const client = await cluster.connect(node, {
          auth: { token: "žeton", nested: { a: [1, null] } },
          query: { x: "1" },
        });
        const server = cluster.serverSocket(client);
        server.join(["r1", "r2"]);
        server.data = { user: "é", list: [1, { b: null }], when: new Date(86_400_000) };
        const socket = await fetchOne(client);
        assert.deepEqual(socket.rooms, new Set([client.id, "r1", "r2"]));
        assert.deepEqual(socket.data, server.data);
        assert.deepEqual(socket.handshake.auth, { token: "žeton", nested: { a: [1, null] } });
        assert.equal(socket.handshake.query.x, "1");
        for (const key of /** @type {const} */ (["issued", "time", "url", "address", "secure"])) {
          assert.deepEqual(socket.handshake[key], server.handshake[key], key);
        }
        assert.deepEqual(socket.handshake.headers, server.handshake.headers);
        await cluster.disconnect(client);
      }
    });

    test("binary in a socket's data", async () => {
      const { cluster } = context;
      for (const node of NODES) {
        const [client] = cluster.clientsOf(node);
        cluster.serverSocket(client).data = { key: Buffer.from([0, 255]) };
        const socket = await fetchOne(client);
        assert.deepEqual(toBuffer(socket.data.key), Buffer.from([0, 255]));
        cluster.serverSocket(client).data = {};
      }
    });

    test("a handshake with a sessionStore, which may be circular, comes without it", async () => {
      const { cluster } = context;
      const [client] = cluster.clientsOf((sender + 1) % NODES.length);
      /** @type {any} */
      const handshake = cluster.serverSocket(client).handshake;
      handshake.sessionStore = { handshake };
      const socket = await fetchOne(client);
      assert.equal("sessionStore" in socket.handshake, false);
      delete handshake.sessionStore;
    });

    test("a fetched socket is sent to", async () => {
      const { cluster } = context;
      for (const client of cluster.clients) {
        const socket = await fetchOne(client);
        await assertReceivers(
          cluster,
          sender,
          () => socket.emit("hello", { a: 1 }),
          [client],
          ["hello", { a: 1 }],
        );
      }
    });

    test("a fetched socket joins and leaves rooms", async () => {
      const { cluster } = context;
      for (const client of cluster.clients) {
        const server = cluster.serverSocket(client);
        const socket = await fetchOne(client);
        socket.join([`a-${sender}`, `b-${sender}`]);
        await flushed(cluster, sender);
        assert.ok(server.rooms.has(`a-${sender}`) && server.rooms.has(`b-${sender}`));
        socket.leave(`a-${sender}`);
        await flushed(cluster, sender);
        assert.ok(!server.rooms.has(`a-${sender}`) && server.rooms.has(`b-${sender}`));
      }
    });

    test("a fetched socket is disconnected", async () => {
      const { cluster } = context;
      for (const node of NODES) {
        for (const close of [false, true]) {
          const client = await cluster.connect(node);
          const socket = await fetchOne(client);
          const gone = once(client.socket, "disconnect");
          socket.disconnect(close);
          await gone;
          assertIds(await io().in(client.id).fetchSockets(), []);
        }
      }
    });

    test("many at once", async () => {
      const { cluster } = context;
      const results = await Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          io()
            .in(cluster.clients[i % 6].id)
            .fetchSockets(),
        ),
      );
      results.forEach((sockets, i) => assertIds(sockets, [cluster.clients[i % 6]]));
    });

    test("many sockets", async () => {
      const { cluster } = context;
      const other = (sender + 1) % NODES.length;
      const clients = await Promise.all(
        Array.from({ length: 60 }, (_, i) => cluster.connect(i % 2 ? sender : other)),
      );
      assertIds(await io().fetchSockets(), [...cluster.clients, ...clients]);
      await Promise.all(clients.map((client) => cluster.disconnect(client)));
    });
  });
}

describe("a server that does not answer", () => {
  // a subscriber of the request channel counts as a node, and this one answers nothing
  const silent = useCluster();

  for (const sender of NODES) {
    test(`ends in an error at the time-out, asked by node ${sender}`, async () => {
      const { admin, cluster } = silent;
      const subscriber = await admin.subscribe("socket.io#/#", () => {});
      await assert.rejects(
        // @ts-ignore `timeout()` is not known to be followed by fetchSockets()
        cluster.io(sender).timeout(200).fetchSockets(),
        (/** @type {any} */ error) => error instanceof Error && /timeout/.test(error.message),
      );
      await subscriber.close();
      await cluster.whole();
      assertIds(await cluster.io(sender).fetchSockets(), cluster.clients);
    });
  }
});
