// The entries of the stream, as nodes with other versions read and write them.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { assertReceivers, deliveries, flushed } = require("../helpers/delivery");
const { once, waitFor } = require("../helpers/wait");
const {
  MessageType,
  addEntry,
  decode,
  decodeData,
  encodeBinary,
  entriesAfter,
  lastEntryId,
  messagesAfter,
  streamOf,
  toBuffer,
} = require("../helpers/wire");

const NODES = [0, 1, 2];
const STREAM = streamOf("/");
const ADAPTER_CLOSE = 13;
const bytes = Buffer.from([0, 127, 128, 255]);

const context = useCluster({
  clientsPerNode: 2,
  namespaces: ["/", "/chat"],
  setup: (io) => io.of("/chat"),
});

describe("entries that nodes write", () => {
  for (const sender of NODES) {
    describe(`node ${sender} (${adapters.kindOf(sender)})`, () => {
      /**
       * The one entry that `send` writes, with its data decoded.
       *
       * @param {() => unknown} send
       * @param {string} [nsp]
       */
      async function entryOf(send, nsp = "/") {
        const { admin, cluster } = context;
        const stream = streamOf(nsp);
        const before = await lastEntryId(admin, stream);
        send();
        /** @type {import("../helpers/wire").Entry[]} */
        let entries = [];
        await waitFor(
          async () => {
            entries = await messagesAfter(admin, stream, before);
            return entries.length > 0;
          },
          { what: "an entry" },
        );
        const [entry, ...others] = entries;
        assert.deepEqual(others, []);
        const { uid, type, data } = entry.fields;
        assert.equal(uid, cluster.adapter(sender, nsp).uid);
        assert.match(uid, /^[0-9a-f]{16}$/);
        assert.equal(entry.fields.nsp, nsp);
        return { type: Number(type), raw: data, data: decodeData(data), rawType: type };
      }

      test("a broadcast", async () => {
        const { type, rawType, raw, data } = await entryOf(() =>
          context.cluster.io(sender).emit("hello", { a: [1, "é", null] }),
        );
        assert.equal(type, MessageType.BROADCAST);
        assert.equal(rawType, "3");
        assert.equal(raw[0], "{");
        assert.deepEqual(data.opts.rooms, []);
        assert.deepEqual(data.opts.except, []);
        assert.equal(data.packet.type, 2);
        assert.deepEqual(data.packet.data, ["hello", { a: [1, "é", null] }]);
        assert.ok(data.packet.nsp === undefined || data.packet.nsp === "/");
        assert.equal("requestId" in data, false);
        await flushed(context.cluster, sender);
      });

      test("a broadcast with rooms, except and flags, in a namespace", async () => {
        const { type, data } = await entryOf(
          () =>
            context.cluster
              .io(sender)
              .of("/chat")
              .to(["r1", "r2"])
              .except(["x1", "x2"])
              .volatile.compress(false)
              .emit("hello"),
          "/chat",
        );
        assert.equal(type, MessageType.BROADCAST);
        assert.deepEqual(data.opts, {
          rooms: ["r1", "r2"],
          except: ["x1", "x2"],
          flags: { volatile: true, compress: false },
        });
        assert.deepEqual(data.packet.data, ["hello"]);
      });

      test("a broadcast of a socket leaves the socket out", async () => {
        const { cluster } = context;
        const [own] = cluster.clientsOf(sender);
        const { data } = await entryOf(() => cluster.serverSocket(own).broadcast.emit("hello"));
        assert.deepEqual(data.opts.except, [own.id]);
        await flushed(cluster, sender);
      });

      test("a broadcast with binary is base64 of msgpack", async () => {
        const { type, raw, data } = await entryOf(() =>
          context.cluster.io(sender).emit("hello", bytes, { deep: [new Uint8Array(bytes)] }, "é"),
        );
        assert.equal(type, MessageType.BROADCAST);
        assert.match(raw, /^[A-Za-z0-9+/]+=*$/);
        assert.deepEqual(
          Object.keys(/** @type {any} */ (decode(Buffer.from(raw, "base64")))).sort(),
          ["opts", "packet"],
        );
        const [event, first, second, third] = data.packet.data;
        assert.equal(event, "hello");
        assert.deepEqual(toBuffer(first), bytes);
        assert.deepEqual(toBuffer(second.deep[0]), bytes);
        assert.equal(third, "é");
        assert.deepEqual(data.opts.rooms, []);
        assert.deepEqual(data.opts.except, []);
        await flushed(context.cluster, sender);
      });

      test("socketsJoin and socketsLeave", async () => {
        const joined = await entryOf(() =>
          context.cluster.io(sender).in("r1").except("x1").socketsJoin(["a", "b"]),
        );
        assert.equal(joined.type, MessageType.SOCKETS_JOIN);
        assert.deepEqual(joined.data.rooms, ["a", "b"]);
        assert.deepEqual(joined.data.opts.rooms, ["r1"]);
        assert.deepEqual(joined.data.opts.except, ["x1"]);
        const left = await entryOf(() => context.cluster.io(sender).in("r1").socketsLeave("a"));
        assert.equal(left.type, MessageType.SOCKETS_LEAVE);
        assert.deepEqual(left.data.rooms, ["a"]);
        assert.deepEqual(left.data.opts.rooms, ["r1"]);
      });

      test("disconnectSockets", async () => {
        for (const close of [true, false]) {
          const { type, data } = await entryOf(() =>
            context.cluster.io(sender).in("nobody").disconnectSockets(close),
          );
          assert.equal(type, MessageType.DISCONNECT_SOCKETS);
          assert.equal(data.close, close);
          assert.deepEqual(data.opts.rooms, ["nobody"]);
          assert.deepEqual(data.opts.except, []);
        }
      });
    });
  }
});

