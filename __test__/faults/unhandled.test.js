// Whatever users emit, throw or leave in `socket.data`, and whatever stands in Redis: nothing comes
// out as an unhandled rejection or an uncaught exception, and the next message is handled.

"use strict";

const assert = require("node:assert/strict");
const { afterEach, beforeEach, describe, test } = require("node:test");
const { useCluster } = require("../helpers/cluster");
const { startNode } = require("../helpers/node");
const { settle, waitFor, within } = require("../helpers/wait");
const { addEntry, encode, MessageType } = require("../helpers/wire");
const { defer } = require("./defer");
const { takeWarnings, warnings } = require("./warnings");

/** What nobody has handled. @type {unknown[]} */
const unhandled = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
process.on("uncaughtException", (error) => unhandled.push(error));

const HANDLER = "ERR_SIO_REDIS_HANDLER";

const context = useCluster({
  nodes: 2,
  serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
});

beforeEach(() => void takeWarnings());

afterEach(async () => {
  await assertAllWorks();
  await settle(20); // rejections are reported a turn later
  assert.deepEqual(unhandled.splice(0), [], "nothing is left unhandled");
});

/** @param {number} index @returns {any} */
const ioOf = (index) => context.cluster.io(index);
/** @param {number} index @returns {any} */
const statsOf = (index) => context.cluster.adapter(index).stats();

let probes = 0;

/** Asserts that both nodes still emit, read, ask and answer. */
async function assertAllWorks() {
  const { clients } = context.cluster;
  const event = `works:${probes++}`;
  for (const index of [0, 1]) {
    ioOf(index).emit(event, index);
  }
  await Promise.all(clients.map((client) => client.receives(event, 2)));
  for (const index of [0, 1]) {
    const sockets = await within(ioOf(index).fetchSockets(), "fetchSockets");
    const connected = [0, 1].map((each) => ioOf(each).of("/").sockets.size);
    assert.equal(sockets.length, connected[0] + connected[1]);
  }
}

/** @param {string} code */
async function warned(code) {
  await waitFor(() => warnings.some((warning) => warning.code === code), {
    what: () => `a warning ${code}, not ${JSON.stringify(warnings)}`,
  });
}

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

describe("what users do", () => {
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
    io.emit("anything");
    io.socketsJoin("room");
    io.socketsLeave("room");
    io.disconnectSockets();
    io.serverSideEmit("anything");
    await Promise.all(
      Object.entries(open).map(([what, promise]) =>
        within(
          promise.catch(() => {}),
          what,
        ),
      ),
    );
  });
});

const OPTS = { rooms: [], except: [], flags: {} };
const PACKET = { type: 2, data: ["malformed"], nsp: "/" };
const DEEP = 100_000;
const NOISE = 10 * 2 ** 20;

/** `[[[…]]]` in JSON, so deep that recursion overflows the stack. */
const deepJson = "[".repeat(DEEP) + "]".repeat(DEEP);

/** The same in msgpack, as the argument of an event. */
function deepMsgpack() {
  const packet = { type: 2, data: ["deep", null] };
  const head = Buffer.from(encode({ opts: OPTS, packet })); // ends with the null
  return Buffer.concat([head.subarray(0, -1), Buffer.alloc(DEEP, 0x91), Buffer.from([0xc0])]);
}

function noise() {
  const bytes = Buffer.alloc(NOISE);
  for (let i = 0; i < NOISE; i += 4) {
    bytes.writeUInt32LE((i * 2654435761) >>> 0, i);
  }
  return bytes;
}

/** @param {unknown} value */
const base64 = (value) => Buffer.from(encode(value)).toString("base64");

/**
 * The fields of an entry; undefined leaves one out.
 *
 * @param {Record<string, any>} fields
 * @returns {Record<string, any>}
 */
