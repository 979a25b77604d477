// The JSON of a broadcast is put together from its parts (lib/broadcast-json.js). It must be what
// JSON.stringify makes of the whole, and what is unusual must be left to JSON.stringify.
//
// Breaks when a room's name is not escaped, or when a packet with more than type and data loses the
// rest.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { encodeBroadcast } = require("../../lib/codec");
const { encodeTargets } = require("../../lib/targets");

const PACKET = { type: 2, data: ["event", { nested: [1, null, 'é😀"\\\n\u2028'] }] };
const ROOMS = { rooms: new Set(["r"]), except: new Set(), flags: {} };

/** @param {any} packet @param {any} opts */
const whole = (packet, opts) => JSON.stringify({ packet, opts: encodeTargets(opts) });

/** @param {string[]} names */
const to = (...names) => ({ ...ROOMS, rooms: new Set(names) });

class WithToJSON extends Array {
  toJSON() {
    return ["something else"];
  }
}

/** @type {Record<string, [packet: any, opts: any]>} */
const CASES = {
  "one room": [PACKET, ROOMS],
  "no room": [PACKET, to()],
  "an empty name": [PACKET, to("", "b", "")],
  "names that are escaped": [PACKET, to('"', "\\", "\n", "\0", "\x1f", "\x7f", "a\u2028b")],
  "surrogates, in pairs and alone": [PACKET, to("😀", "\ud800", "\udc00x", "a\udfff")],
  "excepted rooms": [PACKET, { ...ROOMS, except: new Set(["x", '"']) }],
  "no excepted rooms": [PACKET, { rooms: new Set(["r"]), flags: {} }],
  "no flags": [PACKET, { rooms: new Set(["r"]), except: new Set() }],
  "null for flags": [PACKET, { ...ROOMS, flags: null }],
  "an array for flags": [PACKET, { ...ROOMS, flags: [] }],
  "flags of socket.io": [
    PACKET,
    { ...ROOMS, flags: { volatile: true, compress: false, timeout: 5, local: undefined } },
  ],
  "flags of a user": [PACKET, { ...ROOMS, flags: { user: { a: [1] }, text: '"' } }],
  "rooms that are no strings": [PACKET, { ...ROOMS, rooms: new Set([5, null, { a: 1 }]) }],
  "an excepted room that is no string": [PACKET, { ...ROOMS, except: new Set([5]) }],
  "nothing as data": [{ type: 2, data: [] }, ROOMS],
  "holes and undefined": [{ type: 2, data: [, undefined, () => {}] }, ROOMS], // prettier-ignore
  "data that is no array": [{ type: 2, data: { a: 1 } }, ROOMS],
  "no data": [{ type: 2 }, ROOMS],
  "another type": [{ type: 1.5, data: [] }, ROOMS],
  "a type that JSON does not have": [{ type: NaN, data: [] }, ROOMS],
  "another order": [{ data: [], type: 2 }, ROOMS],
  "an ID": [{ ...PACKET, id: 4 }, ROOMS],
  "a namespace": [{ ...PACKET, nsp: "/" }, ROOMS],
  "data with a toJSON()": [{ type: 2, data: new WithToJSON() }, ROOMS],
  "a packet with a toJSON()": [{ ...PACKET, toJSON: () => 5 }, ROOMS],
  "inherited fields": [Object.assign(Object.create({ inherited: 1 }), PACKET), ROOMS],
};

describe("the JSON of a broadcast is that of JSON.stringify", () => {
  for (const [name, [packet, opts]] of Object.entries(CASES)) {
    test(name, () => {
      for (const onlyPlaintext of [true, false]) {
        const { json, attachments } = encodeBroadcast(packet, opts, onlyPlaintext);
        assert.equal(json, whole(packet, opts));
        assert.equal(attachments, undefined);
      }
    });
  }
});

test("binary in the data is found, and becomes attachments unless everything is plain text", () => {
  for (const value of [
    Buffer.from([1]),
    new Uint8Array(2),
    new ArrayBuffer(3),
    new Float64Array(1),
  ]) {
    for (const data of [
      ["e", value],
      ["e", { a: [{ b: value }] }],
      ["e", { toJSON: () => value }],
    ]) {
      const packet = { type: 2, data };
      assert.equal(encodeBroadcast(packet, ROOMS, false).attachments?.length, 1);
      assert.equal(encodeBroadcast(packet, ROOMS, true).json, whole(packet, ROOMS));
    }
  }
});

test("what cannot be encoded throws", () => {
  /** @type {any[]} */
  const circular = ["e"];
  circular.push(circular);
  for (const data of [circular, ["e", 1n]]) {
    assert.throws(() => encodeBroadcast({ type: 2, data }, ROOMS, true), TypeError);
  }
});
