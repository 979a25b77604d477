// Connection state recovery: a client that is cut off comes back, to the same node or to another.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, startCluster, useCluster, useRedis } = require("../helpers/cluster");
const { clientWithOffset, cut, missedBy, offsetOf } = require("../helpers/recovery");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { decodeData, entriesAfter, lastEntryId, streamOf } = require("../helpers/wire");

const NODES = [0, 1, 2];
const STREAM = streamOf("/");

describe("recovery", () => {
  const context = useCluster({
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
    namespaces: ["/", "/chat"],
    setup: (io) => io.of("/chat"),
  });

  /**
   * Waits until the cluster's own clients have each received `count` of an event.
   *
   * @param {string} event
   * @param {number} [count]
   */
  async function everybodyReceives(event, count) {
    await Promise.all(context.cluster.clients.map((client) => client.receives(event, count)));
  }

  /** Event names of one test only. */
  let events = 0;
  const newEvent = () => `event-${events++}`;

  for (const from of NODES) {
    for (const to of NODES) {
      const kinds = `${adapters.kindOf(from)} to ${adapters.kindOf(to)}`;
      describe(`from node ${from} to node ${to} (${kinds})`, () => {
        test("the missed packets come before the client's `connect` event", async () => {
          const { cluster } = context;
          const event = newEvent();
          const client = await clientWithOffset(cluster, from);
          await cut(cluster, client);
          for (let i = 0; i < 5; i++) {
            cluster.io(from).emit(event, i);
          }
          await everybodyReceives(event, 5);
          let atConnect;
          client.socket.once("connect", () => {
            atConnect = client.received(event).length;
          });
          await cluster.reconnect(client, to);
          assert.equal(client.socket.recovered, true);
          assert.equal(atConnect, 5);
          await cluster.disconnect(client);
        });

        test("the missed packets arrive in order and once; id, rooms and data are back", async () => {
          const { admin, cluster } = context;
          const event = newEvent();
          const client = await clientWithOffset(cluster, from);
          const { id } = client;
          const before = cluster.serverSocket(client);
          before.join(["room", "é🎉"]);
          before.data = { user: "é", nested: { list: [1, null] } };
          await cut(cluster, client);

          const start = await lastEntryId(admin, STREAM);
          for (let i = 0; i < 30; i++) {
            cluster.io(i % 3).emit(event, i, { é: [i] });
          }
          await everybodyReceives(event, 30);
          const recordStart = client.record.length;
          const missed = await missedBy(cluster, client, to);

          const entries = (await entriesAfter(admin, STREAM, start))
            .filter(({ fields }) => fields.type === "3")
            .map(({ id: offset, fields }) => [...decodeData(fields.data).packet.data, offset])
            .filter(([name]) => name === event);
          assert.equal(entries.length, 30);
          assert.deepEqual(
            missed,
            entries.map((packet) => packet.slice(0, -1)),
          );
          assert.deepEqual(
            client.record.slice(recordStart, recordStart + 30),
            entries,
            "each with its offset",
          );

          assert.equal(client.id, id);
          const after = cluster.serverSocket(client);
          assert.equal(after.recovered, true);
          assert.equal(after.id, id);
          assert.deepEqual(after.rooms, new Set([id, "room", "é🎉"]));
          assert.deepEqual(after.data, { user: "é", nested: { list: [1, null] } });

          // the rooms are not only in the socket's list
          cluster.io(from).to("é🎉").emit("to the room");
          await client.receives("to the room");
          await cluster.disconnect(client);
        });

        test("packets to its rooms arrive, to others or with it left out they do not", async () => {
          const { cluster } = context;
          const event = newEvent();
          const client = await clientWithOffset(cluster, from);
          cluster.serverSocket(client).join(["mine", "also mine"]);
          const { id } = client;
          await cut(cluster, client);
          const io = cluster.io((from + 1) % 3);
          io.to("mine").emit(event, "room");
          io.to("not mine").emit(event, "wrong");
          io.to(["mine", "also mine", "not mine"]).emit(event, "several rooms");
          io.except("not mine").emit(event, "except another");
          io.except("mine").emit(event, "wrong");
          io.to("mine").except("also mine").emit(event, "wrong");
          io.except(id).emit(event, "wrong");
          io.to(id).emit(event, "id");
          io.of("/chat").emit(event, "wrong");
          io.local.emit(event, "wrong");
          io.emit(event, "end");
          await everybodyReceives(event, 3);
          assert.deepEqual(await missedBy(cluster, client, to), [
            [event, "room"],
            [event, "several rooms"],
            [event, "except another"],
            [event, "id"],
            [event, "end"],
          ]);
          await cluster.disconnect(client);
        });

        test("nothing was missed", async () => {
          const { cluster } = context;
          const client = await clientWithOffset(cluster, from);
          await cut(cluster, client);
          assert.deepEqual(await missedBy(cluster, client, to), []);
          await cluster.disconnect(client);
        });

        test("again and again", async () => {
          const { cluster } = context;
          const event = newEvent();
          const client = await clientWithOffset(cluster, from);
          for (let round = 0; round < 4; round++) {
            await cut(cluster, client);
            cluster.io(from).emit(event, round);
            await everybodyReceives(event, round + 1);
            const missed = await missedBy(cluster, client, round % 2 ? from : to);
            assert.deepEqual(missed, [[event, round]]);
          }
          await cluster.disconnect(client);
        });

        test("binary", async () => {
          const { cluster } = context;
          const event = newEvent();
          const bytes = Buffer.from([0, 127, 128, 255]);
          const client = await clientWithOffset(cluster, from);
          cluster.serverSocket(client).data = { bytes };
          await cut(cluster, client);
          cluster.io(from).emit(event, bytes, { deep: [bytes] });
          await everybodyReceives(event);
          assert.deepEqual(await missedBy(cluster, client, to), [
            [event, bytes, { deep: [bytes] }],
          ]);
          assert.deepEqual(Buffer.from(cluster.serverSocket(client).data.bytes), bytes);
          await cluster.disconnect(client);
        });

        test("another namespace", async () => {
          const { cluster } = context;
          const event = newEvent();
          const client = await clientWithOffset(cluster, from, "/chat");
          cluster.serverSocket(client).join("room");
          await cut(cluster, client);
          cluster.io(from).emit(event, "wrong");
          cluster.io(from).of("/chat").to("room").emit(event, "right");
          cluster.io(from).emit(event, "wrong");
          await everybodyReceives(event, 2);
          assert.deepEqual(await missedBy(cluster, client, to), [[event, "right"]]);
          await cluster.disconnect(client);
        });

        test(
          "packets that want acknowledgements are not sent later",
          { skip: adapters.upstream02Cannot("it replays them, without acknowledgement", [to]) },
          async () => {
            const { cluster } = context;
            const event = newEvent();
            const client = await clientWithOffset(cluster, from);
            await cut(cluster, client);
            await cluster
              .io(from)
              .except("nobody")
              .timeout(50)
              .emitWithAck(event)
              .catch(() => {});
            await everybodyReceives(event);
            assert.deepEqual(await missedBy(cluster, client, to), []);
            await cluster.disconnect(client);
          },
        );

        test(
          "volatile packets are not sent later",
          { skip: adapters.upstreamCannot("it replays volatile packets", [to]) },
          async () => {
            const { cluster } = context;
            const event = newEvent();
            const client = await clientWithOffset(cluster, from);
            await cut(cluster, client);
            cluster.io(from).volatile.emit(event, "volatile");
            cluster.io(from).emit(event, "kept");
            await everybodyReceives(event);
            assert.deepEqual(await missedBy(cluster, client, to), [[event, "kept"]]);
            await cluster.disconnect(client);
          },
        );

        test(
          "packets to a room from before it joined are not sent later",
          {
            skip: adapters.upstreamCannot("its sessions do not say since when a room is joined", [
              from,
              to,
            ]),
          },
          async () => {
            const { cluster } = context;
            const event = newEvent();
            const client = await clientWithOffset(cluster, from);
            cluster.clients.forEach((other) => cluster.serverSocket(other).join("late room"));
            cluster.io(from).to("late room").emit(event, "before");
            await everybodyReceives(event);
            cluster.serverSocket(client).join("late room");
            await cut(cluster, client);
            cluster.io(from).to("late room").emit(event, "after");
            await everybodyReceives(event, 2);
            assert.deepEqual(await missedBy(cluster, client, to), [[event, "after"]]);
            await cluster.disconnect(client);
          },
        );

        test(
          "packets that come while it is restored arrive in order and once",
          {
            skip: adapters.upstreamCannot(
              "what arrives between its reading and the socket's joining is lost or doubled",
              [to],
            ),
          },
          async () => {
            const { cluster } = context;
            const event = newEvent();
            const clients = await Promise.all(
              Array.from({ length: 10 }, () => clientWithOffset(cluster, from)),
            );
            await Promise.all(clients.map((client) => cut(cluster, client)));
            const count = 400;
            const sending = (async () => {
              for (let i = 0; i < count; i++) {
                cluster.io((to + 1) % 3).emit(event, i);
                await new Promise((resolve) => setImmediate(resolve));
              }
            })();
            await waitFor(() => cluster.clients[0].received(event).length > 20);
            await Promise.all(clients.map((client) => cluster.reconnect(client, to)));
            await sending;
            await everybodyReceives(event, count);
            const expected = Array.from({ length: count }, (_, i) => i);
            for (const client of clients) {
              assert.equal(client.socket.recovered, true);
              const received = await client.receives(event, count);
              assert.deepEqual(
                received.map(([i]) => i),
                expected,
              );
              await cluster.disconnect(client);
            }
          },
        );
      });
    }
  }
});

