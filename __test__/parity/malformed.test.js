// Malformed entries and PUB/SUB messages: skipped, and the next good ones still arrive.

"use strict";

const assert = require("node:assert/strict");
const { createCipheriv } = require("node:crypto");
const { describe, test } = require("node:test");
const { adapters, useCluster } = require("../helpers/cluster");
const { assertReceivers } = require("../helpers/delivery");
const { encode, encodeBinary, streamOf, toBuffer } = require("../helpers/wire");

const NODES = [0, 1, 2];
// In the stream, whoever writes is a server that is waited for, but for the emitter package.
const UID = adapters.viaStream ? "emitter" : "00c0ffee00c0ffee";
const CHANNEL = "socket.io#/#";

// nobody is in this room: what is not so malformed after all reaches no client
const opts = { rooms: ["nobody"], except: [], flags: {} };
const packet = { type: 2, data: ["malformed"], nsp: "/" };
const good = JSON.stringify({ opts, packet });
const msgpack = encodeBinary({ opts, packet });
/** 100,000 arrays in each other. */
const NESTED = Buffer.concat([Buffer.alloc(100_000, 0x91), Buffer.from([0xc0])]);

/** Bytes that look random, and are the same in every run. @param {number} length */
function noise(length) {
  return createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(
    Buffer.alloc(length),
  );
}

const context = useCluster({
  prepare: ({ nodes }) =>
    nodes.forEach(({ io, index }) =>
      /** @type {any} */ (io).on("who", (/** @type {any} */ answer) => answer(index)),
    ),
});

/** Everything still works, from each node. */
async function assertAlive() {
  const { cluster } = context;
  for (const sender of NODES) {
    const io = /** @type {any} */ (cluster.io(sender));
    await assertReceivers(cluster, sender, () => io.emit("good"), cluster.clients, ["good"]);
    assert.deepEqual(
      (await io.serverSideEmitWithAck("who")).sort(),
      NODES.filter((node) => node !== sender),
    );
    assert.equal((await io.fetchSockets()).length, 3);
  }
}

/** @param {(string | Buffer)[]} fields names and values */
function addRaw(...fields) {
  return context.admin.send(["XADD", streamOf("/"), "*", ...fields]);
}

/**
 * @param {string} type
 * @param {string | Buffer} data
 * @returns {(string | Buffer)[]}
 */
const entry = (type, data) => ["uid", UID, "nsp", "/", "type", type, "data", data];

