"use strict";
// The JSON of the usual broadcast, put together from its parts: only the packet's data has to be
// stringified, which is most of what a publish costs. The bytes are those of JSON.stringify.

/** What JSON.stringify escapes in a string. */
const ESCAPED = /["\\\u0000-\u001f\ud800-\udfff]/;

/**
 * @param {any} packet
 * @param {import("./targets").Targets} opts
 * @returns {[before: string, after: string] | undefined} what stands around the packet's data in the JSON
 * of `{ packet, opts }`; undefined if something is unusual, so that the JSON has to be made as a whole
 */
function aroundData(packet, opts) {
  const { type, data } = packet;
  if (!Number.isInteger(type) || !isUsual(packet) || !Array.isArray(data) || "toJSON" in data) {
    return undefined;
  }
  const rooms = quote(opts.rooms);
  const except = opts.except === undefined ? "" : quote(opts.except);
  const flags = flagsJson(opts.flags);
  if (rooms === undefined || except === undefined || flags === undefined) {
    return undefined;
  }
  return [
    `{"packet":{"type":${type},"data":`,
    `},"opts":{"rooms":[${rooms}],"except":[${except}]${flags}}}`,
  ];
}

/** Whether a packet has `type` and `data`, in this order, and nothing else. @param {any} packet */
function isUsual(packet) {
  let count = 0;
  for (const key in packet) {
    if (key !== (count === 0 ? "type" : "data") || ++count > 2) {
      return false;
    }
  }
  return count === 2 && !("toJSON" in packet);
}

/**
 * @param {Set<any>} rooms
 * @returns {string | undefined} undefined if one of them is not a string
 */
function quote(rooms) {
  let quoted = "";
  for (const room of rooms) {
    if (typeof room !== "string") {
      return undefined;
    }
    const json = ESCAPED.test(room) ? JSON.stringify(room) : `"${room}"`;
    quoted = quoted === "" ? json : `${quoted},${json}`;
  }
  return quoted;
}

/**
 * @param {Record<string, any> | undefined} flags
 * @returns {string | undefined} undefined if they hold more than booleans and numbers
 */
function flagsJson(flags) {
  if (flags === undefined) {
    return "";
  }
  if (flags === null || Object.getPrototypeOf(flags) !== Object.prototype) {
    return undefined;
  }
  let isEmpty = true;
  for (const key in flags) {
    const kind = typeof flags[key];
    if (kind !== "boolean" && kind !== "number" && kind !== "undefined") {
      return undefined;
    }
    isEmpty = false;
  }
  return isEmpty ? ',"flags":{}' : `,"flags":${JSON.stringify(flags)}`;
}

module.exports = { aroundData };
