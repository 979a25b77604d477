// The formats that nodes speak to each other, written down a second time for the tests: what is in
// the stream and on the channels must be readable by this.

"use strict";

const { decode, encode } = require("@msgpack/msgpack");
const { ADAPTER_OPTIONS } = require("./configuration");

/** The message types that the tests name. */
const MessageType = {
  BROADCAST: 3,
  SOCKETS_JOIN: 4,
  SOCKETS_LEAVE: 5,
  DISCONNECT_SOCKETS: 6,
  FETCH_SOCKETS: 7,
  FETCH_SOCKETS_RESPONSE: 8,
  SERVER_SIDE_EMIT: 9,
  SERVER_SIDE_EMIT_RESPONSE: 10,
  BROADCAST_CLIENT_COUNT: 11,
  BROADCAST_ACK: 12,
};

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {Record<string, string>} fields
 */

/**
 * The stream of a namespace; for several streams the index is never negative (upstream's may
 * be).
 *
 * @param {string} nsp
 * @param {Record<string, any>} [adapterOptions]
 * @returns {string}
 */
function streamOf(nsp, adapterOptions) {
  const { streamName = "socket.io", streamCount = 1 } = { ...ADAPTER_OPTIONS, ...adapterOptions };
  if (streamCount === 1) {
    return streamName;
  }
  let hash = 0;
  for (let i = 0; i < nsp.length; i++) {
    hash = (hash * 31 + nsp.charCodeAt(i)) | 0;
  }
  return `${streamName}-${((hash % streamCount) + streamCount) % streamCount}`;
}

/**
 * The `data` of an entry: JSON, or base64 of msgpack.
 *
 * @param {string} data
 * @returns {any}
 */
function decodeData(data) {
  return data.startsWith("{") ? JSON.parse(data) : decode(Buffer.from(data, "base64"));
}

/** @param {unknown} value @returns {string} */
function encodeBinary(value) {
  return toBuffer(encode(value)).toString("base64");
}

/** A view of the same bytes. @param {Uint8Array} bytes @returns {Buffer} */
function toBuffer(bytes) {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * The entries of a stream after `lastId`, oldest first.
 *
 * @param {import("./clients").Admin} admin
 * @param {string} stream
 * @param {string} [lastId]
 * @returns {Promise<Entry[]>}
 */
async function entriesAfter(admin, stream, lastId = "0-0") {
  const reply = await admin.command("XRANGE", stream, `(${lastId}`, "+");
  return reply.map((/** @type {[string, string[]]} */ [id, flat]) => {
    /** @type {Record<string, string>} */
    const fields = {};
    for (let i = 0; i < flat.length; i += 2) {
      fields[flat[i]] = flat[i + 1];
    }
    return { id, fields };
  });
}

/** Types of what nodes say by themselves, where requests travel in the stream. */
const HEARTBEATS = ["1", "2", "13"];

/**
 * The entries after `lastId` that somebody asked for.
 *
 * @param {import("./clients").Admin} admin
 * @param {string} stream
 * @param {string} [lastId]
 */
async function messagesAfter(admin, stream, lastId) {
  const entries = await entriesAfter(admin, stream, lastId);
  return entries.filter(({ fields }) => !HEARTBEATS.includes(fields.type));
}

/**
 * The id of the last entry of a stream.
 *
 * @param {import("./clients").Admin} admin
 * @param {string} stream
 * @returns {Promise<string>}
 */
async function lastEntryId(admin, stream) {
  const [last] = await admin.command("XREVRANGE", stream, "+", "-", "COUNT", 1);
  return last ? last[0] : "0-0";
}

/**
 * Writes an entry by hand.
 *
 * @param {import("./clients").Admin} admin
 * @param {string} stream
 * @param {Record<string, string | number>} fields
 * @returns {Promise<string>} its id
 */
function addEntry(admin, stream, fields) {
  return admin.command("XADD", stream, "*", ...Object.entries(fields).flat());
}

module.exports = {
  MessageType,
  streamOf,
  decodeData,
  encodeBinary,
  toBuffer,
  entriesAfter,
  lastEntryId,
  messagesAfter,
  addEntry,
  decode,
  encode,
};
