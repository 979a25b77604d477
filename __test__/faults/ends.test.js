// Clients that the server disconnects while what was emitted to them waits for Redis. The differential
// scenarios of the same name show what they get; here many packets wait, and for a long time.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { useRedis, startCluster } = require("../helpers/cluster");
const { SocketClient } = require("../helpers/socket-client");
const { once, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
require("./warnings"); // of the outage

/** More than the places for open tickets. */
const MANY = 9_000;
/** The most that a client is given before its end. */
const MOST = 256;

const context = useRedis();

/** @param {import("node:test").TestContext} t @param {{ transports?: string[], recovery?: object }} [options] */
async function start(t, { transports, recovery } = {}) {
  const cluster = await startCluster(context, {
    nodes: 1,
    clientsPerNode: 0,
    ...(recovery && { serverOptions: { connectionStateRecovery: recovery } }),
  });
  defer(t, () => cluster.close());
  const clients = [];
  for (let i = 0; i < 3; i++) {
    clients.push(await cluster.connect(0, transports && { transports }));
  }
  const pause = () => {
    context.redis.pause();
    defer(t, () => context.redis.resume());
  };
  const gone = (/** @type {any} */ client) => once(client.socket, "disconnect");
  return { io: cluster.io(0), cluster, clients, pause, gone };
}

/** @param {any} client @returns {number[]} */
const numbers = (client) => client.received("n").map((/** @type {any[]} */ [n]) => n);
const sequence = (/** @type {number} */ length) => Array.from({ length }, (_, i) => i);

describe("while packets wait for Redis", () => {
  for (const transports of [["websocket"], ["polling"]]) {
    for (const recovery of [undefined, {}]) {
      const how = `${transports}${recovery ? ", recovery" : ""}`;
      // Breaks when tickets that share a place are left out, or are not in order (`Tickets.open`), and
      // when the others get what one was given early.
      test(`a client that is disconnected gets the last ones in order; others all, once (${how})`, async (t) => {
        const { io, cluster, clients, pause, gone } = await start(t, { transports, recovery });
        const [a, b, c] = clients;
        pause();
        for (let n = 0; n < MANY; n++) {
          io.emit("n", n);
          if (n === MANY / 2) {
            await new Promise((resolve) => setImmediate(resolve));
          }
        }
        const ends = [gone(a), gone(b)];
        cluster.serverSocket(a).disconnect();
        io.to(b.id).emit("n", MANY);
        cluster.serverSocket(b).disconnect(true);
        await Promise.all(ends);
        assert.deepEqual(numbers(a), sequence(MANY).slice(-MOST));
        assert.deepEqual(numbers(b), sequence(MANY + 1).slice(-MOST));
        assert.deepEqual(numbers(c), []);
        context.redis.resume();
        io.to(c.id).emit("n", MANY);
        await waitFor(() => numbers(c).length > MANY, { what: "the packets that waited" });
        assert.deepEqual(numbers(c), sequence(MANY + 1));
      });
    }
  }

  // Breaks when a client without a right to be here gets what was emitted before it came.
  test("a client that is turned away when it connects gets nothing from before", async (t) => {
    const { io, cluster, pause } = await start(t);
    pause();
    io.emit("n", 0);
    io.to("room").emit("n", 1);
    io.on("connection", (socket) => {
      socket.join("room");
      io.to("room").emit("n", 2);
      socket.emit("n", 3);
      socket.disconnect(true);
    });
    const client = new SocketClient(cluster.nodes[0].url);
    await once(client.socket, "disconnect");
    assert.deepEqual(numbers(client).sort(), [2, 3]);
  });

  test("each of many gets what is for it, in whatever order they are disconnected", async (t) => {
    const { io, cluster, clients, pause, gone } = await start(t);
    clients.forEach((client, i) => cluster.serverSocket(client).join([`room ${i}`, "all"]));
    pause();
    const ends = clients.map(gone);
    io.emit("n", 0);
    for (const [i, client] of [...clients.entries()].reverse()) {
      io.to(`room ${i}`).to(client.id).emit("n", 1);
      io.to("all").except(`room ${i}`).emit("not for it");
      io.to(["nobody", "all"]).emit("n", 2);
      cluster.serverSocket(client).disconnect();
    }
    await Promise.all(ends);
    const got = clients.map(({ record }) => record.map((args) => args.join(" ")));
    const others = ["not for it", "n 2"];
    assert.deepEqual(got[2], ["n 0", "n 1", "n 2"]);
    assert.deepEqual(got[1], ["n 0", ...others, "n 1", "n 2"]);
    assert.deepEqual(got[0], ["n 0", ...others, ...others, "n 1", "n 2"]);
  });

  test("what cannot be encoded any more does not keep a client connected", async (t) => {
    const { io, cluster, clients, pause, gone } = await start(t);
    const { encoder } = /** @type {any} */ (io);
    const encode = encoder.encode.bind(encoder);
    encoder.encode = (/** @type {any} */ packet) => {
      if (packet.data?.[0] === "n") {
        throw new Error("not encoded");
      }
      return encode(packet);
    };
    pause();
    const end = gone(clients[0]);
    io.emit("n", 0);
    cluster.serverSocket(clients[0]).disconnect();
    assert.deepEqual((await end)[0], "io server disconnect");
  });
});