describe("entries that others write", () => {
  const opts = { rooms: [], except: [], flags: {} };

  /**
   * An entry of a node that is not in this process.
   *
   * @param {number} type
   * @param {unknown} data
   * @param {{ uid?: string, nsp?: string, binary?: boolean, more?: Record<string, string> }} [options]
   */
  function add(type, data, { uid = "00c0ffee00c0ffee", nsp = "/", binary = false, more } = {}) {
    return addEntry(context.admin, STREAM, {
      uid,
      nsp,
      type,
      data: binary ? encodeBinary(data) : JSON.stringify(data),
      ...more,
    });
  }

  // the emitter package writes the same entries with a uid that is no node's
  for (const [writer, uid] of /** @type {const} */ ([
    ["another node", "00c0ffee00c0ffee"],
    ["the emitter", "emitter"],
  ])) {
    describe(`by ${writer}`, () => {
      test("a broadcast, as JSON and as msgpack", async () => {
        const { cluster } = context;
        for (const binary of [false, true]) {
          const data = { opts, packet: { type: 2, data: ["hello", { é: [1] }], nsp: "/" } };
          await assertReceivers(
            cluster,
            0,
            () => add(MessageType.BROADCAST, data, { uid, binary }),
            cluster.clients,
            ["hello", { é: [1] }],
          );
        }
      });

      test("a broadcast with binary", async () => {
        const { cluster } = context;
        const data = { opts, packet: { type: 2, data: ["hello", bytes, [{ bytes }]], nsp: "/" } };
        await assertReceivers(
          cluster,
          1,
          () => add(MessageType.BROADCAST, data, { uid, binary: true }),
          cluster.clients,
          ["hello", bytes, [{ bytes }]],
        );
      });

      test("a broadcast without nsp in its packet, and without flags", async () => {
        const { cluster } = context;
        const data = { opts: { rooms: [], except: [] }, packet: { type: 2, data: ["hello"] } };
        await assertReceivers(
          cluster,
          2,
          () => add(MessageType.BROADCAST, data, { uid }),
          cluster.clients,
          ["hello"],
        );
      });

      test("a broadcast with rooms and except", async () => {
        const { cluster } = context;
        const [a, b, c, , e] = cluster.clients;
        const room = `room of ${uid}`;
        [a, b, c, e].forEach((client) => cluster.serverSocket(client).join(room));
        const data = {
          opts: { rooms: [room], except: [b.id], flags: { compress: true } },
          packet: { type: 2, data: ["hello"], nsp: "/" },
        };
        await assertReceivers(
          cluster,
          0,
          () => add(MessageType.BROADCAST, data, { uid }),
          [a, c, e],
          ["hello"],
        );
      });

      test("a broadcast in another namespace", async () => {
        const { cluster } = context;
        const clients = [
          ...cluster.clients,
          ...(await Promise.all(NODES.map((node) => cluster.connect(node, { nsp: "/chat" })))),
        ];
        const data = { opts, packet: { type: 2, data: ["hello"], nsp: "/chat" } };
        await assertReceivers(
          cluster,
          0,
          () => add(MessageType.BROADCAST, data, { uid, nsp: "/chat" }),
          clients.slice(6),
          ["hello"],
          { clients },
        );
        await Promise.all(clients.slice(6).map((client) => cluster.disconnect(client)));
      });

      test("further fields, and fields in another order", async () => {
        const { admin, cluster } = context;
        const data = JSON.stringify({ opts, packet: { type: 2, data: ["hello"] }, extra: 1 });
        await assertReceivers(
          cluster,
          0,
          () => addEntry(admin, STREAM, { x: "y", data, type: 3, "": "", nsp: "/", uid }),
          cluster.clients,
          ["hello"],
        );
      });

      test("socketsJoin and socketsLeave", async () => {
        const { cluster } = context;
        const room = `joined by ${uid}`;
        const members = () =>
          cluster.clients.filter((client) => cluster.serverSocket(client).rooms.has(room));
        await add(MessageType.SOCKETS_JOIN, { opts, rooms: [room] }, { uid });
        await flushed(cluster, 0);
        assert.equal(members().length, cluster.clients.length);
        const some = { ...opts, rooms: [cluster.clients[0].id, cluster.clients[3].id] };
        await add(MessageType.SOCKETS_LEAVE, { opts: some, rooms: [room] }, { uid });
        await flushed(cluster, 0);
        const expected = cluster.clients.filter((_, i) => i !== 0 && i !== 3);
        assert.deepEqual(
          members().map(({ id }) => id),
          expected.map(({ id }) => id),
        );
      });

      test("a socketsJoin and an emit behind it", async () => {
        const { cluster } = context;
        const room = `joined at once by ${uid}`;
        await assertReceivers(
          cluster,
          0,
          () =>
            Promise.all([
              add(MessageType.SOCKETS_JOIN, { opts, rooms: [room] }, { uid }),
              add(
                MessageType.BROADCAST,
                { opts: { ...opts, rooms: [room] }, packet: { type: 2, data: ["hello"] } },
                { uid },
              ),
            ]),
          cluster.clients,
          ["hello"],
        );
      });

      test("disconnectSockets", async () => {
        const { cluster } = context;
        for (const node of NODES) {
          const client = await cluster.connect(node);
          const gone = once(client.socket, "disconnect");
          const only = { ...opts, rooms: [client.id] };
          await add(MessageType.DISCONNECT_SOCKETS, { opts: only, close: node === 1 }, { uid });
          await gone;
        }
        assert.ok(cluster.clients.every(({ socket }) => socket.connected));
      });

      test("serverSideEmit", async () => {
        const { cluster } = context;
        /** @type {any[]} */
        const received = [];
        const event = `event of ${uid}`;
        for (const node of NODES) {
          // @ts-ignore not an event that a server is known to emit
          cluster.io(node).on(event, (...args) => received.push([node, ...args]));
        }
        await add(MessageType.SERVER_SIDE_EMIT, { packet: [event, "é", { a: 1 }] }, { uid });
        await waitFor(() => received.length >= 3);
        await flushed(cluster, 0);
        assert.deepEqual(
          received.sort(),
          NODES.map((node) => [node, "é", { a: 1 }]),
        );
      });
    });
  }

  for (const node of NODES) {
    test(`node ${node} (${adapters.kindOf(node)}) ignores an entry with its own uid`, async () => {
      const { cluster } = context;
      const { uid } = cluster.adapter(node);
      const received = await deliveries(cluster, node, () =>
        add(MessageType.BROADCAST, { opts, packet: { type: 2, data: ["echo"] } }, { uid }),
      );
      received.forEach((packets, i) => {
        const isOwn = cluster.homeOf(cluster.clients[i]).index === node;
        assert.deepEqual(packets, isOwn ? [] : [["echo"]]);
      });
    });
  }
});

