// Listeners of the user's: what they are given, and what those that throw keep from others.

"use strict";

const assert = require("node:assert/strict");
const { AsyncLocalStorage } = require("node:async_hooks");
const { describe, test } = require("node:test");
const parser = require("socket.io-parser");
const { useCluster } = require("../helpers/cluster");
const { clientWithOffset, cut } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");

const context = useCluster({ nodes: 2, clientsPerNode: 2 });

/** @param {import("node:test").TestContext} t */
function warnings(t) {
  /** @type {Error[]} */
  const seen = [];
  const add = (/** @type {Error} */ warning) => seen.push(warning);
  process.on("warning", add);
  t.after(() => void process.off("warning", add));
  return seen;
}

/** @type {Error[]} */
const allWarnings = [];
process.on("warning", (warning) => allWarnings.push(warning));
const ofOutgoing = () => allWarnings.filter(({ message }) => message.includes("outgoing packets"));

/** @type {Record<string, object>} */
const PARSERS = {
  "the engine's encoder": {},
  "a parser of the user's": { parser: { ...parser } },
};

for (const [name, serverOptions] of Object.entries(PARSERS)) {
  describe(`an outgoing listener that throws, with ${name}`, () => {
    const context = useCluster({
      nodes: 2,
      clientsPerNode: 2,
      serverOptions: { connectionStateRecovery: { skipMiddlewares: false }, ...serverOptions },
      setup: (io) =>
        io.use((socket, next) => {
          socket.onAnyOutgoing((event) => {
            if (event === "missed") {
              throw new Error("a bug in a listener");
            }
          });
          next();
        }),
    });

    test("keeps no packet from anyone, and floods no log", async () => {
      const { cluster } = context;
      const before = ofOutgoing().length;
      const socket = cluster.serverSocket(cluster.clients[0]);
      socket.onAnyOutgoing(() => {
        throw new Error("a bug in a listener");
      });
      for (let i = 0; i < 300; i++) {
        cluster.io(i % 2).emit("to all", i);
      }
      cluster.io(0).local.emit("to all", 300);
      const counts = [301, 301, 300, 300];
      await Promise.all(cluster.clients.map((client, i) => client.receives("to all", counts[i])));
      socket.offAnyOutgoing();
      // The limit is for the process, and the other group may have reached it.
      await waitFor(() => ofOutgoing().length > 0, { what: "a warning" });
      const count = ofOutgoing().length - before;
      assert.ok(count <= 10, `${count} warnings`);
    });

    test("keeps no packet from a client that is recovered", async () => {
      const { cluster } = context;
      const client = await clientWithOffset(cluster, 0);
      await cut(cluster, client);
      cluster.io(1).emit("missed");
      await cluster.reconnect(client, 0);
      assert.equal(client.socket.recovered, true);
      await client.receives("missed");
      await cluster.disconnect(client);
    });
  });
}

test("an outgoing listener on the emitting node gets the values that were emitted", async () => {
  const { cluster } = context;
  class Point {
    x = 1;
  }
  const args = [new Date(0), new Point(), { undefined: undefined }, Buffer.from("x")];
  /** @type {any[]} */
  let heard = [];
  const socket = cluster.serverSocket(cluster.clients[0]);
  socket.onAnyOutgoing((...got) => (heard = got));
  cluster.io(0).emit("original", ...args);
  await cluster.clients[0].receives("original");
  socket.offAnyOutgoing();
  assert.equal(heard[0], "original");
  args.forEach((arg, i) => assert.equal(heard[i + 1], arg));
});

test("more than ten attachments, with an outgoing listener", async () => {
  const { cluster } = context;
  const many = Array.from({ length: 12 }, (_, i) => Buffer.from([i]));
  /** @type {any[]} */
  let heard = [];
  const socket = cluster.serverSocket(cluster.clients[0]);
  socket.onAnyOutgoing((...got) => (heard = got));
  // The clients' parser refuses them, which is its right: they are told by what the server heard.
  cluster.io(1).to(cluster.clients[0].id).emit("many", many);
  await waitFor(() => heard.length > 0, { what: "the packet at the listener" });
  socket.offAnyOutgoing();
  assert.equal(heard[1].length, 12);
});

test("a RangeError of a handler is warned of, and no malformed input", async (t) => {
  const { cluster } = context;
  const seen = warnings(t);
  const { malformed } = cluster.adapter(0).stats();
  // @ts-ignore not an event that a namespace is known to emit
  cluster.io(0).once("tick", (when) => new Date(when).toISOString());
  cluster.io(1).serverSideEmit("tick", "not a date");
  await waitFor(() => seen.some(({ message }) => message.includes("Invalid time value")), {
    what: "the warning",
  });
  assert.equal(cluster.adapter(0).stats().malformed, malformed);
});

test("a `loss` listener that throws keeps the event from no other", async () => {
  const { admin, cluster } = context;
  let heard = 0;
  cluster.adapter(0).once("loss", () => {
    throw new Error("a bug in a listener");
  });
  cluster.adapter(0).once("loss", () => heard++);
  await admin.command("DEL", "socket.io");
  await waitFor(() => heard > 0, { what: "the event" });
});

test("handlers of joins and disconnects have the AsyncLocalStorage of the call", async () => {
  const { cluster } = context;
  const storage = new AsyncLocalStorage();
  /** @type {any[]} */
  const stores = [];
  const client = await cluster.connect(0);
  cluster.adapter(0).once("join-room", () => stores.push(storage.getStore()));
  cluster.serverSocket(client).once("disconnect", () => stores.push(storage.getStore()));
  storage.run("join", () => cluster.io(0).in(client.id).socketsJoin("a room"));
  storage.run("disconnect", () => cluster.io(0).in(client.id).disconnectSockets());
  await waitFor(() => stores.length === 2, { what: "both handlers" });
  assert.deepEqual(stores, ["join", "disconnect"]);
});

test("listeners for outgoing packets have the AsyncLocalStorage of the emit", async () => {
  const { cluster } = context;
  const storage = new AsyncLocalStorage();
  /** @type {any[]} */
  const heard = [];
  const client = await cluster.connect(0);
  cluster.serverSocket(client).onAnyOutgoing((name) => heard.push([name, storage.getStore()]));
  storage.run("first", () => cluster.io(0).to(client.id).emit("to a member", 1));
  storage.run("second", () => {
    cluster.io(0).in(client.id).socketsJoin("a new room");
    cluster.io(0).to("a new room").emit("behind a join", 2);
  });
  await client.receives("behind a join", 1);
  assert.deepEqual(heard, [
    ["to a member", "first"],
    ["behind a join", "second"],
  ]);
});
