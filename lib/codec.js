"use strict";
// Messages as they stand in stream entries and PUB/SUB payloads, in upstream's formats.

const { encode, decode } = require("@msgpack/msgpack");
const { MessageType } = require("socket.io-adapter");

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
 * @param {boolean} [fromToJSON]
 * @returns {any}
 */
function toPlain(value, fromToJSON = false) {
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
    return value;
  }
  if (value instanceof ArrayBuffer) {
    return new Uint8Array(value);
  }
  if (typeof value.toJSON === "function" && !fromToJSON) {
    return toPlain(value.toJSON(), true);
  }
  if (Array.isArray(value)) {
    return value.map((item) => toPlain(item));
  }
  const entries = Object.entries(value)
    .filter(([key]) => key !== "__proto__")
    .map(([key, item]) => [key, toPlain(item)]);
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
 * The data of a stream entry: JSON, or msgpack when there is binary in it.
 *
 * @param {number} type
 * @param {unknown} data
 * @param {boolean} onlyPlaintext
 * @returns {{ json?: string, msgpack?: Uint8Array }}
 */
function encodeData(type, data, onlyPlaintext) {
  if (data === undefined) {
    return {};
  }
  if (!onlyPlaintext && WITH_PAYLOAD.has(type) && hasBinary(data)) {
    return { msgpack: encode(toPlain(data)) };
  }
  return { json: JSON.stringify(data) };
}

/**
 * The data of a stream entry, as the engine hands it over.
 *
 * @param {{ text?: string, bytes?: Uint8Array }} entry
 * @returns {any}
 */
function decodeData({ text, bytes }) {
  if (text !== undefined) {
    return JSON.parse(text);
  }
  return bytes === undefined ? undefined : decode(bytes);
}

module.exports = { encodeMsgpack, decodeMsgpack: decode, encodeData, decodeData };