describe("requests that arrive in the stream", () => {
  const uid = "deadbeefdeadbeef";

  /**
   * Writes a request and collects what is answered, in the stream or on the channel of its sender.
   *
   * @param {number} type
   * @param {Record<string, any>} data
   */
  async function answersTo(type, data) {
    const answers = await (adapters.viaStream ? inStream : onChannel)(type, data);
    assert.equal(answers.length, NODES.length);
    assert.deepEqual(
      answers.map((answer) => answer.uid).sort(),
      NODES.map((node) => context.cluster.adapter(node).uid).sort(),
    );
    assert.ok(answers.every(({ nsp }) => nsp === "/"));
    return answers;
  }

  /**
   * @param {number} type
   * @param {Record<string, any>} data
   */
  async function inStream(type, data) {
    const { admin } = context;
    const start = await addEntry(admin, STREAM, {
      ...{ uid, nsp: "/", type, data: JSON.stringify(data) },
    });
    /** @type {any[]} */
    let answers = [];
    await waitFor(
      async () => {
        answers = (await entriesAfter(admin, STREAM, start))
          .filter(({ fields }) => fields.data?.includes(data.requestId))
          .map(({ fields }) => ({
            ...{ uid: fields.uid, nsp: fields.nsp, type: Number(fields.type) },
            data: decodeData(fields.data),
          }));
        return answers.length >= NODES.length;
      },
      { what: "an answer of each node" },
    );
    await addEntry(admin, STREAM, { uid, nsp: "/", type: ADAPTER_CLOSE });
    return answers;
  }

  /**
   * @param {number} type
   * @param {Record<string, any>} data
   */
  async function onChannel(type, data) {
    const { admin } = context;
    /** @type {any[]} */
    const answers = [];
    const subscriber = await admin.subscribe(`socket.io#/#${uid}#`, (payload) =>
      answers.push(decode(payload)),
    );
    await addEntry(admin, STREAM, { uid, nsp: "/", type, data: JSON.stringify(data) });
    await waitFor(() => answers.length >= NODES.length, { what: "an answer of each node" });
    await subscriber.close();
    return answers;
  }

  // Breaks when a broadcast with acknowledgements is taken for a plain one, or ends where no client
  // is in its rooms: its sender waits for the number of clients of each server.
  test("a broadcast with acknowledgements, for nobody", async () => {
    const answers = await answersTo(MessageType.BROADCAST, {
      opts: { rooms: ["nobody"], except: [], flags: {} },
      packet: { type: 2, data: ["ask"], nsp: "/" },
      requestId: "00112233445566aa",
    });
    for (const { type, data } of answers) {
      assert.equal(type, MessageType.BROADCAST_CLIENT_COUNT);
      assert.deepEqual(data, { requestId: "00112233445566aa", clientCount: 0 });
    }
  });

  test("fetchSockets", async () => {
    const { cluster } = context;
    const answers = await answersTo(MessageType.FETCH_SOCKETS, {
      opts: { rooms: [], except: [], flags: {} },
      requestId: "0123456789abcdef",
    });
    for (const { type, data } of answers) {
      assert.equal(type, MessageType.FETCH_SOCKETS_RESPONSE);
      assert.equal(data.requestId, "0123456789abcdef");
    }
    const sockets = answers.flatMap(({ data }) => data.sockets);
    assert.deepEqual(
      sockets.map(({ id }) => id).sort(),
      cluster.clients.map(({ id }) => id).sort(),
    );
    for (const socket of sockets) {
      assert.deepEqual(Object.keys(socket).sort(), ["data", "handshake", "id", "rooms"]);
      assert.ok(socket.rooms.includes(socket.id));
    }
  });

  test("serverSideEmit with an answer wanted", async () => {
    for (const node of NODES) {
      /** @type {any} */ (context.cluster.io(node)).on(
        "stream ask",
        (/** @type {string} */ question, /** @type {(value: any) => void} */ answer) =>
          answer(`${question} ${node}`),
      );
    }
    const answers = await answersTo(MessageType.SERVER_SIDE_EMIT, {
      packet: ["stream ask", "node"],
      requestId: "fedcba9876543210",
    });
    for (const { type, data } of answers) {
      assert.equal(type, MessageType.SERVER_SIDE_EMIT_RESPONSE);
      assert.equal(data.requestId, "fedcba9876543210");
    }
    assert.deepEqual(
      answers.map(({ data }) => data.packet).sort(),
      NODES.map((node) => `node ${node}`),
    );
  });
});
