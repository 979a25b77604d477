// What a node emits to a room is for those who are in it when the packet's turn comes, as with
// upstream, also where the engine has read the packet back before they were: in a middleware
// `socket.emit()` comes before the socket joins its room, and with connection state recovery it takes
// its way through Redis.
//
// Breaks when a packet that found nobody in Rust is not looked at again in JS.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");

describe("a packet for a socket that joins later in the same tick", () => {
  const context = useCluster({
    nodes: 2,
    clientsPerNode: 0,
    serverOptions: { connectionStateRecovery: {} },
  });

  const position = () => context.cluster.adapter(0).stats().position;

  /**
   * Runs what publishes, and keeps the event loop from everything else until the engine has read it.
   *
   * @param {() => void} publish
   */
  function untilReadBack(publish) {
    const before = position();
    publish();
    while (position() === before) {
      // The engine has threads of its own.
    }
  }

  /** @type {[string, any[]][]} */
  const payloads = [
    ["text", ["hello"]],
    ["binary", [Buffer.from("hello")]],
  ];
  for (const [kind, args] of payloads) {
    test(`is delivered when a middleware emits ${kind}`, async () => {
      const { cluster } = context;
      const nsp = cluster.io(0).of("/");
      nsp.use((socket, next) => {
        untilReadBack(() => socket.emit("session", ...args));
        next();
      });
      try {
        const client = await cluster.connect(0);
        cluster.io(0).to(client.id).emit("last");
        await client.receives("last");
        const received = client.record.map(([event, payload]) => [event, payload]);
        assert.deepEqual(received[0], ["session", ...args]);
        assert.deepEqual(
          received.map(([event]) => event),
          ["session", "last"],
        );
        client.disconnect();
      } finally {
        /** @type {any} */ (nsp)._fns.length = 0;
      }
    });
  }

  test("is delivered to a room that a socket joins", async () => {
    const { cluster } = context;
    const client = await cluster.connect(0);
    untilReadBack(() => cluster.io(0).to("late").emit("to the room"));
    await cluster.serverSocket(client).join("late");
    await client.receives("to the room");
    client.disconnect();
  });

  test("is sent as it was emitted, behind a join of the same tick", async () => {
    const { cluster } = context;
    const client = await cluster.connect(0);
    const data = { number: 1 };
    untilReadBack(() => cluster.io(0).in(client.id).socketsJoin("joined"));
    untilReadBack(() => cluster.io(0).to("joined").emit("an object", data));
    data.number = 2;
    await client.receives("an object");
    assert.deepEqual(
      client.record.map(([, payload]) => payload),
      [{ number: 1 }],
    );
    client.disconnect();
  });

  test("is still for nobody where nobody joins", async () => {
    const { cluster } = context;
    const [member, outsider] = await Promise.all([cluster.connect(0), cluster.connect(0)]);
    untilReadBack(() => cluster.io(0).to("empty").emit("for nobody"));
    await cluster.serverSocket(member).join("another");
    cluster.io(0).emit("last");
    for (const client of [member, outsider]) {
      await client.receives("last");
      assert.deepEqual(client.received("for nobody"), []);
      client.disconnect();
    }
  });
});
