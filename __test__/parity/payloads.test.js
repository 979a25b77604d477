// What a payload is when it arrives: on the sender's own node and on the others.

"use strict";

const assert = require("node:assert/strict");
const { EventEmitter } = require("node:events");
const { describe, test } = require("node:test");
const { deserialize, serialize } = require("node:v8");
const parser = require("socket.io-parser");
const { adapters, useCluster } = require("../helpers/cluster");
const { deliveries } = require("../helpers/delivery");
const { decodeData, lastEntryId, messagesAfter, streamOf } = require("../helpers/wire");

const NODES = [0, 1, 2];

const bytes = Buffer.from([0, 1, 2, 127, 128, 255]);
/** A view into the middle of a larger buffer: only its own bytes may travel. */
const view = new Uint8Array([9, 9, 0, 1, 2, 127, 128, 255, 9]).subarray(2, 8);
const date = new Date("2024-02-29T12:34:56.789Z");

/**
 * Name, arguments sent, arguments received when they are not the same. Binary of any kind arrives
 * as a Buffer at a client on Node.
 *
 * @type {[name: string, sent: any[], received?: any[]][]}
 */
const PLAIN = [
  ["no argument", []],
  ["strings", ["", "plain", 'quo"te', "back\\slash", "line\nbreak", "\u2028", "nul\0l"]],
  ["unicode", ["žluťoučký kůň", "日本語", "👩‍👩‍👧‍👦", "\u{10FFFF}", "é"]],
  ["a lone surrogate", ["\ud800", { "\udc00": "x" }]],
  ["a long string", ["x".repeat(200_000)]],
  ["numbers", [0, -1, 1.5, 1e21, 5e-324, 2 ** 53 - 1, -(2 ** 53), 2 ** 32, -0], undefined],
  ["numbers that JSON does not have", [NaN, Infinity, -Infinity], [null, null, null]],
  ["booleans and null", [true, false, null]],
  ["nested objects", [{ a: { b: { c: [{ d: null }] } }, "": 1, "a b": 2 }]],
  ["keys that look special", [{ _placeholder: false, num: 0, type: "Buffer", data: [1] }]],
  ["arrays", [[], [[]], [1, [2, [3, [4]]]], [null]]],
  ["an empty object", [{}]],
  ["a date", [date, { date }], [date.toISOString(), { date: date.toISOString() }]],
  [
    "undefined",
    [undefined, { gone: undefined, kept: 1 }, [undefined]],
    [null, { kept: 1 }, [null]],
  ],
  ["an object with toJSON", [{ toJSON: () => ({ json: true }) }], [{ json: true }]],
  ["a map and a set", [new Map([[1, 2]]), new Set([1])], [{}, {}]],
  ["a string that ends the arguments", [{ first: 1 }, "last"]],
  ["a string that looks like an offset", ["1700000000000-0"]],
  ["many arguments", Array.from({ length: 50 }, (_, i) => i)],
  ["deep nesting", [JSON.parse("[".repeat(80) + "]".repeat(80))]],
];

/** @type {[name: string, sent: any[], received?: any[]][]} */
const BINARY = [
  ["a Buffer", [bytes]],
  ["an empty Buffer", [Buffer.alloc(0)]],
  ["a Uint8Array", [new Uint8Array(bytes)], [bytes]],
  ["a view into a larger buffer", [view], [bytes]],
  ["a DataView", [new DataView(new Uint8Array(bytes).buffer)], [bytes]],
  [
    "a Float64Array",
    [new Float64Array([1.5, -2])],
    [Buffer.from(new Float64Array([1.5, -2]).buffer)],
  ],
  ["binary in an object", [{ file: bytes, name: "f" }]],
  ["binary deep inside", [{ a: [{ b: { c: [0, bytes] } }] }]],
  ["several binary values", [bytes, "between", Buffer.from("2"), { x: Buffer.from("3") }, [bytes]]],
  ["the same Buffer twice", [bytes, bytes]],
  ["binary beside strings, numbers and null", [bytes, "é🎉", -1.5, 2 ** 40, null, true, {}, []]],
  [
    "binary beside a date",
    [bytes, date, { date }],
    [bytes, date.toISOString(), { date: date.toISOString() }],
  ],
  ["binary beside keys that look special", [bytes, { _placeholder: "no", num: 7 }]],
  ["a large Buffer", [Buffer.alloc(300_000, 0xa5)]],
];

/** @type {[name: string, sent: any[], received?: any[]][]} */
const ARRAY_BUFFERS = [
  ["an ArrayBuffer", [new Uint8Array(bytes).buffer], [bytes]],
  [
    "an ArrayBuffer in an object",
    [{ file: new Uint8Array(bytes).buffer, more: [bytes] }],
    [{ file: bytes, more: [bytes] }],
  ],
];

