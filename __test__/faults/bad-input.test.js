// Whatever stands in Redis, and whatever clients say of their sessions: nothing comes out as an
// unhandled rejection or an uncaught exception, and the next message is handled.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { waitFor } = require("../helpers/wait");
const { addEntry, encode, MessageType } = require("../helpers/wire");
const { assertAllWorks, context, statsOf } = require("./watched-cluster");

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

/**
 * Two nested lists, each said to have 33,554,176 elements, of which none is there: a decoder that
 * makes room for them takes half a gigabyte.
 */
const emptyPromises = () => Buffer.from([0xdd, 1, 0xff, 0xff, 0, 0xdd, 1, 0xff, 0xff, 0]);

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
  "lists longer than what is left": () =>
    entry({ type: MessageType.SOCKETS_JOIN, data: emptyPromises().toString("base64") }),
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

// Breaks when msgpack is decoded before it was checked. It comes first: the peak must still be
// that of two nodes that did nothing.
test("ten bytes take no memory", async () => {
  const { admin } = context;
  const before = { peak: process.resourceUsage().maxRSS, malformed: counts("malformed") };
  await add(MALFORMED_ENTRIES["lists longer than what is left"]());
  await admin.client.sendCommand(["PUBLISH", "socket.io#/#", emptyPromises()]);
  await waitFor(() => counts("malformed").every((count, i) => count === before.malformed[i] + 2), {
    what: () => `two more malformed messages than ${before.malformed}, not ${counts("malformed")}`,
  });
  const grown = process.resourceUsage().maxRSS - before.peak;
  assert.ok(grown < 100_000, `${grown} kB more at the peak`);
});

describe("nothing that stands in the stream stops a node", () => {
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
  test("nor an origin that is none", async () => {
    for (const origin of [
      { origin: "1:not base64:1" },
      { origin: "1:AAAAAAAAAP8:-1" },
      { origin: "1:AAAAAAAAAP8:18446744073709551616" },
      { origin: "2:AAAAAAAAAP8:9" },
      { origin: "" },
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
  "lists longer than what is left": () => emptyPromises(),
  "lists nested 100,000 deep": () => Buffer.alloc(DEEP, 0x91),
  "10 MB of noise": () => noise(),
};

describe("nothing that comes over PUB/SUB stops a node", () => {
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

describe("nothing that clients and Redis hold for a session stops a node", () => {
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
    "lists longer than what is left": emptyPromises().toString("base64"),
  })) {
    test(`a session of ${what}`, async () => {
      const { cluster, admin } = context;
      const offset = await addEntry(admin, "socket.io", {
        ...entry({ data: json({ opts: OPTS, packet: { ...PACKET, data: ["offset"] } }) }),
      });
      await admin.command("SET", `sio:session:${PID}`, value);
      const [before] = counts("malformed");
      const client = await cluster.connect(0, { auth: { pid: PID, offset } });
      assert.equal(client.socket.recovered, false);
      assert.equal(counts("malformed")[0], before + 1);
      await cluster.disconnect(client);
      await assertAllWorks();
    });
  }
});
