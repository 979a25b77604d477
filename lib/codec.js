"use strict";
// Messages as they stand in stream entries and PUB/SUB payloads, in upstream's formats.

const { randomBytes } = require("node:crypto");
const { encode, decode } = require("@msgpack/msgpack");
const { MessageType } = require("socket.io-adapter");

/** The key of a placeholder for binary on the way to the engine: no user's object has it. */
const PLACEHOLDER = randomBytes(16).toString("hex");

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
 * A copy with what the stock parser would make of everything but binary: msgpack refuses functions,
 * does not call toJSON(), and has no key `__proto__`.
 *
 * @param {any} value
 * @param {(bytes: ArrayBufferView) => any} [replace] what stands in the place of binary
 * @param {boolean} [fromToJSON]
 * @returns {any}
 */
function toPlain(value, replace = (bytes) => bytes, fromToJSON = false) {
  if (typeof value === "bigint") {
    throw new TypeError("Do not know how to serialize a BigInt");
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
    .filter(([key]) => key !== "__proto__")
    .map(([key, item]) => [key, toPlain(item, replace)]);
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined));
}

/**
 * The value with views in place of ArrayBuffers, which the msgpack library takes for empty objects.
 * What holds none is not copied.
 *
 * @param {any} value
 * @returns {any}
 */
function withViews(value) {
  if (value instanceof ArrayBuffer) {
    return new Uint8Array(value);
  }
  if (Array.isArray(value)) {
    const items = value.map(withViews);
    return items.some((item, i) => item !== value[i]) ? items : value;
  }
  if (!isPlainObject(value)) {
    return value;
  }
  const entries = Object.entries(value).map(([key, item]) => [key, withViews(item)]);
  return entries.some(([key, item]) => item !== value[key]) ? Object.fromEntries(entries) : value;
}

/** @param {any} value */
function isPlainObject(value) {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * @param {unknown} value
 * @returns {Uint8Array}
 */
function encodeMsgpack(value) {
  const encodable = withViews(value);
  try {
    return encode(encodable);
  } catch {
    return encode(toPlain(encodable));
  }
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
 * @returns {EncodedData}
 */
function encodeData(type, data, onlyPlaintext) {
  if (data === undefined) {
    return {};
  }
  if (onlyPlaintext || !WITH_PAYLOAD.has(type) || !hasBinary(data)) {
    return { json: JSON.stringify(data) };
  }
  /** @type {Uint8Array[]} */
  const attachments = [];
  const plain = toPlain(data, ({ buffer, byteOffset, byteLength }) => ({
    [PLACEHOLDER]: attachments.push(new Uint8Array(buffer, byteOffset, byteLength)) - 1,
  }));
  return { json: JSON.stringify(plain), attachments, msgpack: () => encode(toPlain(data)) };
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
  return msgpack === undefined ? undefined : decode(msgpack);
}

module.exports = { PLACEHOLDER, encodeMsgpack, decodeMsgpack: decode, encodeData, decodeData };