/** How each kind of client and server is set up. */
const SETUPS = {
  "websocket clients": {},
  "polling clients": { clientOptions: { transports: ["polling"] } },
  "compressed websockets": { serverOptions: { perMessageDeflate: { threshold: 0 } } },
  "connection state recovery": {
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
  },
};

for (const [setup, options] of Object.entries(SETUPS)) {
  describe(setup, () => {
    const context = useCluster(options);

    for (const sender of NODES) {
      /**
       * @param {any[]} sent
       * @param {any[]} [expected]
       */
      async function assertArrives(sent, expected = sent) {
        const { cluster } = context;
        const all = await deliveries(cluster, sender, () =>
          cluster.io(sender).emit("payload", ...sent),
        );
        const withOffset = setup === "connection state recovery";
        all.forEach((packets, i) => {
          assert.equal(packets.length, 1, `client ${i} received it once`);
          const [event, ...received] = packets[0];
          assert.equal(event, "payload");
          if (withOffset) {
            assert.match(received.pop(), /^\d+-\d+$/, "the offset comes last");
          }
          // as JSON has no -0
          assert.deepEqual(
            received,
            expected.map((value) => (Object.is(value, -0) ? 0 : value)),
          );
        });
      }

      describe(`sent by node ${sender} (${adapters.kindOf(sender)})`, () => {
        for (const [name, sent, received] of PLAIN) {
          test(name, () => assertArrives(sent, received));
        }
        for (const [name, sent, received] of BINARY) {
          test(name, () => assertArrives(sent, received));
        }
        for (const [name, sent, received] of ARRAY_BUFFERS) {
          test(
            name,
            {
              skip: adapters.upstreamCannot(
                "its msgpack turns an ArrayBuffer into an empty object for other nodes",
                [sender],
              ),
            },
            () => assertArrives(sent, received),
          );
        }
      });
    }
  });
}

describe("onlyPlaintext", () => {
  const context = useCluster({ adapterOptions: { onlyPlaintext: true } });

  for (const sender of NODES) {
    test(`plain payloads arrive, written as JSON, from node ${sender}`, async () => {
      const { cluster, admin } = context;
      const before = await lastEntryId(admin, streamOf("/"));
      const payload = [{ a: [1, "é", null] }, "text"];
      const all = await deliveries(cluster, sender, () =>
        cluster.io(sender).emit("payload", ...payload),
      );
      for (const packets of all) {
        assert.deepEqual(packets, [["payload", ...payload]]);
      }
      const [{ fields }] = await messagesAfter(admin, streamOf("/"), before);
      assert.equal(fields.data[0], "{");
      assert.deepEqual(decodeData(fields.data).packet.data, ["payload", ...payload]);
    });
  }
});

describe("a parser of one's own", () => {
  /** Packets as base64 of the stock parser's JSON, so that the stock format cannot pass. */
  class Encoder extends parser.Encoder {
    /** @param {any} packet */
    encode(packet) {
      return super
        .encode(packet)
        .map((part) => (typeof part === "string" ? Buffer.from(part).toString("base64") : part));
    }
  }
  class Decoder extends parser.Decoder {
    /** @param {any} data */
    add(data) {
      super.add(typeof data === "string" ? Buffer.from(data, "base64").toString() : data);
    }
  }
  const custom = { ...parser, Encoder, Decoder };
  const context = useCluster({
    serverOptions: { parser: custom },
    clientOptions: { parser: custom },
  });

  for (const sender of NODES) {
    test(`text and binary arrive from node ${sender}`, async () => {
      const { cluster } = context;
      const all = await deliveries(cluster, sender, () => {
        cluster.io(sender).emit("text", { é: [1, null] });
        cluster.io(sender).emit("binary", { bytes });
      });
      for (const packets of all) {
        assert.deepEqual(packets, [
          ["text", { é: [1, null] }],
          ["binary", { bytes }],
        ]);
      }
    });
  }
});

describe("a parser that keeps dates", () => {
  class Encoder {
    /** @param {any} packet */
    encode(packet) {
      return [serialize(packet)];
    }
  }
  class Decoder extends EventEmitter {
    /** @param {any} data */
    add(data) {
      this.emit("decoded", deserialize(data));
    }

    destroy() {}
  }
  const custom = { protocol: parser.protocol, PacketType: parser.PacketType, Encoder, Decoder };
  const context = useCluster({
    serverOptions: { parser: custom },
    clientOptions: { parser: custom },
  });

  for (const sender of NODES) {
    const skip = adapters.upstreamCannot("it makes text of a date", [sender]);
    test(`dates arrive as such from node ${sender}`, { skip }, async () => {
      const { cluster } = context;
      const all = await deliveries(cluster, sender, () => {
        cluster.io(sender).emit("dates", { date, list: [date] }, "x");
        cluster.io(sender).emit("beside binary", date, bytes);
      });
      for (const packets of all) {
        assert.deepEqual(packets, [
          ["dates", { date, list: [date] }, "x"],
          ["beside binary", date, bytes],
        ]);
      }
    });
  }
});
