// What is compared byte by byte: payloads at the edges of JSON, of msgpack and of JavaScript.

"use strict";

/**
 * @typedef {object} Payload
 * @property {string} name
 * @property {() => any[]} args
 */

class Point {
  constructor() {
    this.x = 1;
    this.y = [2];
  }
  get sum() {
    return 3;
  }
}

class Money {
  constructor(/** @type {any} */ amount) {
    this.amount = amount;
  }
  toJSON() {
    return { money: this.amount };
  }
}

class Day extends Date {
  toJSON() {
    return "a day";
  }
}

const bytes = () => Buffer.from([0, 1, 2, 127, 128, 255]);
const view = () => new Uint8Array([9, 9, 0, 1, 2, 255, 9]).subarray(2, 6);
const nested = (/** @type {number} */ depth, /** @type {any} */ inside) => {
  let value = inside;
  for (let i = 0; i < depth; i++) {
    value = i % 2 === 0 ? [value] : { v: value };
  }
  return value;
};
const circular = () => {
  /** @type {any} */
  const value = { a: 1 };
  value.self = value;
  return value;
};
// eslint-disable-next-line no-sparse-arrays
const sparse = () => [1, , 3, ,];
const namedOddly = () =>
  JSON.parse('{"__proto__":{"a":1},"constructor":2,"toString":3,"hasOwnProperty":4,"":5}');

/** Without binary: JSON.stringify has written these. @type {Record<string, () => any[]>} */
const TEXT = {
  "no argument": () => [],
  strings: () => ["", "plain", 'quo"te', "back\\slash", "tab\tline\nreturn\r", "/slash", "\b\f"],
  "control characters": () => [
    Array.from({ length: 0x20 }, (_, i) => String.fromCharCode(i)).join("") + "\x7f\x80\x9f",
  ],
  unicode: () => [
    "žluťoučký kůň",
    "日本語",
    "👩‍👩‍👧‍👦",
    "\u{10FFFF}",
    "e\u0301",
    "\uFEFF",
    "\uFFFD\uFFFF",
  ],
  "line separators": () => ["a\u2028b\u2029c", { "\u2028": 1 }],
  "lone surrogates": () => ["\ud800", "a\udc00b", "\ud83d\ud83d\ude00", { "\udfff": "\udbff" }],
  "numbers at the edges": () => [
    [0, -0, 1e21, 1e-7, 123456789012345680000, 5e-324, -5e-324, 1.7976931348623157e308],
    [2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 53, 2 ** 53 + 2, 2 ** 63, -(2 ** 63), 2 ** 64, 0.1 + 0.2],
    [127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32, -32, -33, -128, -129, -32_769],
    [1.5, 1e100, 100, 1e20],
  ],
  "no numbers": () => [NaN, Infinity, -Infinity, [NaN], { a: -Infinity }],
  "true, false, null": () => [true, false, null, [true, false, null]],
  "special keys": () => [namedOddly(), { 1: "a", 0: "b", "-1": "c", "01": "d" }],
  empty: () => ["", [], {}, [[]], [{}], { a: [] }, { "": {} }],
  "a sparse array": () => [sparse(), { a: sparse() }],
  "a string of 1 MB": () => ["é".repeat(500_000)],
  "a string as long as a frame's lengths": () => ["x".repeat(104)],
  "deep nesting": () => [nested(400, "inside")],
  "a date": () => [new Date(0), { d: new Date("2024-02-29T12:34:56.789Z") }, new Date(NaN)],
  "a date with a toJSON of its own": () => [new Day(0), { d: new Day(0) }],
  undefined: () => [undefined, { gone: undefined, kept: 1 }, [undefined, 1], 2, undefined],
  functions: () => [[() => {}], { f() {}, kept: 1 }, "last"],
  symbols: () => [Symbol("s"), [Symbol.iterator], { [Symbol("k")]: 1, v: Symbol("v") }],
  "maps and sets": () => [new Map([[1, 2]]), new Set([1]), { m: new Map(), s: new Set() }],
  "class instances": () => [new Point(), { p: new Point() }, new Error("lost"), /regex/],
  "boxed values": () => [Object("s"), Object(1), Object(false)],
  toJSON: () => [new Money(1), { m: new Money([2]) }, { toJSON: () => undefined }, [new Money(3)]],
  "toJSON that gives undefined": () => [{ a: { toJSON: () => undefined } }, "last"],
  "no prototype": () => [Object.assign(Object.create(null), { a: 1 })],
  placeholders: () => [
    { _placeholder: true, num: 0 },
    { _placeholder: false, num: "1" },
  ],
  "placeholders in strings": () => ['{"_placeholder":true,"num":0}', '"]', "],[", '1-["'],
  "what looks like an offset": () => ["1700000000000-0"],
  "many arguments": () => Array.from({ length: 300 }, (_, i) => i),
  "JSON in a string": () => [JSON.stringify({ opts: { rooms: ["x"] }, packet: { data: [1] } })],
};

