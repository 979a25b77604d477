"use strict";
// Messages as they stand in stream entries and PUB/SUB payloads, in upstream's formats.

const { randomBytes } = require("node:crypto");
const { types } = require("node:util");
const { Decoder, DecodeError, encode, decode } = require("@msgpack/msgpack");
const { MessageType } = require("socket.io-adapter");

/** The key of a placeholder for binary on the way to the engine: no user's object has it. */
const PLACEHOLDER = randomBytes(16).toString("hex");
const PROTO = "__proto__";
/** What stands for that key while msgpack is decoded. */
const PROTO_STAND_IN = randomBytes(16).toString("hex");
const { isDate } = types;

/** The messages whose data comes from users, and may hold binary. */
const WITH_PAYLOAD = new Set([
  MessageType.BROADCAST,
  MessageType.FETCH_SOCKETS_RESPONSE,
  MessageType.SERVER_SIDE_EMIT,
  MessageType.SERVER_SIDE_EMIT_RESPONSE,
  MessageType.BROADCAST_ACK,
]);

/**
 * Whether there is binary somewhere in a payload, also behind a `toJSON()`.
 *
 * @param {unknown} value
 * @param {boolean} [fromToJSON]
 * @returns {boolean}
 */
function hasBinary(value, fromToJSON = false) {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    return true;
  }
  if (Array.isArray(value)) {
    return value.some((item) => hasBinary(item));
  }
  const object = /** @type {any} */ (value);
  if (typeof object.toJSON === "function" && !fromToJSON) {
    return hasBinary(object.toJSON(), true);
  }
  for (const key in object) {
    if (Object.hasOwn(object, key) && hasBinary(object[key])) {
      return true;
    }
  }
  return false;
}

/**
 * @param {unknown} value
 * @returns {boolean}
 */
function hasDate(value) {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) {
    return false;
  }
  return isDate(value) || Object.values(value).some(hasDate);
}

/**
 * A copy with what the stock parser would make of everything but binary.
 *
 * @param {any} value
 * @param {(bytes: ArrayBufferView) => any} [replace] what stands in the place of binary
 * @param {boolean} [fromToJSON]
 * @returns {any}
 */
function toPlain(value, replace = (bytes) => bytes, fromToJSON = false) {
  if (typeof value === "bigint") {
    return fromBigInt(value);
  }
  if (typeof value === "function" || typeof value === "symbol") {
    return undefined;
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  if (ArrayBuffer.isView(value)) {
    return replace(value);
  }
  if (value instanceof ArrayBuffer) {
    return replace(new Uint8Array(value));
  }
  if (typeof value.toJSON === "function" && !fromToJSON) {
    return toPlain(value.toJSON(), replace, true);
  }
  if (Array.isArray(value)) {
    return value.map((item) => toPlain(item, replace));
  }
  const entries = Object.entries(value)
    .filter(([key]) => key !== PROTO)
    .map(([key, item]) => [key, toPlain(item, replace)]);
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined));
}

/**
 * The value with all that the msgpack library refuses, or takes for something else, as the stock
 * parser would have it. What it takes as it is, dates too, stays. Without the key `__proto__`, which
 * makes upstream's nodes refuse the whole message. What needs no change is not copied.
 *
 * @param {any} value
 * @returns {any}
 */
function toEncodable(value) {
  if (typeof value === "bigint") {
    return fromBigInt(value);
  }
  if (typeof value === "function" || typeof value === "symbol") {
    return undefined;
  }
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) {
    return value;
  }
  if (value instanceof ArrayBuffer) {
    return new Uint8Array(value);
  }
  if (isDate(value)) {
    return toEncodableDate(value);
  }
  if (typeof value.toJSON === "function") {
    const json = value.toJSON();
    return json === value ? toEncodableObject(value) : toEncodable(json);
  }
  return Array.isArray(value) ? toEncodableArray(value) : toEncodableObject(value);
}

/** @param {Date} date perhaps of another realm, as in Jest, which the library does not know */
function toEncodableDate(date) {
  if (Number.isNaN(date.getTime())) {
    return null;
  }
  return date instanceof Date ? date : new Date(date);
}

/** @param {any[]} array */
function toEncodableArray(array) {
  let copy;
  for (let i = 0; i < array.length; i++) {
    const item = toEncodable(array[i]);
    if (!Object.is(item, array[i])) {
      copy ??= array.slice();
      copy[i] = item;
    }
  }
  return copy ?? array;
}

