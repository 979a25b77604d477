// The emitter: what it sends, from a process that is no server, reaches the clients and the servers of
// every kind of cluster.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { createRedisClient } = require("../helpers/clients");
const { useCluster } = require("../helpers/cluster");
const { ADAPTER_OPTIONS } = require("../helpers/configuration");
const { assertReceivers, deliveries, flushed } = require("../helpers/delivery");
const { admit } = require("../helpers/redis-setup");
const { once, waitFor } = require("../helpers/wait");
const { decodeData, lastEntryId, messagesAfter, streamOf } = require("../helpers/wire");

const { Emitter } = require("../..");

/** @typedef {import("../helpers/cluster").Cluster} Cluster */

const NODES = [0, 1, 2];
const bytes = Buffer.from([0, 1, 2, 127, 128, 255]);

/**
 * A cluster, and an emitter beside it.
 *
 * @param {import("../helpers/cluster").ClusterOptions} [options]
 */
function useEmitter(options) {
  /** @type {import("../helpers/clients").Handle} */
  let handle;
  // Before the cluster's own, which wait for all connections to be gone.
  after(async () => {
    await context.emitter?.close();
    await handle?.close();
  });
  const context = Object.assign(useCluster(options), {
    emitter: /** @type {any} */ (undefined),
    /** What the emitter is made with. */
    args: /** @type {[any, any]} */ ([undefined, undefined]),
  });
  before(async () => {
    const adapterOptions = { ...ADAPTER_OPTIONS, ...options?.adapterOptions };
    const redis = await admit(context.redis, context.admin, adapterOptions);
    handle = await createRedisClient(redis);
    context.args = [handle.adapterArgument, adapterOptions];
    context.emitter = new Emitter(handle.adapterArgument, adapterOptions);
  });
  return context;
}

/** Waits until no client is busy: a volatile packet is not kept for one that is. @param {Cluster} cluster */
async function idle(cluster) {
  const isIdle = (/** @type {any} */ { conn }) => conn.transport.writable;
  await waitFor(() => cluster.clients.every((client) => isIdle(cluster.serverSocket(client))));
}