describe("a node that shuts down", () => {
  const context = useRedis();

  for (const node of NODES) {
    test(`leaves its clients' sessions to the others: node ${node}`, async () => {
      const cluster = await startCluster(context, {
        serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
      });
      const to = (node + 1) % 3;
      const client = await clientWithOffset(cluster, node);
      cluster.serverSocket(client).join("room");
      const { id } = client;
      const witness = cluster.clients[to];
      await cluster.nodes[node].close();
      await waitFor(() => !client.socket.connected);
      cluster.io(to).to("room").emit("missed", 1);
      cluster.io(to).emit("missed", 2);
      await witness.receives("missed");
      assert.deepEqual(await missedBy(cluster, client, to), [
        ["missed", 1],
        ["missed", 2],
      ]);
      assert.equal(client.id, id);
      await cluster.close();
    });
  }
});

describe("middlewares", () => {
  /** Resolves when the middleware may go on. @type {Promise<void>} */
  let gate = Promise.resolve();
  let runs = 0;
  const context = useCluster({
    serverOptions: {
      connectionStateRecovery: { maxDisconnectionDuration: 60_000, skipMiddlewares: false },
    },
    setup: (io) =>
      io.use((socket, next) => {
        runs++;
        gate.then(() => next());
      }),
  });

  for (const node of NODES) {
    test(`run for a recovered socket on node ${node}`, async () => {
      const { cluster } = context;
      const client = await clientWithOffset(cluster, node);
      await cut(cluster, client);
      const before = runs;
      assert.deepEqual(await missedBy(cluster, client, node), []);
      assert.equal(runs, before + 1);
      await cluster.disconnect(client);
    });

    test(
      `what arrives on node ${node} while one runs is not lost`,
      {
        skip: adapters.upstreamCannot("packets are lost that come while a middleware runs", [node]),
      },
      async () => {
        const { cluster } = context;
        const witness = cluster.clients[(node + 1) % 3];
        const client = await clientWithOffset(cluster, node);
        cluster.serverSocket(client).join("room");
        await cut(cluster, client);
        cluster.io(node).emit("during", "missed");
        await witness.receives("during");

        /** @type {() => void} */
        let open = () => {};
        gate = new Promise((resolve) => {
          open = resolve;
        });
        const before = runs;
        const reconnected = cluster.reconnect(client, node);
        await waitFor(() => runs > before, { what: "the middleware to run" });
        cluster.io(node).to("room").emit("during", "own node");
        cluster.io((node + 1) % 3).emit("during", "other node");
        const start = witness.received("during").length;
        cluster.io(node).emit("during", "end");
        await waitFor(() => witness.received("during").length > start);
        open();
        await reconnected;
        assert.equal(client.socket.recovered, true);
        cluster.io(node).to(client.id).emit("last");
        await client.receives("last");
        const received = client.received("during").map(([what]) => what);
        assert.equal(received[0], "missed");
        assert.deepEqual(received.slice().sort(), ["end", "missed", "other node", "own node"]);
        await cluster.disconnect(client);
        witness.record.length = 0;
      },
    );
  }

  test("a client that is new is not disturbed", async () => {
    const client = await connectClient(context.cluster.nodes[0].url);
    assert.equal(client.socket.recovered, false);
    client.disconnect();
  });
});

