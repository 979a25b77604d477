// What a node publishes in one tick reaches the engine in few calls. Users notice nothing of that: not
// in the order, not if the queue is full, and not if something else comes behind it in the same tick.
//
// Breaks when something overtakes what was gathered, or when it is gathered without room in the queue.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Server } = require("socket.io");
const { Emitter, createAdapter } = require("../..");
const { defer } = require("../faults/defer");
const { useCluster, useRedis } = require("../helpers/cluster");
const { waitFor } = require("../helpers/wait");
const { SyncRedis } = require("./sync-redis");

const KEY = "socket.io";

/** @param {Server} io without an HTTP server */
async function close(io) {
  await Promise.all([...io._nsps.values()].map(({ adapter }) => adapter.close()));
}

describe("in one tick", () => {
  const context = useRedis();

  /** @param {import("node:test").TestContext} t @param {Record<string, any>} [options] */
  async function start(t, options) {
    await context.admin.command("DEL", KEY);
    const adapter = /** @type {any} */ (createAdapter(context.redis.url, options));
    const io = new Server({ adapter });
    defer(t, () => close(io));
    const connected = () => /** @type {any} */ (io.of("/").adapter).stats().connected;
    await waitFor(connected, { what: "the connections" });
    return io;
  }

  /** The namespace, the type and the number in each entry of the stream. */
  async function written() {
    const entries = /** @type {any[]} */ (await context.admin.command("XRANGE", KEY, "-", "+"));
    return entries.map(([, fields]) => {
      const field = (/** @type {string} */ name) => String(fields[fields.indexOf(name) + 1]);
      const text = field("data");
      const data = text.startsWith("{") ? text : Buffer.from(text, "base64").toString("latin1");
      return [field("nsp"), Number(field("type")), Number(/#(\d+)#/.exec(data)?.[1])];
    });
  }

  test("what is published in several namespaces and ways keeps its order", async (t) => {
    const io = await start(t);
    /** @type {[string, number, number][]} */
    const expected = [];
    let number = 0;
    const emit = (/** @type {string} */ nsp, /** @type {any[]} */ ...args) => {
      io.of(nsp)
        .to("room")
        .emit("hello", `#${number}#`, ...args);
      expected.push([nsp, 3, number++]);
    };
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 40; i++) {
        emit("/");
      }
      for (let i = 0; i < 3; i++) {
        emit("/a");
        emit("/", "x".repeat(10_000));
        emit("/", "line\nbreak \u2028 \ud800 é");
        emit("/", Buffer.from("bytes"));
        io.of("/a").in("room").socketsJoin(`#${number}#`);
        expected.push(["/a", 4, number++]);
        emit("/a");
      }
    }
    await waitFor(async () => (await written()).length === expected.length, { what: "all" });
    assert.deepEqual(await written(), expected);
  });

  test("what does not fit in the queue is delivered here at once", async (t) => {
    const io = await start(t, { publishQueueBytes: 3_000_000 });
    const nsp = io.of("/");
    let delivered = 0;
    const client = { writeToEngine: () => delivered++ };
    const socket = /** @type {any} */ ({ id: "s", client, notifyOutgoingListeners() {} });
    nsp.sockets.set("s", socket);
    defer(t, () => void nsp.sockets.delete("s"));
    nsp.adapter.addAll("s", new Set(["s"]));
    const { stats } = /** @type {any} */ (nsp.adapter);
    await context.admin.command("CLIENT", "PAUSE", 60_000, "WRITE");
    try {
      for (let i = 0; i < 5_000; i++) {
        nsp.emit("hello", "é".repeat(4_000));
      }
      const { failed, queueLength } = stats.call(nsp.adapter);
      assert.ok(failed > 1_000, `${failed} failed`);
      assert.equal(delivered, failed);
      assert.equal(queueLength, 5_000 - failed);
    } finally {
      await context.admin.command("CLIENT", "UNPAUSE");
    }
  });

  test("a close comes behind it", async (t) => {
    const io = await start(t);
    for (let i = 0; i < 10; i++) {
      io.emit("hello", `#${i}#`);
    }
    await close(io);
    assert.equal((await written()).length, 10);
  });

  test("a flush of an emitter waits for it", async (t) => {
    await context.admin.command("DEL", KEY);
    const emitter = new Emitter(context.redis.url);
    defer(t, () => emitter.close());
    for (let i = 0; i < 10; i++) {
      emitter.emit("hello", `#${i}#`);
    }
    const { queueLength, published } = emitter.stats();
    assert.equal(queueLength + published, 10);
    await emitter.flush();
    assert.equal((await written()).length, 10);
  });

  test("the first leaves although the tick goes on", async (t) => {
    const io = await start(t);
    const connection = new SyncRedis(context.redis);
    defer(t, () => connection.close());
    io.emit("hello");
    connection.blockUntil(() => connection.transaction([["XLEN", KEY]])[0] === 1);
  });
});

describe("a request of the same tick", () => {
  const context = useCluster({ nodes: 2, clientsPerNode: 1 });

  test("finds what the changes of rooms before it have made", async () => {
    const { cluster } = context;
    const [client] = cluster.clientsOf(1);
    const io = cluster.io(0);
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 10; i++) {
        io.in(client.id).socketsJoin(`${round} ${i}`);
      }
      assert.equal((await io.in(`${round} 9`).fetchSockets()).length, 1, `round ${round}`);
    }
  });
});
