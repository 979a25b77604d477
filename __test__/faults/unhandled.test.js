// Whatever users emit, throw or leave in `socket.data`: nothing comes out as an unhandled rejection or
// an uncaught exception, and the next message is handled.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { startNode } = require("../helpers/node");
const { settle, waitFor, within } = require("../helpers/wait");
const { defer } = require("./defer");
const { takeWarnings, warnings } = require("./warnings");
const { HANDLER, assertAllWorks, context, ioOf, warned } = require("./watched-cluster");

/** A value that no encoding takes, by what is wrong with it. */
function unencodable() {
  /** @type {any} */
  const circular = { name: "circular" };
  circular.self = circular;
  return {
    "a BigInt": 1n,
    "a circular object": circular,
    "a toJSON that throws": {
      toJSON() {
        throw new Error("no JSON of this");
      },
    },
  };
}

/** ms; a client that comes to a closing server is not refused at once. */
const CLOSED_LIMIT = 20_000;

describe("a process lives on when a user", () => {
  // Breaks when encoding fails where nobody can catch it, or leaves something half done.
  for (const what of Object.keys(unencodable())) {
    test(`emits ${what}`, async () => {
      const io = ioOf(0);
      const value = /** @type {any} */ (unencodable())[what];
      assert.throws(() => io.emit("bad", value));
      assert.throws(() => io.emit("bad", Buffer.from("with binary"), { value }));
      assert.throws(() => io.to("room").emit("bad", value));
      assert.throws(() => io.serverSideEmit("bad", value));
      assert.throws(() => io.serverSideEmit("bad", value, () => {}));
      assert.throws(() => io.timeout(100).emit("bad", value, () => {}));
      await assert.rejects(io.timeout(100).emitWithAck("bad", value));
      await assert.rejects(io.serverSideEmitWithAck("bad", value));
      const { requests, ackRequests } = context.cluster.adapter(0);
      assert.equal(requests.size + ackRequests.size, 0, "no request is left open");
      await assertAllWorks();
      assert.ok(context.cluster.clients.every((client) => client.received("bad").length === 0));
    });
  }

  // Breaks when msgpack's refusal of functions is passed on: JSON leaves them out.
  test("emits functions in payloads", async () => {
    const { clients } = context.cluster;
    const payload = () => ({ fn() {}, kept: 1, list: [() => {}, 2], symbol: Symbol("s") });
    const plain = { kept: 1, list: [null, 2] };
    ioOf(0).emit("functions", payload());
    ioOf(0).emit("functions with binary", payload(), Buffer.from([1, 2, 3]));
    for (const client of clients) {
      assert.deepEqual((await client.receives("functions"))[0][0], plain);
      const [[object, binary]] = await client.receives("functions with binary");
      assert.deepEqual([object.kept, object.list[1], "fn" in object], [1, 2, false]);
      assert.deepEqual(Buffer.from(binary), Buffer.from([1, 2, 3]));
    }
    await assertAllWorks();
  });

  // Breaks when only the engine's binding notices, and nobody is told.
  test("emits binary deeper than the stack", async () => {
    /** @type {any} */
    let deep = Buffer.from("deep");
    for (let depth = 0; depth < 100_000; depth++) {
      deep = { deep };
    }
    assert.throws(() => ioOf(0).emit("deep", deep), RangeError);
    await assertAllWorks();
  });

  // Breaks when an answer or a session that cannot be encoded is more than a warning.
  for (const what of ["a function", ...Object.keys(unencodable())]) {
    test(`has ${what} in socket.data`, async (t) => {
      const { cluster } = context;
      const client = await cluster.connect(1);
      defer(t, () => cluster.disconnect(client));
      ioOf(0).emit("anything"); // so that it has an offset
      await client.receives("anything");
      const socket = cluster.serverSocket(client);
      const values = /** @type {any} */ ({ ...unencodable(), "a function": () => {} });
      Object.assign(socket.data, { value: values[what], name: "kept" });
      /** @type {any} */
      const outcome = await ioOf(0)
        .in(client.id)
        .timeout(300)
        .fetchSockets()
        .catch((/** @type {unknown} */ error) => error);
      assert.equal(outcome.length, 1, `the socket is found: ${outcome}`);
      if (what === "a function") {
        assert.deepEqual(outcome[0].data, { name: "kept" });
      } else {
        await warned(HANDLER);
      }
      assert.equal((await ioOf(1).local.in(client.id).fetchSockets()).length, 1);

      takeWarnings();
      await cluster.cut(client);
      if (what !== "a function") {
        await warned(HANDLER);
      }
      await client.reconnect();
      assert.equal(client.socket.recovered, what === "a function");
      delete cluster.serverSocket(client).data.value;
    });
  }

  // Breaks when what a handler throws ends the process, or the batch that it came in.
  test("throws in handlers of serverSideEmit", async (t) => {
    const [sender, receiver] = [ioOf(0), ioOf(1)];
    /** @type {number[]} */
    const handled = [];
    const boom = () => {
      throw new Error("boom");
    };
    receiver.on("boom", boom).on("fine", (/** @type {number} */ i) => handled.push(i));
    defer(t, () => receiver.off("boom", boom).removeAllListeners("fine"));
    for (let i = 0; i < 5; i++) {
      sender.serverSideEmit("boom");
      sender.serverSideEmit("fine", i);
    }
    await waitFor(() => handled.length === 5, { what: "the events behind the throwing ones" });
    assert.deepEqual(handled, [0, 1, 2, 3, 4]);
    await warned(HANDLER);
    assert.ok(warnings.some(({ message }) => message.includes("boom")));
    await assertAllWorks();
  });

  // A request ends with its last answer, with a node that leaves, at once when nobody else is there,
  // with its own node, and with its time-out. Breaks when one of these calls back unguarded.
  describe("throws where the answers of serverSideEmit come in", () => {
    const boom = () => {
      throw new Error("boom");
    };
    const answer = (/** @type {(value: number) => void} */ callback) => callback(1);

    test("with the last answer", async (t) => {
      ioOf(1).on("ask", answer);
      defer(t, () => ioOf(1).off("ask", answer));
      ioOf(0).serverSideEmit("ask", boom);
      await warned(HANDLER);
    });

    test("with a node that leaves", async (t) => {
      const { cluster } = context;
      const node = await cluster.addNode(2);
      defer(t, () => {
        cluster.nodes.length = 2;
        return node.close();
      });
      await waitFor(async () => (await cluster.adapter(0).serverCount()) === 3, {
        what: "the third node",
      });
      ioOf(1).on("ask", answer);
      defer(t, () => ioOf(1).off("ask", answer));
      ioOf(0).serverSideEmit("ask", boom);
      await waitFor(() => [...cluster.adapter(0).requests.values()][0]?.current === 1, {
        what: "the second node's answer",
      });
      await settle();
      assert.deepEqual(warnings, [], "the third node is waited for");
      await cluster.adapter(2).close();
      await warned(HANDLER);
    });

    test("at once", async (t) => {
      const node = await startNode({
        redis: context.redis,
        adapterOptions: { streamName: "alone", channelPrefix: "alone" },
      });
      defer(t, () => node.close());
      // @ts-ignore its types want the events declared
      node.io.serverSideEmit("ask", boom);
      await warned(HANDLER);
    });

    test("with the end of its own node", async (t) => {
      const { cluster } = context;
      const node = await cluster.addNode(2);
      defer(t, () => {
        cluster.nodes.length = 2;
        return node.close();
      });
      await waitFor(async () => (await cluster.adapter(2).serverCount()) === 3, {
        what: "the other nodes",
      });
      // @ts-ignore its types want the events declared
      node.io.serverSideEmit("nobody answers", boom);
      await cluster.adapter(2).close();
      await warned(HANDLER);
    });

    test("with the time-out", async () => {
      ioOf(0).serverSideEmit("nobody answers", boom);
      await warned(HANDLER);
    });
  });

  // Breaks when an answer that cannot be encoded is thrown out of where nobody stands.
  test("answers a serverSideEmit with what cannot be encoded", async (t) => {
    for (const value of Object.values(unencodable())) {
      const answer = (/** @type {(value: any) => void} */ callback) => callback(value);
      ioOf(1).on("ask", answer);
      defer(t, () => ioOf(1).off("ask", answer));
      ioOf(0).serverSideEmit("ask", () => {});
      await warned(HANDLER);
      takeWarnings();
      ioOf(1).off("ask", answer);
    }
  });

  // Breaks when a listener that throws takes the node's own part of the work with it, or the rest
  // of a batch.
  test("throws in listeners of the adapter's events", async (t) => {
    for (const index of [0, 1]) {
      const adapter = context.cluster.adapter(index);
      const boom = (/** @type {string} */ room) => {
        if (room.startsWith("boom")) {
          throw new Error("boom");
        }
      };
      for (const event of ["join-room", "leave-room", "create-room", "delete-room"]) {
        adapter.on(event, boom);
        defer(t, () => adapter.off(event, boom));
      }
    }
    for (let round = 0; round < 3; round++) {
      ioOf(0).socketsJoin("boom");
      ioOf(0).socketsLeave("boom");
      ioOf(0).socketsJoin(`fine:${round}`);
      ioOf(0).to(`fine:${round}`).emit("to the room", round);
      await Promise.all(
        context.cluster.clients.map((client) => client.receives("to the room", round + 1)),
      );
    }
    await warned(HANDLER);
    await assertAllWorks();
  });

  // Breaks when a request whose connection breaks is left to itself.
  test("asks while the connections are cut", async (t) => {
    const { cluster, admin } = context;
    const [io] = [ioOf(0)];
    const client = await cluster.connect(0);
    defer(t, () => cluster.disconnect(client));
    const kill = async () => {
      await admin.command("CLIENT", "KILL", "TYPE", "pubsub");
      await admin.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    };
    const serverSide = [];
    for (let round = 0; round < 8; round++) {
      if (round < 2) {
        serverSide.push(io.serverSideEmitWithAck("nobody answers").catch(() => {}));
      }
      await cluster.cut(client); // its session is kept
      const open = [
        io.timeout(400).fetchSockets(),
        io.timeout(400).emitWithAck("nobody answers"),
        context.cluster.adapter(0).serverCount(),
        kill(),
        client.reconnect(), // its session is asked for
        context.cluster.adapter(1).serverCount(),
        ioOf(1).timeout(400).fetchSockets(),
      ];
      io.emit("anything", round);
      io.socketsJoin(`room:${round}`);
      io.socketsLeave(`room:${round}`);
      io.in("nobody").disconnectSockets();
      io.serverSideEmit("anything");
      await within(Promise.allSettled(open), "all requests to end");
    }
    await within(Promise.all(serverSide), "serverSideEmit to end");
    await waitFor(async () => (await admin.command("PUBSUB", "NUMSUB", "socket.io#/#"))[1] === 2, {
      what: "both nodes to be back",
    });
  });

  // Breaks when what is asked of a closed engine is never answered, or answered by a throw.
  test("asks after close", async () => {
    const { cluster } = context;
    const node = await cluster.addNode(2);
    const adapter = cluster.adapter(2);
    await node.close();
    cluster.nodes.length = 2;
    const { io } = /** @type {any} */ (node);
    const open = {
      fetchSockets: io.timeout(200).fetchSockets(),
      emitWithAck: io.timeout(200).emitWithAck("nobody answers"),
      serverSideEmit: io.serverSideEmitWithAck("nobody answers"),
      serverCount: adapter.serverCount(),
      restoreSession: adapter.restoreSession("0123456789abcdefghij", "1-1"),
      "adapter.close": adapter.close(),
      "io.close": io.close(),
    };
    adapter.persistSession({ pid: "p", sid: "s", rooms: [], data: {} });
    // These reach the other nodes.
    io.emit("anything");
    io.socketsJoin("room");
    io.socketsLeave("room");
    io.in("nobody").disconnectSockets();
    io.serverSideEmit("anything");
    await Promise.all(
      Object.entries(open).map(([what, promise]) =>
        within(
          promise.catch(() => {}),
          what,
          CLOSED_LIMIT,
        ),
      ),
    );
  });
});
