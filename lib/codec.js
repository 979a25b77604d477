"use strict";
// Encodes and decodes the messages in stream entries and PUB/SUB payloads, in upstream's formats.

const { randomBytes } = require("node:crypto");
const { types } = require("node:util");
const { Decoder, DecodeError, Encoder, encode, decode } = require("@msgpack/msgpack");
const { MessageType } = require("socket.io-adapter");

const { aroundData } = require("./broadcast-json");
const { encodeTargets } = require("./targets");

/** The key of the placeholder that takes the place of binary. It is random: no user's object has it. */
const PLACEHOLDER = randomBytes(16).toString("hex");
const PROTO = "__proto__";
/** Replaces the key `__proto__` while msgpack is decoded. */
const PROTO_STAND_IN = randomBytes(16).toString("hex");
const { isDate } = types;

/** The types of the messages whose data comes from users and may hold binary. */
const WITH_PAYLOAD = new Set([
  MessageType.BROADCAST,
  MessageType.FETCH_SOCKETS_RESPONSE,
  MessageType.SERVER_SIDE_EMIT,
  MessageType.SERVER_SIDE_EMIT_RESPONSE,
  MessageType.BROADCAST_ACK,
]);

/**
 * Whether a payload holds binary, also in what a `toJSON()` returns.
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
    for (let i = 0; i < value.length; i++) {
      if (typeof value[i] === "object" && hasBinary(value[i])) {
        return true;
      }
    }
    return false;
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
 * A copy in which everything except binary is as the stock parser would make it.
 *
 * @param {any} value
 * @param {(bytes: ArrayBufferView) => any} [replace] what takes the place of binary
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
 * The value in a form that the msgpack library encodes as the stock parser would. It converts what
 * the library refuses or misreads, and leaves the rest, dates too. It leaves out the key `__proto__`,
 * because upstream's nodes refuse a whole message that has it. What needs no change is not copied.
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

/** @param {Date} date may come from another realm, as in Jest; the library does not recognize that */
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

/** @param {any} value converted as by JSON.stringify */
function fromBigInt(value) {
  if (typeof value.toJSON === "function") {
    return value.toJSON();
  }
  throw new TypeError("Do not know how to serialize a BigInt");
}

/** An encoder with a larger buffer is not kept, bytes. */
const KEPT_BUFFER = 64 * 1024;
/** The encoder that is not in use: a new one for each value costs more than to encode most values.
 * @type {Encoder | undefined} */
let spare;

/**
 * The depth is limited only by the stack, as with JSON.stringify.
 *
 * @param {unknown} value
 * @returns {Buffer}
 */
function encodeMsgpack(value) {
  return encodeAsIs(toEncodable(value));
}

/**
 * The same without a conversion: for values that the library encodes as they are.
 *
 * @param {unknown} value
 * @returns {Buffer}
 */
function encodeAsIs(value) {
  const encoder = spare ?? new Encoder(undefined, undefined, Infinity);
  // A getter of the user's may encode something meanwhile.
  spare = undefined;
  const encoded = encoder.encodeSharedRef(value);
  if (encoded.buffer.byteLength <= KEPT_BUFFER) {
    spare = encoder;
  }
  return Buffer.from(encoded);
}

/**
 * @param {Uint8Array} map msgpack of an object
 * @param {Uint8Array} other of another one, without common keys; together they have 15 keys at the most
 * @returns {Buffer} msgpack of an object with the keys of both
 */
function joinMaps(map, other) {
  const joined = Buffer.concat([map, other.subarray(1)]);
  // A small map begins with 0x80 and the number of its keys.
  joined[0] += other[0] & 0x0f;
  return joined;
}

/**
 * Accepts the key `__proto__`, which upstream's nodes send and the library refuses. Otherwise one
 * client that puts it into its data could make a whole answer unreadable. The key becomes an
 * ordinary property, as with JSON.parse.
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

/** A decoder that replaces the key `__proto__` with PROTO_STAND_IN. */
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
 * Not recursive, because the depth of the value has no limit.
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
 * @typedef {object} EncodedData data of a stream entry: JSON, or msgpack if it holds binary
 * @property {string} [json]
 * @property {Uint8Array[]} [attachments] the binary that placeholders in the JSON stand for; the
 * engine makes msgpack of both
 * @property {() => Uint8Array} [msgpack] makes the same msgpack in JS
 */

/**
 * @param {number} type
 * @param {unknown} data
 * @param {boolean} onlyPlaintext
 * @param {boolean} [keepsDates] true if the server's parser sends dates to clients as dates
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

/**
 * The same as {@link encodeData} of a broadcast's `{ packet, opts }`, in a fraction of the time.
 *
 * @param {any} packet
 * @param {import("./targets").Targets} opts
 * @param {boolean} onlyPlaintext
 * @param {boolean} [keepsDates]
 * @returns {EncodedData}
 */
function encodeBroadcast(packet, opts, onlyPlaintext, keepsDates = false) {
  const { data } = packet;
  const around = aroundData(packet, opts);
  if (around && (onlyPlaintext || !(hasBinary(data) || (keepsDates && hasDate(data))))) {
    return { json: around[0] + JSON.stringify(data) + around[1] };
  }
  const message = { packet, opts: encodeTargets(opts) };
  return encodeData(MessageType.BROADCAST, message, onlyPlaintext, keepsDates);
}

/** @param {EncodedData} data @returns {number} its approximate size in the stream, bytes */
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

module.exports = {
  PLACEHOLDER,
  encodeMsgpack,
  encodeAsIs,
  joinMaps,
  decodeMsgpack,
  encodeData,
  encodeBroadcast,
  encodedSize,
  decodeData,
};