describe("what it sends", () => {
  const context = useEmitter({
    clientsPerNode: 2,
    namespaces: ["/", "/chat"],
    setup: (io) => void io.of("/chat"),
    async prepare(cluster) {
      for (const node of NODES) {
        cluster.clients.push(await cluster.connect(node, { nsp: "/chat" }));
      }
    },
  });

  /** @param {string} nsp */
  const clientsIn = (nsp) => context.cluster.clients.filter((client) => client.nsp === nsp);

  /**
   * @param {() => unknown} send
   * @param {import("../helpers/socket-client").SocketClient[]} receivers
   * @param {any[]} packet
   */
  const assertGet = (send, receivers, packet) =>
    assertReceivers(context.cluster, context.emitter, send, receivers, packet);

  let rooms = 0;
  /** A new room. @param {import("../helpers/socket-client").SocketClient[]} members */
  function roomOf(...members) {
    const room = `room ${rooms++}`;
    members.forEach((client) => context.cluster.serverSocket(client).join(room));
    return room;
  }

  /**
   * The first entry that `send` writes to a namespace's stream.
   *
   * @param {string} nsp
   * @param {() => Promise<unknown>} send
   * @returns {Promise<{ uid: string, nsp: string, type: string, data: any }>}
   */
  async function written(nsp, send) {
    const stream = streamOf(nsp);
    const before = await lastEntryId(context.admin, stream);
    await send();
    const [{ fields }] = await messagesAfter(context.admin, stream, before);
    return /** @type {any} */ ({ ...fields, data: decodeData(fields.data) });
  }

  test("text reaches every client of the namespace", async () => {
    const { emitter } = context;
    const payload = [1, "é👍", null, { a: [true, { b: "c" }] }];
    await assertGet(() => assert.equal(emitter.emit("hello", ...payload), true), clientsIn("/"), [
      "hello",
      ...payload,
    ]);
    await assertGet(() => emitter.emit("bare"), clientsIn("/"), ["bare"]);
  });

  test("binary reaches every client of the namespace", async () => {
    const payload = [bytes, { deep: [new Uint8Array(bytes)] }, "é"];
    await assertGet(() => context.emitter.emit("hello", ...payload), clientsIn("/"), [
      "hello",
      bytes,
      { deep: [bytes] },
      "é",
    ]);
  });

  test("rooms: one, several, in a chain, by the ID of a socket", async () => {
    const { emitter } = context;
    const [a, b, c, d] = clientsIn("/");
    const [one, other] = [roomOf(a, b), roomOf(b, c)];
    await assertGet(() => emitter.to(one).emit("hi"), [a, b], ["hi"]);
    await assertGet(() => emitter.in(one).emit("hi"), [a, b], ["hi"]);
    await assertGet(() => emitter.to([one, other]).emit("hi"), [a, b, c], ["hi"]);
    await assertGet(() => emitter.to(one).in(other).emit("hi"), [a, b, c], ["hi"]);
    await assertGet(() => emitter.to(d.id).emit("hi"), [d], ["hi"]);
    await assertGet(() => emitter.to("nobody's").emit("hi"), [], ["hi"]);
  });

  test("excepted rooms", async () => {
    const { emitter } = context;
    const [a, b, c, ...others] = clientsIn("/");
    const [one, other] = [roomOf(a, b), roomOf(b, c)];
    await assertGet(() => emitter.except(one).emit("hi"), [c, ...others], ["hi"]);
    await assertGet(() => emitter.except([one, other]).emit("hi"), others, ["hi"]);
    await assertGet(() => emitter.to(one).except(other).emit("hi"), [a], ["hi"]);
    await assertGet(() => emitter.except(one).except(c.id).emit("hi"), others, ["hi"]);
  });

  // Breaks when a link of a chain changes the one before it.
  test("an operator can be used again, and does not change", async () => {
    const { emitter } = context;
    const [a, b] = clientsIn("/");
    const [one, other] = [roomOf(a), roomOf(b)];
    const operator = emitter.to(one);
    operator.to(other);
    operator.except(one);
    assert.notEqual(operator.volatile, operator);
    await assertGet(() => operator.emit("hi"), [a], ["hi"]);
    await assertGet(() => operator.emit("again"), [a], ["again"]);
    await assertGet(() => emitter.emit("all"), clientsIn("/"), ["all"]);
  });

  test("namespaces, with and without the slash", async () => {
    const { emitter, args } = context;
    const named = new Emitter(...args, "chat");
    for (const chat of [emitter.of("/chat"), emitter.of("chat"), named]) {
      await assertGet(
        async () => {
          chat.emit("hi", 1);
          await chat.flush();
        },
        clientsIn("/chat"),
        ["hi", 1],
      );
    }
    await named.close();
    const [member] = clientsIn("/chat");
    const room = roomOf(member);
    await assertGet(() => emitter.of("/chat").to(room).emit("hi"), [member], ["hi"]);
    await assertGet(() => emitter.of("/chat").of("/").emit("hi"), clientsIn("/"), ["hi"]);
  });

  test("the flags stand in the entry, and the packet arrives", async () => {
    const { emitter } = context;
    /** @type {[any, object][]} */
    const chosen = [
      [emitter.volatile, { volatile: true }],
      [emitter.compress(false), { compress: false }],
      [emitter.compress(true).volatile.to([]), { compress: true, volatile: true }],
      [emitter.compress(true).compress(false), { compress: false }],
      [emitter.to([]), {}],
    ];
    for (const [operator, flags] of chosen) {
      await idle(context.cluster);
      const { uid, type, nsp, data } = await written("/", () =>
        assertGet(() => operator.emit("hi", 1), clientsIn("/"), ["hi", 1]),
      );
      assert.deepEqual({ uid, type, nsp }, { uid: "emitter", type: "3", nsp: "/" });
      assert.deepEqual(data, {
        packet: { type: 2, data: ["hi", 1], nsp: "/" },
        opts: { rooms: [], except: [], flags },
      });
    }
  });

  test("sockets join and leave rooms, before the packets behind", async () => {
    const { cluster, emitter } = context;
    const [a, b, c, ...others] = clientsIn("/");
    const room = `joined ${rooms++}`;
    const both = roomOf(b, c);
    await assertGet(
      () => {
        emitter.in([a.id, both]).except(c.id).socketsJoin(room);
        emitter.to(room).emit("hi");
      },
      [a, b],
      ["hi"],
    );
    await assertGet(
      () => {
        emitter.in(a.id).socketsLeave([room, "another"]);
        emitter.to(room).emit("hi");
      },
      [b],
      ["hi"],
    );
    await assertGet(
      () => {
        emitter.socketsJoin([room, "another"]);
        emitter.to("another").except(a.id).emit("hi");
      },
      [b, c, ...others],
      ["hi"],
    );
    emitter.socketsLeave([room, "another"]);
    await flushed(cluster, emitter);
    for (const client of cluster.clients) {
      assert.ok(!cluster.serverSocket(client).rooms.has(room));
    }
  });

  test("sockets are disconnected, with their connections where that is asked for", async () => {
    const { cluster, emitter } = context;
    for (const close of [undefined, false, true]) {
      const gone = await Promise.all(NODES.map((node) => cluster.connect(node, { nsp: "/chat" })));
      const room = roomOf(...gone);
      const reasons = gone.map(({ socket }) => once(socket, "disconnect"));
      const { type, data } = await written("/chat", async () => {
        emitter.of("/chat").in(room).disconnectSockets(close);
        for (const [reason] of await Promise.all(reasons)) {
          assert.equal(reason, "io server disconnect");
        }
      });
      assert.deepEqual({ type, close: data.close }, { type: "6", close: close === true });
    }
    await flushed(cluster, emitter);
    assert.ok(cluster.clients.every(({ socket }) => socket.connected));
  });

  test("each server gets an event for servers once, with its arguments, in order", async () => {
    const { cluster, emitter } = context;
    /** @type {any[][][]} */
    const got = NODES.map(() => []);
    for (const [nsp, name] of [
      ["/", "news"],
      ["/chat", "chat news"],
    ]) {
      NODES.forEach((node) => {
        const namespace = /** @type {any} */ (cluster.io(node).of(nsp));
        namespace.on(name, (/** @type {any[]} */ ...args) => got[node].push([name, ...args]));
      });
    }
    assert.equal(emitter.serverSideEmit("news", 1, { a: "é" }, bytes), true);
    emitter.serverSideEmit("news");
    emitter.of("/chat").serverSideEmit("chat news", "x");
    await flushed(cluster, emitter); // for clients that have it, in both namespaces
    const expected = [["news", 1, { a: "é" }, bytes], ["news"], ["chat news", "x"]];
    assert.deepEqual(
      got.map((events) => events.map((event) => event.map(asBuffer))),
      NODES.map(() => expected),
    );
  });
});