function entry(fields) {
  const all = { uid: "0123456789abcdef", nsp: "/", type: MessageType.BROADCAST, ...fields };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** @param {any} data */
const json = (data) => JSON.stringify(data);

/** Entries that no node would write. */
const MALFORMED_ENTRIES = {
  "no uid": () => entry({ uid: undefined, data: json({ opts: OPTS, packet: PACKET }) }),
  "no type": () => entry({ type: undefined, data: json({ opts: OPTS, packet: PACKET }) }),
  "a type that is a word": () => entry({ type: "three", data: "{}" }),
  "a negative type": () => entry({ type: -3, data: "{}" }),
  "a broken type": () => entry({ type: "3.5", data: "{}" }),
  "an unknown type": () => entry({ type: 99, data: "{}" }),
  "a huge type": () => entry({ type: "99999999999999999999", data: "{}" }),
  "no data": () => entry({}),
  "empty data": () => entry({ data: "" }),
  "an empty object": () => entry({ data: "{}" }),
  "truncated JSON": () => entry({ data: json({ opts: OPTS, packet: PACKET }).slice(0, -5) }),
  "truncated base64": () => entry({ data: base64({ opts: OPTS, packet: PACKET }).slice(0, -3) }),
  "no base64": () => entry({ data: "*** no base64 ***" }),
  "truncated msgpack": () => {
    const bytes = Buffer.from(encode({ opts: OPTS, packet: PACKET }));
    return entry({ data: bytes.subarray(0, -4).toString("base64") });
  },
  "msgpack of a number": () => entry({ data: base64(5) }),
  "an unused byte of msgpack": () => entry({ data: Buffer.from([0xc1]).toString("base64") }),
  "no opts": () => entry({ data: json({ packet: PACKET }) }),
  "opts that are null": () => entry({ data: json({ opts: null, packet: PACKET }) }),
  "rooms that are no list": () =>
    entry({ data: json({ opts: { rooms: "room", except: [] }, packet: PACKET }) }),
  "no packet": () => entry({ data: json({ opts: OPTS }) }),
  "a packet that is a word": () => entry({ data: json({ opts: OPTS, packet: "packet" }) }),
  "a packet without data": () => entry({ data: json({ opts: OPTS, packet: { type: 2 } }) }),
  "a packet of no type": () =>
    entry({ data: json({ opts: OPTS, packet: { type: "2", data: ["malformed"] } }) }),
  "rooms to join that are no list": () =>
    entry({ type: MessageType.SOCKETS_JOIN, data: json({ opts: OPTS, rooms: 5 }) }),
  "rooms to leave that are missing": () =>
    entry({ type: MessageType.SOCKETS_LEAVE, data: json({ opts: OPTS }) }),
  "a disconnect without opts": () =>
    entry({ type: MessageType.DISCONNECT_SOCKETS, data: json({ close: true }) }),
  "a request without an ID": () =>
    entry({ type: MessageType.FETCH_SOCKETS, data: json({ opts: OPTS }) }),
  "an event that is no list": () =>
    entry({ type: MessageType.SERVER_SIDE_EMIT, data: json({ packet: { 0: "event" } }) }),
  "invalid UTF-8 in JSON": () =>
    entry({
      data: Buffer.concat([Buffer.from('{"opts":"'), Buffer.from([0xff, 0xfe, 0x22, 0x7d])]),
    }),
  "invalid UTF-8 in the namespace": () => entry({ nsp: Buffer.from([0x2f, 0xff]), data: "{}" }),
  "invalid UTF-8 in the uid": () => entry({ uid: Buffer.from([0xc3, 0x28]), data: "{}" }),
  "JSON nested 100,000 deep where rooms should be": () =>
    entry({ data: `{"opts":{"rooms":${deepJson},"except":{}},"packet":5}` }),
  "10 MB of noise": () => entry({ data: noise() }),
  "10 MB of noise in base64": () => entry({ data: noise().toString("base64") }),
  "10 MB of noise behind a brace": () => entry({ data: `{${noise().toString("base64")}` }),
};

/** Packets that are well-formed, and deeper than any recursion: skipped, or delivered everywhere. */
const DEEP_ENTRIES = {
  "in JSON": () =>
    entry({ data: `{"opts":${json(OPTS)},"packet":{"type":2,"data":["deep",${deepJson}]}}` }),
  "in msgpack": () => entry({ data: deepMsgpack().toString("base64") }),
};

/** Entries that are for nobody, and not counted as malformed. */
const FOREIGN_ENTRIES = {
  "no namespace": () => ({ any: "thing" }),
  "an empty namespace": () => entry({ nsp: "", data: "{}" }),
  "another namespace": () => entry({ nsp: "/nobody", data: "{}" }),
  "a heartbeat of an old node": () => entry({ type: 2 }),
};

/** @param {Record<string, any>} fields */
function add(fields) {
  const { client } = context.admin;
  const flat = Object.entries(fields).flatMap(([name, value]) => [
    name,
    Buffer.isBuffer(value) ? value : String(value),
  ]);
  return client.sendCommand(["XADD", "socket.io", "*", ...flat]);
}

/** What both nodes count. */
const counts = (/** @type {string} */ name) => [0, 1].map((index) => statsOf(index)[name]);

describe("what stands in the stream", () => {
  // These break when a decoder throws where nobody catches it, recurses without bound, or an entry
  // that cannot be read is read for ever.
  for (const [what, fields] of Object.entries(MALFORMED_ENTRIES)) {
    test(`malformed: ${what}`, async () => {
      const before = counts("malformed");
      await add(fields());
      await assertAllWorks();
      assert.deepEqual(
        counts("malformed"),
        before.map((count) => count + 1),
        "it is counted, once",
      );
      const { clients } = context.cluster;
      assert.ok(clients.every((client) => client.received("malformed").length === 0));
    });
  }

  for (const [what, fields] of Object.entries(DEEP_ENTRIES)) {
    test(`nested 100,000 deep: ${what}`, async () => {
      const { clients } = context.cluster;
      const before = counts("malformed");
      const deep = () => clients.map((client) => client.received("deep").length);
      const got = deep();
      await add(fields());
      await assertAllWorks();
      const skipped = counts("malformed").map((count, i) => count - before[i]);
      const delivered = deep().map((count, i) => count - got[i]);
      assert.deepEqual(
        skipped.map((count, i) => count + delivered[i]),
        [1, 1],
        `skipped ${skipped}, delivered ${delivered}`,
      );
      clients.forEach((client) => client.record.splice(0)); // too deep to be shown
    });
  }

  for (const [what, fields] of Object.entries(FOREIGN_ENTRIES)) {
    test(`foreign: ${what}`, async () => {
      const before = { malformed: counts("malformed"), skipped: counts("skipped") };
      await add(fields());
      await assertAllWorks();
      assert.deepEqual(counts("malformed"), before.malformed);
      assert.deepEqual(
        counts("skipped"),
        before.skipped.map((count) => count + 1),
      );
    });
  }

  // Breaks when what our own fields hold is trusted: a high sequence would hide what follows.
  test("an origin that is none", async () => {
    for (const origin of [
      { wid: "not hexadecimal", seq: 1 },
      { wid: "ff", seq: -1 },
      { wid: "ff", seq: "18446744073709551616" },
      { wid: "" },
    ]) {
      const { clients } = context.cluster;
      const data = json({ opts: OPTS, packet: { ...PACKET, data: ["of no origin"] } });
      const got = clients[0].received("of no origin").length;
      await add({ ...entry({ data }), ...origin });
      await Promise.all(clients.map((client) => client.receives("of no origin", got + 1)));
    }
    await assertAllWorks();
  });
});

/** Messages that no node would publish. */
const MALFORMED_MESSAGES = {
  nothing: () => Buffer.alloc(0),
  text: () => Buffer.from("hello"),
  "a number": () => encode(5),
  null: () => encode(null),
  "a list": () => encode([1, 2, 3]),
  "an empty map": () => encode({}),
  "no uid": () => encode({ nsp: "/", type: MessageType.FETCH_SOCKETS, data: { opts: OPTS } }),
  "no data": () => encode({ uid: "0123456789abcdef", nsp: "/", type: MessageType.FETCH_SOCKETS }),
  "no request ID": () =>
    encode({ uid: "u", nsp: "/", type: MessageType.FETCH_SOCKETS, data: { opts: OPTS } }),
  "no opts": () =>
    encode({ uid: "u", nsp: "/", type: MessageType.FETCH_SOCKETS, data: { requestId: "r" } }),
  "an unknown type": () => encode({ uid: "u", nsp: "/", type: 99, data: {} }),
  "a type that is a word": () => encode({ uid: "u", nsp: "/", type: "3", data: {} }),
  "an answer without sockets": () =>
    encode({
      uid: "u",
      nsp: "/",
      type: MessageType.FETCH_SOCKETS_RESPONSE,
      data: { requestId: "r" },
    }),
  "a client count that is a word": () =>
    encode({
      ...{ uid: "u", nsp: "/", type: MessageType.BROADCAST_CLIENT_COUNT },
      data: { requestId: "r", clientCount: "many" },
    }),
  "a truncated message": () =>
    encode({ uid: "u", nsp: "/", type: 7, data: { opts: OPTS, requestId: "r" } }).subarray(0, -5),
  "invalid UTF-8": () => Buffer.from([0x81, 0xa2, 0xff, 0xfe, 0xa2, 0xff, 0xfe]),
  "a length beyond the end": () => Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
  "lists nested 100,000 deep": () => Buffer.alloc(DEEP, 0x91),
  "10 MB of noise": () => noise(),
};

describe("what comes over PUB/SUB", () => {
  /** @param {string} channel @param {Uint8Array} payload */
  const publish = (channel, payload) =>
    context.admin.client.sendCommand(["PUBLISH", channel, Buffer.from(payload)]);

  for (const [what, payload] of Object.entries(MALFORMED_MESSAGES)) {
    test(`malformed: ${what}`, async () => {
      const before = counts("malformed");
      await publish("socket.io#/#", payload());
      await publish(`socket.io#/#${context.cluster.adapter(0).uid}#`, payload());
      await assertAllWorks();
      const expected = [before[0] + 2, before[1] + 1]; // the second one was for node 0 only
      await waitFor(() => counts("malformed").join() === expected.join(), {
        timeout: 1_000,
        what: () => `${expected} malformed messages, not ${counts("malformed")}`,
      });
    });
  }

  // Breaks when what other software publishes there is taken for a node's word.
  test("anything on the channel of the heartbeats", async () => {
    for (const payload of Object.values(MALFORMED_MESSAGES)) {
      await publish("socket.io#members#", payload());
    }
    await publish("socket.io#members#", Buffer.from(deepJson));
    await publish("socket.io#members#", Buffer.from('{"uid":5,"news":"alive"}'));
    await publish("socket.io#members#", Buffer.from('{"uid":"ghost","news":"dances"}'));
    await publish("socket.io#members#", Buffer.from('{"uid":"ghost","news":"alive"}'));
    await assertAllWorks();
    assert.equal(await context.cluster.adapter(0).serverCount(), 2);
  });
});

describe("what clients and Redis say of sessions", () => {
  const PID = "0123456789abcdefghij";

  // Breaks when a client's session ID or offset is used as it comes.
  for (const [what, auth] of Object.entries({
    "an unknown session": { pid: PID, offset: "1-1" },
    "an offset that is none": { pid: PID, offset: "hello" },
    "a negative offset": { pid: PID, offset: "-5--5" },
    "a huge offset": { pid: PID, offset: "99999999999999999999-99999999999999999999" },
    "an offset ahead of the stream": { pid: PID, offset: "18446744073709551615-0" },
    "an empty session ID": { pid: "", offset: "1-1" },
    "a huge session ID": { pid: "x".repeat(100_000), offset: "1-1" },
    "a session ID with spaces and lines": { pid: "a b\r\nDEL x\r\n", offset: "1-1" },
    "no strings": { pid: { a: 1 }, offset: [1] },
  })) {
    test(what, async () => {
      const { cluster } = context;
      const client = await cluster.connect(0, { auth });
      assert.equal(client.socket.recovered, false);
      await cluster.disconnect(client);
      await assertAllWorks();
    });
  }

  for (const [what, value] of Object.entries({
    "no base64": "*** no base64 ***",
    "no msgpack": "wcHB",
    "no map": base64(5),
    "no rooms": base64({ sid: "s", pid: PID, data: {} }),
    "rooms that are no list": base64({ sid: "s", pid: PID, rooms: 5, data: {} }),
    "msgpack nested 100,000 deep": Buffer.alloc(DEEP, 0x91).toString("base64"),
  })) {
    test(`a session of ${what}`, async () => {
      const { cluster, admin } = context;
      const offset = await addEntry(admin, "socket.io", {
        ...entry({ data: json({ opts: OPTS, packet: { ...PACKET, data: ["offset"] } }) }),
      });
      await admin.command("SET", `sio:session:${PID}`, value);
      const client = await cluster.connect(0, { auth: { pid: PID, offset } });
      assert.equal(client.socket.recovered, false);
      await cluster.disconnect(client);
      await assertAllWorks();
    });
  }
});
