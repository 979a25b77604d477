// disconnectSockets, from each node of the cluster.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { flushed } = require("../helpers/delivery");
const { once, waitFor } = require("../helpers/wait");
const { lastEntryId, messagesAfter, streamOf } = require("../helpers/wire");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const NODES = [0, 1, 2];

// the cluster's own clients stay: they show how far the nodes are
const context = useCluster({
  setup: (io) => {
    io.of("/chat");
    io.of("/second");
  },
  namespaces: ["/", "/chat", "/second"],
});

/** One new client of /chat per node. @returns {Promise<SocketClient[]>} */
function newClients() {
  return Promise.all(NODES.map((node) => context.cluster.connect(node, { nsp: "/chat" })));
}

/** @param {SocketClient} client */
function disconnected(client) {
  return once(client.socket, "disconnect");
}

for (const sender of NODES) {
  describe(`sent by node ${sender} (${adapters.kindOf(sender)})`, () => {
    /** The namespace as `sender` sees it. */
    const chat = () => context.cluster.io(sender).of("/chat");

    test("disconnects every socket of the namespace", async () => {
      const { cluster } = context;
      const clients = await newClients();
      const reasons = Promise.all(clients.map(disconnected));
      chat().disconnectSockets();
      for (const [reason] of await reasons) {
        assert.equal(reason, "io server disconnect");
      }
      for (const node of NODES) {
        assert.equal(cluster.io(node).of("/chat").sockets.size, 0);
      }
      assert.ok(
        cluster.clients.every(({ socket }) => socket.connected),
        "other namespaces' clients stay",
      );
    });

    test("by room, by id, and by except", async () => {
      const { cluster } = context;
      const clients = await newClients();
      const [a, b, c] = clients;
      const connected = () => clients.map(({ socket }) => socket.connected);
      cluster.serverSocket(b).join("leaving");

      let gone = disconnected(b);
      chat().in("leaving").disconnectSockets();
      await gone;
      await flushed(cluster, sender);
      assert.deepEqual(connected(), [true, false, true]);

      gone = disconnected(a);
      chat().in(a.id).disconnectSockets();
      await gone;
      await flushed(cluster, sender);
      assert.deepEqual(connected(), [false, false, true]);

      chat().except(c.id).disconnectSockets();
      await flushed(cluster, sender);
      assert.deepEqual(connected(), [false, false, true]);

      gone = disconnected(c);
      chat().except("nobody").disconnectSockets(true);
      await gone;
      await flushed(cluster, sender); // or it meets the clients of the next test
    });

    test("without close the connection stays for its other namespaces, with close it goes", async () => {
      const { cluster } = context;
      const clients = await newClients();
      const seconds = await Promise.all(
        clients.map(async (client) => {
          const second = client.socket.io.socket("/second", {});
          second.connect();
          await once(second, "connect");
          return second;
        }),
      );
      const conns = clients.map((client) => cluster.serverSocket(client).conn);

      const left = Promise.all(clients.map(disconnected));
      chat().disconnectSockets(false);
      await left;
      await flushed(cluster, sender);
      assert.ok(
        seconds.every(({ connected }) => connected),
        "the other namespace stays",
      );
      assert.ok(conns.every(({ readyState }) => readyState === "open"));

      const closed = Promise.all(seconds.map((socket) => once(socket, "disconnect")));
      cluster.io(sender).of("/second").disconnectSockets(true);
      await closed;
      await waitFor(() => conns.every(({ readyState }) => readyState === "closed"), {
        what: "the connections to be closed",
      });
    });

    test("local.disconnectSockets stays on the node", async () => {
      const { cluster, admin } = context;
      const clients = await newClients();
      const before = await lastEntryId(admin, streamOf("/"));
      const gone = disconnected(clients[sender]);
      chat().local.disconnectSockets(true);
      await gone;
      const written = await messagesAfter(admin, streamOf("/"), before);
      assert.deepEqual(written, [], "no entry was written");
      await flushed(cluster, sender);
      assert.deepEqual(
        clients.map(({ socket }) => socket.connected),
        NODES.map((node) => node !== sender),
      );
      chat().disconnectSockets(true);
      await waitFor(() => clients.every(({ socket }) => !socket.connected));
    });

    test("what was emitted before still arrives, what is emitted after does not", async () => {
      const { cluster } = context;
      const clients = await newClients();
      const gone = Promise.all(clients.map(disconnected));
      chat().emit("before");
      chat().disconnectSockets();
      chat().emit("after");
      await gone;
      await flushed(cluster, sender);
      for (const { record } of clients) {
        assert.deepEqual(record, [["before"]]);
      }
    });
  });
}
