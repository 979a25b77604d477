// What suites and applications that were written for upstream reach into, though they should not.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Adapter, ClusterAdapter } = require("socket.io-adapter");
const { adapters, startCluster, useCluster, useRedis } = require("../helpers/cluster");
const { startSilentServer } = require("../helpers/silent-server");
const { ANSWER_TIMEOUT, waitFor } = require("../helpers/wait");

const NODES = [0, 1, 2];

describe("the adapter", () => {
  const context = useCluster({
    prepare({ clients, nodes }) {
      clients.forEach(({ socket }) => socket.on("ask", (answer) => answer("yes")));
      nodes.forEach(({ io, index }) =>
        /** @type {any} */ (io).on("who", (/** @type {any} */ answer) => answer(index)),
      );
    },
  });

  for (const node of NODES) {
    describe(`of node ${node} (${adapters.kindOf(node)})`, () => {
      const adapter = () => context.cluster.adapter(node);
      const io = () => /** @type {any} */ (context.cluster.io(node));

      test("extends ClusterAdapter of socket.io-adapter", () => {
        assert.ok(adapter() instanceof ClusterAdapter);
        assert.ok(adapter() instanceof Adapter);
      });

      test("has a uid of 16 hexadecimal digits, its own", () => {
        assert.match(adapter().uid, /^[0-9a-f]{16}$/);
        const uids = NODES.map((other) => context.cluster.adapter(other).uid);
        assert.equal(new Set(uids).size, NODES.length);
      });

      test("has the namespace, rooms and sids of any adapter", () => {
        const { cluster } = context;
        const [{ id }] = cluster.clientsOf(node);
        assert.equal(adapter().nsp, cluster.io(node).of("/"));
        assert.deepEqual(adapter().sids, new Map([[id, new Set([id])]]));
        assert.deepEqual(adapter().rooms, new Map([[id, new Set([id])]]));
        assert.deepEqual(adapter().socketRooms(id), new Set([id]));
      });

      test("serverCount() is a promise of the number of servers", async () => {
        const promise = adapter().serverCount();
        assert.ok(promise instanceof Promise);
        assert.equal(await promise, 3);
      });

      // Of a packet that is no event. Breaks when it is taken for malformed.
      test("broadcast() takes a packet without data", async () => {
        const { cluster } = context;
        const leaving = await Promise.all(NODES.map((other) => cluster.connect(other)));
        const rooms = new Set(leaving.map(({ id }) => id));
        adapter().broadcast({ type: 1 }, { rooms, except: new Set(), flags: {} });
        await waitFor(() => leaving.every(({ socket }) => socket.disconnected), {
          what: "the DISCONNECT at all of them",
        });
        await Promise.all(leaving.map((client) => cluster.disconnect(client)));
      });

      test("requests is a map, and empty again once answered", async () => {
        assert.ok(adapter().requests instanceof Map);
        await io().fetchSockets();
        assert.equal(adapter().requests.size, 0);
        await io().serverSideEmitWithAck("who");
        assert.equal(adapter().requests.size, 0);
        await Promise.all([io().fetchSockets(), io().serverSideEmitWithAck("who")]);
        assert.equal(adapter().requests.size, 0);
      });

      test("requests is empty again after a time-out", async () => {
        const end = await startSilentServer(context);
        await assert.rejects(io().timeout(100).fetchSockets());
        assert.equal(adapter().requests.size, 0);
        await end();
      });

      test("ackRequests is a map, and empty again after the answers or their time-out", async () => {
        assert.ok(adapter().ackRequests instanceof Map);
        assert.deepEqual(
          await io()
            .timeout(ANSWER_TIMEOUT / 4)
            .emitWithAck("ask"),
          [...["yes", "yes", "yes"]],
        );
        await waitFor(() => adapter().ackRequests.size === 0, { what: "ackRequests to be empty" });
        const { clients } = context.cluster;
        const counts = clients.map((client) => client.received("nobody answers").length);
        await assert.rejects(io().timeout(100).emitWithAck("nobody answers"));
        // It may still be on its way: what upstream 0.2 writes by ioredis waits for what it reads.
        await waitFor(() =>
          clients.every((client, i) => client.received("nobody answers").length > counts[i]),
        );
        await waitFor(() => adapter().ackRequests.size === 0, { what: "ackRequests to be empty" });
      });

      test("an acknowledgement that was answered does not stay in the sockets", async () => {
        const { cluster } = context;
        // those that were never answered stay, on other nodes than the sender
        const waiting = () =>
          cluster.clients.map((client) => {
            const { acks } = /** @type {any} */ (cluster.serverSocket(client));
            return acks.size;
          });
        const before = waiting();
        await io()
          .timeout(ANSWER_TIMEOUT / 4)
          .emitWithAck("ask");
        assert.deepEqual(waiting(), before);
      });

      test("broadcasts and requests by the adapter's own methods", async () => {
        const { cluster } = context;
        const targets = { rooms: new Set(), except: new Set(), flags: {} };
        adapter().broadcast({ type: 2, data: ["direct", node] }, targets);
        for (const client of cluster.clients) {
          await waitFor(() => client.received("direct").some(([sender]) => sender === node));
        }
        const sockets = await adapter().fetchSockets({
          rooms: new Set(),
          except: new Set(),
          flags: {},
        });
        assert.equal(sockets.length, 3);
        adapter().addSockets(targets, [`direct-${node}`]);
        await waitFor(() =>
          cluster.clients.every((client) =>
            cluster.serverSocket(client).rooms.has(`direct-${node}`),
          ),
        );
        adapter().delSockets(targets, [`direct-${node}`]);
        await waitFor(() =>
          cluster.clients.every(
            (client) => !cluster.serverSocket(client).rooms.has(`direct-${node}`),
          ),
        );
      });
    });
  }

  test("createAdapter gives a function that is called with `new` for each namespace", async () => {
    const { cluster } = context;
    for (const node of NODES) {
      const factory = cluster.io(node).adapter();
      assert.equal(typeof factory, "function");
      cluster.io(node).of("/second");
    }
    await cluster.whole("/second");
    for (const node of NODES) {
      assert.notEqual(cluster.adapter(node, "/second"), cluster.adapter(node));
    }
  });
});

describe("a server that leaves while it is asked", () => {
  const context = useRedis();

  for (const asker of NODES) {
    const leaver = (asker + 1) % 3;
    const other = (asker + 2) % 3;
    const skip = adapters.upstreamCannot("it waits for the number of servers that there were", [
      asker,
    ]);

    for (const [how, leave] of /** @type {const} */ ([
      ["adapter.close()", "adapter"],
      ["io.close()", "server"],
    ])) {
      test(
        `serverSideEmit of node ${asker} succeeds although node ${leaver} leaves by ${how}`,
        { skip },
        async () => {
          const cluster = await startCluster(context, { clientsPerNode: 0 });
          /** @type {any} */ (cluster.io(other)).on("who", (/** @type {any} */ answer) =>
            answer("still here"),
          );
          /** @type {any} */ (cluster.io(leaver)).on("who", () => {
            if (leave === "adapter") {
              cluster.adapter(leaver).close();
            } else {
              cluster.io(leaver).close();
            }
          });
          const start = Date.now();
          assert.deepEqual(
            await /** @type {any} */ (cluster.io(asker)).serverSideEmitWithAck("who"),
            ["still here"],
          );
          assert.ok(Date.now() - start < 5_000, "it did not take until the time-out");
          await cluster.close();
        },
      );
    }
  }
});