/** @type {[name: string, entries: (string | Buffer)[][]][]} */
const ENTRIES = [
  ["no namespace", [["uid", UID, "type", "3", "data", good]]],
  [
    "an empty or unknown namespace",
    [
      ["uid", UID, "nsp", "", "type", "3", "data", good],
      ["uid", UID, "nsp", "/nowhere", "type", "3", "data", good],
    ],
  ],
  [
    "no field that is known",
    [
      ["a", "b"],
      ["", ""],
    ],
  ],
  [
    "JSON that is cut off, or none",
    [
      entry("3", good.slice(0, -1)),
      entry("3", good.slice(0, 20)),
      entry("3", "{"),
      entry("3", "{}}"),
      entry("3", `{"opts": undefined}`),
    ],
  ],
  [
    "base64 that is none, or cut off",
    [
      entry("3", "%%%%"),
      entry("3", "é🎉"),
      entry("3", msgpack.slice(0, -5)),
      entry("3", msgpack.slice(0, 13)),
      entry("3", "A"),
    ],
  ],
  [
    "msgpack that is none, or has more behind it",
    [
      entry("3", Buffer.from([0xc1]).toString("base64")),
      entry(
        "3",
        Buffer.concat([Buffer.from(msgpack, "base64"), Buffer.from([1, 2])]).toString("base64"),
      ),
      entry("3", noise(300).fill(0xdf, 0, 1).toString("base64")),
      // a map that claims to have 4 billion entries, a string and a binary of 4 GB
      ...["df", "db", "c6"].map((code) =>
        entry("3", Buffer.from(`${code}ffffffff00`, "hex").toString("base64")),
      ),
    ],
  ],
  [
    "unknown types",
    ["0", "14", "99", "-1", "", "abc", "NaN", "1e400", "9".repeat(30)].map((type) =>
      entry(type, good),
    ),
  ],
  [
    "heartbeats of older versions, with and without data",
    ["1", "2", "13"].flatMap((type) => [["uid", UID, "nsp", "/", "type", type], entry(type, good)]),
  ],
  [
    "answers to requests that nobody made",
    ["8", "10", "11", "12"].map((type) =>
      entry(type, JSON.stringify({ requestId: "unknown", clientCount: 5, sockets: [], packet: 1 })),
    ),
  ],
  [
    "bytes that are no UTF-8",
    [
      entry("3", Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
      entry("3", Buffer.from([0xff, 0xfe])),
      ["uid", Buffer.from([0xff]), "nsp", Buffer.from([0xff]), "type", Buffer.from([0xff])],
      [Buffer.from([0xff, 0x00]), Buffer.from([0xc3, 0x28]), ...entry("3", "{")],
    ],
  ],
  [
    "10 MB of noise",
    [
      entry("3", noise(7_500_000).toString("base64")),
      entry("3", `{"opts":${"[null],".repeat(1_700_000)}`),
      entry("3", `{"opts":"${"x".repeat(10_000_000)}"`),
    ],
  ],
  [
    "deep nesting",
    [
      entry("3", `{"a":${"[".repeat(100_000)}${"]".repeat(100_000)},${good.slice(1)}`),
      entry(
        "3",
        Buffer.concat([
          // a map of three, whose first value is nested deeply
          Buffer.from([0x83]),
          ...[encode("a"), NESTED],
          ...[encode("opts"), encode(opts)],
          ...[encode("packet"), encode(packet)],
        ]).toString("base64"),
      ),
    ],
  ],
];

/** What can be decoded, and nothing that a node ever writes. @type {[string, string[]][]} */
const MISSHAPEN = [
  ["nothing but deep nesting", [NESTED.toString("base64")]],
  ["empty data", ["{}", encodeBinary({}), encodeBinary(null), encodeBinary(1), encodeBinary([])]],
  [
    "options that are none",
    [
      JSON.stringify({ opts: null, packet, rooms: [], requestId: "1" }),
      JSON.stringify({ opts: 1, packet, rooms: ["a"] }),
      JSON.stringify({ opts: {}, packet, rooms: ["a"] }),
      JSON.stringify({ opts: [], packet, rooms: ["a"] }),
    ],
  ],
  [
    "rooms that are none",
    [
      JSON.stringify({ opts: { ...opts, rooms: 5 }, packet, rooms: 5 }),
      JSON.stringify({ opts: { ...opts, rooms: { a: 1 } }, packet, rooms: { a: 1 } }),
      JSON.stringify({ opts: { ...opts, except: true }, packet, rooms: null }),
    ],
  ],
  [
    "a packet that is none",
    [
      JSON.stringify({ opts, packet: null }),
      JSON.stringify({ opts, packet: 5 }),
      JSON.stringify({ opts, packet: "text" }),
      JSON.stringify({ opts, packet: {}, requestId: "1" }),
    ],
  ],
];

describe("entries of the stream", () => {
  for (const [name, entries] of ENTRIES) {
    test(name, async () => {
      for (const fields of entries) {
        await addRaw(...fields);
      }
      await assertAlive();
    });
  }

  describe("of a known type, with data that it cannot have", () => {
    const skip = adapters.upstreamCannot("it reads the same entry again and again, for ever");

    for (const type of ["3", "4", "5", "6", "7", "9"]) {
      test(`type ${type}: no data at all`, { skip }, async () => {
        await addRaw("uid", UID, "nsp", "/", "type", type);
        await addRaw(...entry(type, ""));
        await assertAlive();
      });

      for (const [name, data] of MISSHAPEN) {
        test(`type ${type}: ${name}`, { skip }, async () => {
          for (const value of data) {
            await addRaw(...entry(type, value));
          }
          await assertAlive();
        });
      }
    }

    for (const type of ["8", "10", "11", "12"]) {
      test(`type ${type}, an answer: no data at all`, { skip }, async () => {
        await addRaw("uid", UID, "nsp", "/", "type", type);
        await addRaw(...entry(type, encodeBinary(null)));
        await assertAlive();
      });
    }
  });

  test("a good entry between bad ones", async () => {
    const { cluster } = context;
    const everybody = { opts: { rooms: [], except: [] }, packet: { type: 2, data: ["between"] } };
    await assertReceivers(
      cluster,
      0,
      () =>
        Promise.all([
          addRaw(...entry("3", "{")),
          addRaw(...entry("3", JSON.stringify(everybody))),
          addRaw(...entry("99", good)),
        ]),
      cluster.clients,
      ["between"],
    );
  });
});

describe("messages on the channels", { skip: adapters.pubSubOnly() }, () => {
  /** @param {unknown} message */
  const message = (message) => toBuffer(encode(message));
  const head = { uid: UID, nsp: "/" };
  const types = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

  /** @type {[name: string, payloads: Buffer[]][]} */
  const PAYLOADS = [
    [
      "nothing, text and noise",
      [
        Buffer.alloc(0),
        Buffer.from("text"),
        Buffer.from("{}"),
        Buffer.from([0xc1]),
        Buffer.from("dfffffffff00", "hex"),
        noise(1_000).fill(0xdf, 0, 1),
        noise(10_000_000).fill(0xc1, 0, 1),
      ],
    ],
    ["no map", [null, true, 5, "text", [], [1, 2], {}].map(message)],
    [
      "a message that is cut off, or has more behind it",
      [
        message({ ...head, type: 9, data: { packet: ["event"] } }).subarray(0, -3),
        Buffer.concat([
          message({ ...head, type: 9, data: { packet: ["event"] } }),
          Buffer.from([1]),
        ]),
      ],
    ],
    [
      "a type that is unknown, or missing",
      [0, 14, 99, -1, 1.5, "7", null, [], {}, undefined].map((type) =>
        message({ ...head, type, data: { opts, packet, requestId: "1" } }),
      ),
    ],
    [
      "another namespace, or none",
      ["/nowhere", "", null, 5, undefined].map((nsp) =>
        message({ uid: UID, nsp, type: 7, data: { opts, requestId: "1" } }),
      ),
    ],
    [
      "no data",
      types.flatMap((type) => [message({ ...head, type }), message({ ...head, type, data: null })]),
    ],
    [
      "data of a wrong kind",
      types.flatMap((type) =>
        [5, "text", [], {}, { requestId: 5 }, { requestId: null }, { requestId: {} }].map((data) =>
          message({ ...head, type, data }),
        ),
      ),
    ],
    [
      "options of a wrong kind",
      [3, 7].flatMap((type) =>
        [null, 5, {}, { rooms: 5, except: [] }, { rooms: ["nobody"], except: 5 }].map((value) =>
          message({ ...head, type, data: { opts: value, packet, requestId: "1" } }),
        ),
      ),
    ],
    [
      "a packet of a wrong kind",
      [3, 9].flatMap((type) =>
        [null, 5, "text", {}].map((value) =>
          message({ ...head, type, data: { opts, packet: value, requestId: "1" } }),
        ),
      ),
    ],
    [
      "no sender",
      [7, 9].map((type) =>
        message({ nsp: "/", type, data: { opts, packet: ["event"], requestId: "1" } }),
      ),
    ],
    [
      "answers to requests that nobody made",
      [8, 10, 11, 12].map((type) =>
        message({
          ...head,
          type,
          data: { requestId: "unknown", sockets: [], packet: 1, clientCount: 9 },
        }),
      ),
    ],
    ["deep nesting", [NESTED, Buffer.concat([Buffer.from([0x81]), encode("data"), NESTED])]],
  ];

  for (const [name, payloads] of PAYLOADS) {
    test(name, async () => {
      const { admin, cluster } = context;
      const channels = [CHANNEL, ...NODES.map((node) => `${CHANNEL}${cluster.adapter(node).uid}#`)];
      for (const payload of payloads) {
        for (const channel of channels) {
          await admin.publish(channel, payload);
        }
      }
      await assertAlive();
    });
  }
});
