// Listeners of the user's that throw while sockets of several nodes join, leave or are disconnected: what
// was asked for is done all the same, on all nodes and in all rooms.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { once, waitFor } = require("../helpers/wait");
const { takeWarnings, warnings } = require("./warnings");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const bug = () => {
  throw new Error("a bug in a listener");
};

describe("a listener that throws", () => {
  const context = useCluster({
    nodes: 2,
    clientsPerNode: 3,
    namespaces: ["/", "/other"],
    serverOptions: { connectionStateRecovery: {} },
  });

  /** How many members a room has on each node. @param {string} room */
  const members = (room) =>
    [0, 1].map((node) => context.cluster.adapter(node).rooms.get(room)?.size ?? 0);

  /** Lets listeners for an event of all adapters throw. @param {string} event @param {() => void} work */
  async function whileThrowing(event, work) {
    const { cluster } = context;
    takeWarnings();
    const adapters = [0, 1].map((node) => cluster.adapter(node));
    adapters.forEach((adapter) => adapter.on(event, bug));
    work();
    await Promise.all([0, 1].map((node) => cluster.io(node).fetchSockets()));
    adapters.forEach((adapter) => adapter.off(event, bug));
  }

  for (const event of ["create-room", "join-room"]) {
    // Breaks when the first error ends the rest: then the nodes do not agree on who is in the room.
    test(`for ${event} leaves nobody out of a room`, async () => {
      const { cluster } = context;
      const rooms = [`a ${event}`, `b ${event}`];
      await whileThrowing(event, () => cluster.io(0).socketsJoin(rooms));
      assert.deepEqual(rooms.map(members), [
        [3, 3],
        [3, 3],
      ]);
    });
  }

  for (const event of ["leave-room", "delete-room"]) {
    test(`for ${event} keeps nobody in a room`, async () => {
      const { cluster } = context;
      const rooms = [`a ${event}`, `b ${event}`];
      cluster.io(0).socketsJoin(rooms);
      await waitFor(() => members(rooms[1]).every((count) => count === 3), { what: "the joins" });
      await whileThrowing(event, () => cluster.io(0).socketsLeave(rooms));
      assert.deepEqual(rooms.map(members), [
        [0, 0],
        [0, 0],
      ]);
      [0, 1].forEach((node) => {
        assert.ok(!rooms.some((room) => cluster.adapter(node).rooms.has(room)));
      });
    });
  }

  for (const event of /** @type {const} */ (["disconnecting", "disconnect"])) {
    for (const close of [false, true]) {
      test(`for ${event} keeps nobody connected (close: ${close})`, async () => {
        const { cluster } = context;
        /** @type {{ client: SocketClient, other: import("socket.io-client").Socket }[]} */
        const clients = [];
        for (const node of [0, 0, 1, 1]) {
          const client = await cluster.connect(node);
          cluster.serverSocket(client).join("leaving");
          const other = client.socket.io.socket("/other");
          await once(other.connect(), "connect");
          clients.push({ client, other });
        }
        /** @type {any[]} */
        const called = [];
        for (const { client, other } of clients) {
          const { io } = cluster.homeOf(client);
          const sockets = [
            cluster.serverSocket(client),
            io.of("/other").sockets.get(`${other.id}`),
          ];
          for (const socket of sockets) {
            socket?.on(event, () => called.push(socket.id) && bug());
          }
        }
        const left = clients.map(({ client }) => once(client.socket, "disconnect"));
        cluster.io(0).in("leaving").disconnectSockets(close);
        await Promise.all(left);
        await waitFor(() => clients.every(({ other }) => other.connected === !close), {
          what: "the sockets in the other namespace",
        });
        assert.equal(called.length, close ? 8 : 4);
        assert.equal(new Set(called).size, called.length);
        assert.deepEqual(members("leaving"), [0, 0]);
        if (!close) {
          cluster.io(0).of("/other").disconnectSockets(true);
          await waitFor(() => clients.every(({ other }) => !other.connected), { what: "the end" });
        }
        clients.forEach(({ client }) => cluster.homes.delete(client));
      });
    }
  }

  test("is warned of", () => {
    assert.ok(warnings.length > 0);
    assert.ok(warnings.every(({ code }) => code === "ERR_SIO_REDIS_HANDLER"));
  });
});