/** Upstream hands servers binary as Uint8Array. @param {any} value */
function asBuffer(value) {
  return value instanceof Uint8Array ? Buffer.from(value) : value;
}

describe("with connection state recovery", () => {
  const context = useEmitter({ serverOptions: { connectionStateRecovery: {} } });

  // Breaks when the flag is lost on the way. An offset is what a client comes back with.
  test("packets carry their offset, volatile ones do not", async () => {
    const { cluster, emitter } = context;
    for (const [[event, number, offset], ...others] of await deliveries(cluster, emitter, () =>
      emitter.emit("lasting", 1),
    )) {
      assert.deepEqual([event, number, others], ["lasting", 1, []]);
      assert.match(offset, /^\d+-\d+$/);
    }
    await idle(cluster);
    for (const packets of await deliveries(cluster, emitter, () =>
      emitter.volatile.emit("volatile", 1),
    )) {
      assert.deepEqual(packets, [["volatile", 1]]);
    }
  });

  test("a client that comes back is sent what the emitter has emitted meanwhile", async () => {
    const { cluster, emitter } = context;
    const [client, ...others] = cluster.clients;
    await flushed(cluster, emitter);
    await cluster.cut(client);
    emitter.emit("missed", 1);
    emitter.to(client.id).emit("missed", 2);
    emitter.to("elsewhere").emit("missed", 3);
    await deliveries(cluster, emitter, () => {}, { clients: others });
    await cluster.reconnect(client, 1);
    assert.equal(client.socket.recovered, true);
    const missed = await client.receives("missed", 2);
    assert.deepEqual(
      missed.map(([number]) => number),
      [1, 2],
    );
  });
});

describe("many packets", () => {
  const COUNT = 10_000;
  const context = useEmitter({ adapterOptions: { maxLen: 10 * COUNT } });

  test(`${COUNT} of them arrive in their order, at each client once`, async () => {
    const { cluster, emitter } = context;
    for (let i = 0; i < COUNT; i++) {
      emitter.emit("numbered", i);
    }
    const received = () => cluster.clients.map((client) => client.record.length);
    await waitFor(() => received().every((count) => count >= COUNT), {
      timeout: 20_000,
      what: () => `${COUNT} packets at each client, not ${received()}`,
    });
    await flushed(cluster, emitter);
    const numbers = Array.from({ length: COUNT }, (_, i) => i);
    for (const client of cluster.clients) {
      assert.deepEqual(client.received("numbered").flat(), numbers);
    }
    const { published, failed, queueLength, queueBytes } = emitter.stats();
    assert.ok(published >= COUNT);
    assert.deepEqual(
      { failed, queueLength, queueBytes },
      { failed: 0, queueLength: 0, queueBytes: 0 },
    );
  });
});