describe("a client that did not get the CONNECT behind what it had missed", () => {
  const context = useCluster({ nodes: 2, serverOptions: { connectionStateRecovery: {} } });
  const skip = adapters.upstreamCannot("such a client gets packets twice");

  for (const [what, hasIt] of /** @type {[string, boolean][]} */ ([
    ["starts anew, since it may hold some of the packets", false],
    ["and one that did is recovered", true],
  ])) {
    test(what, { skip }, async () => {
      const { cluster } = context;
      const event = `missed-${hasIt}`;
      const client = await clientWithOffset(cluster, 0);
      const offset = offsetOf(client);
      await cut(cluster, client);
      cluster.io(0).emit(event, 1);
      cluster.io(0).emit(event, 2);
      await Promise.all(cluster.clients.map((other) => other.receives(event, 2)));
      await cluster.reconnect(client, 1);
      await client.receives(event, 2);
      await cut(cluster, client);
      if (!hasIt) {
        // What comes in front of a CONNECT counts as received with the CONNECT.
        /** @type {any} */ (client.socket)._lastOffset = offset;
      }
      await cluster.reconnect(client, 0);
      assert.equal(client.socket.recovered, hasIt);
      cluster.io(1).emit("last");
      await client.receives("last");
      assert.equal(client.received(event).length, 2);
    });
  }
});