/** With binary: placeholders and attachments. @type {Record<string, () => any[]>} */
const BINARY = {
  "a Buffer": () => [bytes()],
  "an empty Buffer": () => [Buffer.alloc(0)],
  "a Uint8Array": () => [new Uint8Array(bytes())],
  "an ArrayBuffer": () => [new Uint8Array(bytes()).buffer],
  "an empty ArrayBuffer": () => [new ArrayBuffer(0), "last"],
  "views with an offset": () => [view(), new DataView(new Uint8Array(bytes()).buffer, 2, 3)],
  "views of larger numbers": () => [new Float64Array([1.5, -2]), new Uint16Array([1, 65_535])],
  "several, in between": () => [bytes(), "between", Buffer.from("2"), { x: view() }, [bytes()]],
  "the same twice": () => {
    const same = bytes();
    return [same, same];
  },
  "in nested objects": () => [{ a: [{ b: { c: [0, bytes()] } }], d: Buffer.from("d") }, null],
  "deep nesting": () => [nested(60, bytes())],
  "ArrayBuffers in objects": () => [{ a: new Uint8Array(bytes()).buffer, b: [bytes()] }],
  "12 attachments": () => [Array.from({ length: 12 }, (_, i) => Buffer.from([i]))],
  "1 MB": () => [Buffer.alloc(1_000_000, 0xa5)],
  "beside unicode": () => [bytes(), "žluť 日本語 👩‍👩‍👧‍👦 \u2028", { "klíč 👩": "\uFEFF" }],
  "beside escapes": () => [bytes(), 'quo"te', "back\\slash", "\b\f\n\r\t\0\x1f\x7f"],
  "beside lone surrogates": () => [bytes(), "\ud800", { "\udfff": "a\udbff" }],
  "beside numbers at the edges": () => [bytes(), ...TEXT["numbers at the edges"]()],
  "beside no numbers": () => [bytes(), NaN, Infinity, -Infinity, [NaN]],
  "beside empty things": () => [bytes(), "", [], {}, [[]], [{}], { "": [] }, null],
  "beside special keys": () => [bytes(), { constructor: 2, toString: 3, hasOwnProperty: 4, 1: 5 }],
  "beside a key __proto__": () => [bytes(), JSON.parse('{"__proto__":{"a":1},"b":2}')],
  "beside a sparse array": () => [bytes(), sparse()],
  "beside a date": () => [bytes(), new Date(0), { d: new Date("2024-02-29T12:34:56.789Z") }],
  "beside an old date": () => [bytes(), new Date("1583-10-15T00:00:00.001Z")],
  "beside a date that is none": () => [bytes(), new Date(NaN)],
  "beside a date with a toJSON of its own": () => [bytes(), new Day(0)],
  "beside undefined in an array": () => [bytes(), undefined, [undefined, 1], undefined],
  "beside undefined in an object": () => [bytes(), { gone: undefined, kept: 1 }],
  "beside functions": () => [bytes(), { f() {}, kept: 1 }, [() => {}], "last"],
  "beside symbols": () => [bytes(), { s: Symbol("s"), kept: 1 }, [Symbol("s")], "last"],
  "beside maps and sets": () => [bytes(), new Map([[1, 2]]), new Set([1])],
  "beside class instances": () => [bytes(), new Point(), new Error("lost"), /regex/],
  "beside boxed values": () => [bytes(), Object("s"), Object(1)],
  "beside toJSON": () => [bytes(), new Money(1), { m: new Money([2]) }],
  "beside placeholders": () => [bytes(), { _placeholder: true, num: 0 }, { _placeholder: 1 }],
  "a binary class instance": () => [Object.assign(new Point(), { file: bytes() })],
  "binary in toJSON": () => [new Money(bytes())],
  "binary in toJSON in an object": () => [{ m: new Money({ file: view() }) }, bytes()],
  "binary beside what looks like an offset": () => [bytes(), "1700000000000-0"],
};

/** What stock refuses, with an exception out of emit(). @type {Record<string, () => any[]>} */
const THROWING = {
  "a BigInt": () => [1n],
  "a BigInt in an object": () => [{ a: [2n ** 64n] }],
  "a circular object": () => [circular()],
  "a toJSON that throws": () => [
    {
      toJSON() {
        throw new TypeError("no JSON of me");
      },
    },
  ],
  "a getter that throws": () => [
    {
      get a() {
        throw new RangeError("no a");
      },
    },
  ],
  "a BigInt beside binary": () => [bytes(), 1n],
  "a circular object beside binary": () => [bytes(), circular()],
};

/**
 * What an upstream node makes of these before they are in the stream, by name.
 *
 * @type {Record<string, string>}
 */
const UPSTREAM_CANNOT = {
  "an ArrayBuffer": "its msgpack takes it for an empty object",
  "an empty ArrayBuffer": "its msgpack takes it for an empty object",
  "ArrayBuffers in objects": "its msgpack takes them for empty objects",
  "beside a date that is none": "msgpack's timestamp has no such date, it becomes 1970",
  "beside a date with a toJSON of its own": "its msgpack takes it for any date",
  "beside undefined in an object": "its msgpack writes nil, which arrives as null",
  "beside functions": "its msgpack refuses them, nothing is sent",
  "beside symbols": "its msgpack refuses them, nothing is sent",
  "beside toJSON": "its msgpack does not call it",
  "beside a key __proto__": "its msgpack refuses the key when it is read",
  "binary in toJSON": "its msgpack does not call it",
  "binary in toJSON in an object": "its msgpack does not call it",
};

/** @param {Record<string, () => any[]>} payloads @returns {Payload[]} */
const listed = (payloads) => Object.entries(payloads).map(([name, args]) => ({ name, args }));

module.exports = {
  TEXT: listed(TEXT),
  BINARY: listed(BINARY),
  THROWING: listed(THROWING),
  UPSTREAM_CANNOT,
};