/** @param {Record<string, any>} object */
function toEncodableObject(object) {
  let copy;
  for (const key of Object.keys(object)) {
    const item = key === PROTO ? undefined : toEncodable(object[key]);
    if (!Object.is(item, object[key])) {
      copy ??= { ...object };
      if (item === undefined) {
        delete copy[key];
      } else {
        copy[key] = item;
      }
    }
  }
  return copy ?? object;
}

/** @param {any} value as JSON.stringify has it */
function fromBigInt(value) {
  if (typeof value.toJSON === "function") {
    return value.toJSON();
  }
  throw new TypeError("Do not know how to serialize a BigInt");
}

/**
 * As deep as the stack allows, as JSON.stringify.
 *
 * @param {unknown} value
 * @returns {Uint8Array}
 */
function encodeMsgpack(value) {
  return encode(toEncodable(value), { maxDepth: Infinity });
}

/**
 * With keys `__proto__`, which upstream's nodes send and the library refuses: one client that has
 * put it into its data must not make an answer unreadable. It becomes a property as any other, as
 * JSON.parse makes it.
 *
 * @param {Uint8Array} bytes
 * @returns {any}
 */
function decodeMsgpack(bytes) {
  try {
    return decode(bytes);
  } catch (error) {
    if (!(error instanceof DecodeError) || !error.message.includes(PROTO)) {
      throw error;
    }
    return withProtoKeys(lenientDecoder().decode(bytes));
  }
}

/** A decoder that reads the key `__proto__` as another. */
function lenientDecoder() {
  const limits = /** @type {const} */ ([undefined, undefined, undefined, undefined, undefined]);
  return new Decoder(undefined, undefined, ...limits, {
    canBeCached: () => true,
    decode(bytes, at, length) {
      const key = Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString();
      return key === PROTO ? PROTO_STAND_IN : key;
    },
  });
}

/**
 * Not recursive: nobody has bounded how deep it is.
 *
 * @param {any} root changed in place
 */
function withProtoKeys(root) {
  const left = [root];
  while (left.length > 0) {
    const value = left.pop();
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) {
      continue;
    }
    if (Object.hasOwn(value, PROTO_STAND_IN)) {
      const own = { value: value[PROTO_STAND_IN], writable: true, enumerable: true };
      Object.defineProperty(value, PROTO, { ...own, configurable: true });
      delete value[PROTO_STAND_IN];
    }
    for (const item of Object.values(value)) {
      left.push(item);
    }
  }
  return root;
}

/**
 * @typedef {object} EncodedData data of a stream entry: JSON, or msgpack when there is binary in it
 * @property {string} [json]
 * @property {Uint8Array[]} [attachments] what the placeholders in the JSON stand for: the engine
 * makes msgpack of both
 * @property {() => Uint8Array} [msgpack] the same made here
 */

/**
 * @param {number} type
 * @param {unknown} data
 * @param {boolean} onlyPlaintext
 * @param {boolean} [keepsDates] clients get dates as such, since the server has a parser that does
 * @returns {EncodedData}
 */
function encodeData(type, data, onlyPlaintext, keepsDates = false) {
  if (data === undefined) {
    return {};
  }
  const mayBeMsgpack = !onlyPlaintext && WITH_PAYLOAD.has(type);
  if (mayBeMsgpack && keepsDates && hasDate(data)) {
    const msgpack = encodeMsgpack(data);
    return { msgpack: () => msgpack };
  }
  if (!mayBeMsgpack || !hasBinary(data)) {
    return { json: JSON.stringify(data) };
  }
  /** @type {Uint8Array[]} */
  const attachments = [];
  const plain = toPlain(data, ({ buffer, byteOffset, byteLength }) => ({
    [PLACEHOLDER]: attachments.push(new Uint8Array(buffer, byteOffset, byteLength)) - 1,
  }));
  return {
    json: JSON.stringify(plain),
    attachments,
    msgpack: () => encode(toPlain(data), { maxDepth: Infinity }),
  };
}

/** @param {EncodedData} data @returns {number} about how many bytes it takes in the stream */
function encodedSize({ json = "", attachments = [] }) {
  return attachments.reduce((sum, { length }) => sum + length, json.length);
}

/**
 * The data of a stream entry, as the engine hands it over.
 *
 * @param {{ json?: string, msgpack?: Uint8Array }} entry
 * @returns {any}
 */
function decodeData({ json, msgpack }) {
  if (json !== undefined) {
    return JSON.parse(json);
  }
  return msgpack === undefined ? undefined : decodeMsgpack(msgpack);
}

module.exports = { PLACEHOLDER, encodeMsgpack, decodeMsgpack, encodeData, encodedSize, decodeData };
