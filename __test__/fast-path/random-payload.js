// Random payloads for the comparison byte by byte, and smaller ones that may fail like them.

"use strict";

/** Pieces of strings that are escaped, long in UTF-8, half a character, or look like syntax. */
const PIECES = [
  ...["a", "Z", " ", '"', "\\", "/", "\b", "\n", "\r", "\t", "\f", "\0", "\x1e", "\x1f", "\x7f"],
  ...["\x80", "é", "\u2028", "\u2029", "日", "\uFFFF", "😀"],
  ...["],[", "}", '{"_placeholder":true,"num":0}', "1-0", "x".repeat(300), "é".repeat(40_000)],
];
/**
 * Not beside binary: msgpack's longer strings hold no half characters, and its JS library drops a
 * byte order mark from their beginning.
 */
const NOT_IN_MSGPACK = ["\ud83d", "\udc00", "\ud800", "\uFEFF"];
const KEYS = ["a", "b", "", "0", "-1", "constructor", "toString", "length", "toJSON", "num"];
const NUMBERS = [
  ...[0, -0, 1, -1, 31, -32, -33, 127, 128, -128, -129, 255, 256, 32_767, 65_535, 65_536],
  ...[2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 53, 2 ** 63, 2 ** 64, 1e21],
  ...[0.1, 1.5, 1e-7, 5e-324, 1.7976931348623157e308, NaN, Infinity, -Infinity],
];

class Thing {
  constructor(/** @type {any} */ value) {
    this.value = value;
  }
}

class Jsonable extends Thing {
  toJSON() {
    return { said: this.value };
  }
}

class Generator {
  #random;
  /** Whether the payload that is made may hold binary. */
  #binary = false;

  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
  }

  /** @param {number} below */
  #integer(below) {
    return Math.floor(this.#random() * below);
  }

  /** @template T @param {T[]} items @returns {T} */
  #pick(items) {
    return items[this.#integer(items.length)];
  }

  #string() {
    const pieces = this.#binary ? PIECES : [...PIECES, ...NOT_IN_MSGPACK];
    return Array.from({ length: this.#integer(6) }, () => this.#pick(pieces)).join("");
  }

  #number() {
    const special = this.#random() < 0.5;
    return special ? this.#pick(NUMBERS) : (this.#random() - 0.5) * 10 ** this.#integer(40);
  }

  #bytes() {
    const bytes = Buffer.from(Array.from({ length: this.#integer(20) }, () => this.#integer(256)));
    const offset = this.#integer(bytes.length + 1);
    return this.#pick([
      () => bytes,
      () => bytes.subarray(offset),
      () => new Uint8Array(bytes),
      () => new Uint8Array(bytes).buffer,
      () => new DataView(new Uint8Array(bytes).buffer, offset),
      () => new Float32Array([1.5]),
    ])();
  }

  #key() {
    return this.#random() < 0.7 ? this.#pick(KEYS) : this.#string();
  }

  /** @param {number} depth @returns {any} */
  #list(depth) {
    const list = Array.from({ length: this.#integer(5) }, () => this.#value(depth + 1));
    if (this.#random() < 0.1) {
      list.length += 2; // holes
    }
    return list;
  }

  /** @param {number} depth @returns {any} */
  #object(depth) {
    /** @type {any} */
    const object = this.#random() < 0.1 ? Object.create(null) : {};
    for (let i = this.#integer(5); i > 0; i--) {
      object[this.#key()] = this.#value(depth + 1);
    }
    return object;
  }

  /** @param {number} depth @returns {any} */
  #value(depth) {
    const leaves = [
      () => this.#string(),
      () => this.#string(),
      () => this.#number(),
      () => this.#number(),
      () => this.#pick([true, false, null, undefined]),
      () => this.#pick([new Date(0), new Date(NaN), new Date(1e12), new Map([[1, 2]]), /x/g]),
      () => this.#pick([() => {}, Symbol("s"), Object("boxed"), new Set([1])]),
      ...(this.#binary ? [() => this.#bytes(), () => this.#bytes()] : []),
    ];
    const branches = [
      () => this.#list(depth),
      () => this.#object(depth),
      () => this.#object(depth),
      () => new Thing(this.#value(depth + 1)),
      () => new Jsonable(this.#value(depth + 1)),
    ];
    return this.#pick(depth < 6 && this.#random() < 0.5 ? branches : leaves)();
  }

  /**
   * The arguments of an event; the last is no function, which would ask for acknowledgements.
   *
   * @returns {any[]}
   */
  args() {
    this.#binary = this.#random() < 0.4;
    const args = Array.from({ length: this.#integer(5) }, () => this.#value(0));
    return [...args, this.#binary ? this.#bytes() : "last"];
  }
}

/**
 * Payloads that are a little smaller than one.
 *
 * @param {any} value
 * @returns {any[]}
 */
function smaller(value) {
  if (typeof value === "string" && value.length > 1) {
    return [value.slice(0, value.length >> 1), value.slice(value.length >> 1)];
  }
  if (Array.isArray(value)) {
    return [
      ...value.map((_, i) => value.filter((_, j) => j !== i)),
      ...value.flatMap((item, i) =>
        [...inside(item), ...smaller(item)].map((s) => value.map((v, j) => (j === i ? s : v))),
      ),
    ];
  }
  if (isPlain(value)) {
    return Object.keys(value).flatMap((key) => {
      const { [key]: item, ...rest } = value;
      return [rest, ...[...inside(item), ...smaller(item)].map((s) => ({ ...rest, [key]: s }))];
    });
  }
  return [];
}

/** What a value is made of. @param {any} value @returns {any[]} */
function inside(value) {
  return Array.isArray(value) || isPlain(value) ? Object.values(value) : [];
}

/** @param {any} value */
function isPlain(value) {
  return typeof value === "object" && value !== null && value.constructor === Object;
}

module.exports = { Generator, smaller };
