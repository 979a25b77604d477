// Broadcasts: who gets them, who does not, from each node of the cluster.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { assertReceivers, deliveries } = require("../helpers/delivery");
const { once, waitFor } = require("../helpers/wait");
const { lastEntryId, messagesAfter, streamOf } = require("../helpers/wire");

const NODES = [0, 1, 2];

const context = useCluster({ clientsPerNode: 2 });

/** Rooms of this test only, so that one cluster serves all tests. */
let rooms = 0;
function newRoom() {
  return `room-${rooms++}`;
}

for (const sender of NODES) {
  describe(`sent by node ${sender} (${adapters.kindOf(sender)})`, () => {
    const other = (sender + 1) % NODES.length;

    /**
     * Makes the server's sockets of these clients join a room of their own.
     *
     * @param {import("../helpers/socket-client").SocketClient[]} clients
     */
    function roomOf(...clients) {
      const room = newRoom();
      clients.forEach((client) => context.cluster.serverSocket(client).join(room));
      return room;
    }

    test("io.emit reaches everybody", async () => {
      const { cluster } = context;
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).emit("hello", 1, "two"),
        cluster.clients,
        ["hello", 1, "two"],
      );
    });

    test("io.send and io.write send a message", async () => {
      const { cluster } = context;
      await assertReceivers(cluster, sender, () => cluster.io(sender).send("hi"), cluster.clients, [
        "message",
        "hi",
      ]);
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).write("hi"),
        cluster.clients,
        ["message", "hi"],
      );
    });

    test("to(room) and in(room) reach the room's members only", async () => {
      const { cluster } = context;
      const members = [cluster.clientsOf(sender)[0], cluster.clientsOf(other)[1]];
      const room = roomOf(...members);
      for (const method of /** @type {const} */ (["to", "in"])) {
        await assertReceivers(
          cluster,
          sender,
          () => cluster.io(sender)[method](room).emit("hello", method),
          members,
          ["hello", method],
        );
      }
    });

    test("a room without members reaches nobody", async () => {
      const { cluster } = context;
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).to(newRoom()).emit("hello"),
        [],
        [],
      );
    });

    test("a room that everybody has left reaches nobody", async () => {
      const { cluster } = context;
      const members = [cluster.clientsOf(sender)[0], cluster.clientsOf(other)[0]];
      const room = roomOf(...members);
      members.forEach((client) => cluster.serverSocket(client).leave(room));
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).to(room).emit("hello"),
        [],
        [],
      );
    });

    test("several rooms reach a socket that is in more than one of them once", async () => {
      const { cluster } = context;
      const [a, b, c, , e] = cluster.clients;
      const first = roomOf(a, c, e);
      const second = roomOf(b, c, e);
      for (const operator of [
        cluster.io(sender).to(first).to(second),
        cluster.io(sender).to([first, second]),
        cluster.io(sender).in([first, newRoom()]).in(second),
      ]) {
        await assertReceivers(
          cluster,
          sender,
          () => operator.emit("hello"),
          [a, b, c, e],
          ["hello"],
        );
      }
    });

    test("except(room) leaves the room's members out", async () => {
      const { cluster } = context;
      const excluded = [cluster.clientsOf(sender)[1], cluster.clientsOf(other)[0]];
      const room = roomOf(...excluded);
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).except(room).emit("hello"),
        cluster.clients.filter((client) => !excluded.includes(client)),
        ["hello"],
      );
    });

    test("to(room).except(rooms) leaves members of any of them out", async () => {
      const { cluster } = context;
      const [a, b, c, d, e, f] = cluster.clients;
      const included = roomOf(a, b, c, d, e);
      const first = roomOf(a, f);
      const second = roomOf(d);
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).to(included).except([first, second]).emit("hello"),
        [b, c, e],
        ["hello"],
      );
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).except(first).except(second).emit("hello"),
        [b, c, e],
        ["hello"],
      );
    });

    test("a room that is a number is a room of its own", async () => {
      const { cluster } = context;
      const members = [cluster.clientsOf(sender)[0], cluster.clientsOf(other)[0]];
      const room = 1_000 + rooms++;
      // numbers are not in the types, but work with the in-memory adapter
      const key = /** @type {any} */ (room);
      members.forEach((client) => cluster.serverSocket(client).join(key));
      cluster.serverSocket(cluster.clientsOf(other)[1]).join(String(room));
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).to(key).emit("hello"),
        members,
        ["hello"],
      );
    });

    test("rooms with any characters in their names", async () => {
      const { cluster } = context;
      const member = cluster.clientsOf(other)[0];
      for (const room of [
        "",
        " ",
        'quo"te',
        "back\\slash",
        "émoji 🎉",
        "nul\0l",
        "__proto__",
        "/",
      ]) {
        cluster.serverSocket(member).join(room);
        await assertReceivers(
          cluster,
          sender,
          () => cluster.io(sender).to(room).emit("hello", room),
          [member],
          ["hello", room],
        );
        cluster.serverSocket(member).leave(room);
      }
    });

    test("a socket's id is a room", async () => {
      const { cluster } = context;
      for (const client of cluster.clients) {
        await assertReceivers(
          cluster,
          sender,
          () => cluster.io(sender).to(client.id).emit("hello"),
          [client],
          ["hello"],
        );
      }
    });

    test("socket.broadcast reaches everybody else", async () => {
      const { cluster } = context;
      const [own] = cluster.clientsOf(sender);
      await assertReceivers(
        cluster,
        sender,
        () => cluster.serverSocket(own).broadcast.emit("hello"),
        cluster.clients.filter((client) => client !== own),
        ["hello"],
      );
    });

    test("socket.to(room) reaches the room's other members", async () => {
      const { cluster } = context;
      const [own] = cluster.clientsOf(sender);
      const friends = cluster.clientsOf(other);
      const room = roomOf(own, ...friends);
      await assertReceivers(
        cluster,
        sender,
        () => cluster.serverSocket(own).to(room).emit("hello"),
        friends,
        ["hello"],
      );
    });

    test("socket.to(id) and socket.except(id) of a socket of another node", async () => {
      const { cluster } = context;
      const [own] = cluster.clientsOf(sender);
      const [friend] = cluster.clientsOf(other);
      await assertReceivers(
        cluster,
        sender,
        () => cluster.serverSocket(own).to(friend.id).emit("hello"),
        [friend],
        ["hello"],
      );
      await assertReceivers(
        cluster,
        sender,
        () => cluster.serverSocket(own).except(friend.id).emit("hello"),
        cluster.clients.filter((client) => client !== own && client !== friend),
        ["hello"],
      );
    });

    test("local stays on the node, and out of the stream", async () => {
      const { cluster } = context;
      const [own, neighbour] = cluster.clientsOf(sender);
      const room = roomOf(neighbour, cluster.clientsOf(other)[0]);
      for (const [operator, receivers] of /** @type {const} */ ([
        [cluster.io(sender).local, [own, neighbour]],
        [cluster.io(sender).local.to(room), [neighbour]],
        [cluster.serverSocket(own).local, [neighbour]],
      ])) {
        const before = await lastEntryId(context.admin, streamOf("/"));
        /** @type {any[] | undefined} */
        let written;
        const receiving = receivers.map((client) => once(client.socket, "hello"));
        await assertReceivers(
          cluster,
          sender,
          async () => {
            operator.emit("hello");
            await Promise.all(receiving);
            written = await messagesAfter(context.admin, streamOf("/"), before);
          },
          [...receivers],
          ["hello"],
        );
        assert.deepEqual(written, [], "no entry was written");
      }
    });

    test("compress(false) and compress(true)", async () => {
      const { cluster } = context;
      for (const compress of [false, true]) {
        await assertReceivers(
          cluster,
          sender,
          () => cluster.io(sender).compress(compress).emit("hello", compress),
          cluster.clients,
          ["hello", compress],
        );
      }
    });

    test("volatile reaches clients that can take it now, on any node", async () => {
      const { cluster } = context;
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).volatile.emit("hello"),
        cluster.clients,
        ["hello"],
      );
    });

    test("volatile is not kept for a client whose transport is busy", async () => {
      const { cluster } = context;
      const [busy] = cluster.clientsOf(other);
      const { conn } = cluster.serverSocket(busy);
      const transport = /** @type {any} */ (conn).transport;
      transport.writable = false;
      const received = await deliveries(cluster, sender, async () => {
        cluster.io(sender).volatile.emit("maybe");
        cluster.io(sender).emit("surely");
        // the busy client's packet waits in the server's buffer, behind the place of the volatile one
        await waitFor(() => /** @type {any} */ (conn).writeBuffer.length > 0, {
          what: "the packet for the busy client to be buffered",
        });
        transport.writable = true;
        /** @type {any} */ (conn).flush();
      });
      assert.deepEqual(
        received,
        cluster.clients.map((client) => (client === busy ? [["surely"]] : [["maybe"], ["surely"]])),
      );
    });

    test("onAnyOutgoing listeners see what a socket is sent, on any node", async () => {
      const { cluster } = context;
      /** @type {any[]} */
      const seen = [];
      const sockets = cluster.clients.map((client) => cluster.serverSocket(client));
      const listeners = sockets.map((socket) => {
        const listener = (/** @type {any[]} */ ...args) => {
          if (args[0] === "hello") {
            seen.push([socket.id, args]);
          }
        };
        socket.onAnyOutgoing(listener);
        return listener;
      });
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).emit("hello", { a: [1, null] }),
        cluster.clients,
        ["hello", { a: [1, null] }],
      );
      sockets.forEach((socket, i) => socket.offAnyOutgoing(listeners[i]));
      assert.deepEqual(
        new Map(seen),
        new Map(sockets.map((socket) => [socket.id, ["hello", { a: [1, null] }]])),
      );
      assert.equal(seen.length, sockets.length, "each socket saw it once");
    });

    test("a listener that leaves the room and joins it again gets the packet once", async () => {
      const { cluster } = context;
      const room = roomOf(...cluster.clients);
      const socket = cluster.serverSocket(cluster.clientsOf(other)[0]);
      let calls = 0;
      const listener = () => {
        // Ends what would go on for ever.
        if (++calls < 100) {
          socket.leave(room);
          socket.join(room);
        }
      };
      socket.onAnyOutgoing(listener);
      await assertReceivers(
        cluster,
        sender,
        () => cluster.io(sender).to(room).emit("hello"),
        cluster.clients,
        ["hello"],
      );
      socket.offAnyOutgoing(listener);
      // What the test itself sends to all comes by as well.
      assert.ok(calls < 10, `${calls} calls`);
    });

    test("a node's packets arrive in order, each once", async () => {
      const { cluster } = context;
      const count = 300;
      const received = await deliveries(cluster, sender, () => {
        for (let i = 0; i < count; i++) {
          cluster.io(sender).emit("numbered", i);
        }
      });
      const expected = Array.from({ length: count }, (_, i) => ["numbered", i]);
      for (const packets of received) {
        assert.deepEqual(packets, expected);
      }
    });
  });
}

test("while all nodes send, the packets of each arrive in order everywhere, each once", async () => {
  const { cluster } = context;
  const count = 100;
  for (let i = 0; i < count; i++) {
    NODES.forEach((node) => cluster.io(node).emit("interleaved", node, i));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(
    cluster.clients.map((client) => client.receives("interleaved", count * NODES.length)),
  );
  for (const client of cluster.clients) {
    for (const node of NODES) {
      assert.deepEqual(
        client
          .received("interleaved")
          .filter(([sender]) => sender === node)
          .map(([, i]) => i),
        Array.from({ length: count }, (_, i) => i),
        `the packets of node ${node} in order and once`,
      );
    }
  }
});

test(
  "all nodes see the packets of all in the order of the stream",
  {
    skip: adapters.upstreamCannot(
      "it delivers a node's own packets when XADD replies, out of order",
    ),
  },
  async () => {
    const { cluster } = context;
    const count = 100;
    for (let i = 0; i < count; i++) {
      NODES.forEach((node) => cluster.io(node).emit("ordered", node, i));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [first, ...others] = await Promise.all(
      cluster.clients.map((client) => client.receives("ordered", count * NODES.length)),
    );
    for (const other of others) {
      assert.deepEqual(other, first);
    }
  },
);

test("allSockets() gives the ids of the node's own sockets", async () => {
  const { cluster } = context;
  const [own] = cluster.clientsOf(0);
  const room = newRoom();
  cluster.serverSocket(own).join(room);
  assert.deepEqual(await cluster.io(0).in(room).allSockets(), new Set([own.id]));
  assert.deepEqual(
    await cluster.io(0).allSockets(),
    new Set(cluster.clientsOf(0).map(({ id }) => id)),
  );
});
