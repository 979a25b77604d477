// Values as JSON that keeps their types apart.

"use strict";

/**
 * @param {any} value
 * @returns {any}
 */
function shape(value) {
  if (typeof value === "string") {
    return value;
  }
  if (value === null || typeof value === "boolean") {
    return value;
  }
  if (typeof value !== "object") {
    return `${typeof value}: ${typeof value === "function" ? "" : Object.is(value, -0) ? "-0" : String(value)}`;
  }
  if (Array.isArray(value)) {
    return Array.from(value, (item, i) => (i in value ? shape(item) : "hole"));
  }
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
    const bytes = Buffer.from(/** @type {any} */ (value).buffer ?? value);
    const { byteOffset = 0, byteLength } = /** @type {any} */ (value);
    return `${value.constructor.name}: ${bytes.subarray(byteOffset, byteOffset + byteLength).toString("hex")}`;
  }
  if (value instanceof Date) {
    return `Date: ${JSON.stringify(value)}`;
  }
  const fields = Object.entries(value).map(([key, field]) => [key, shape(field)]);
  const name = Object.getPrototypeOf(value)?.constructor.name;
  return name === "Object"
    ? Object.fromEntries(fields)
    : { [`${name}`]: Object.fromEntries(fields) };
}

/** Offsets of connection state recovery: entry IDs, and those of the adapter in memory. */
const OFFSET = /^(\d{13}-\d+|[0-9A-Za-z_-]{7}(\.[0-9A-Za-z_-]+)?)$/;

/**
 * An event with its arguments, the last of which may be an offset.
 *
 * @param {any[]} args
 * @param {boolean} hasRecovery
 */
function shapeEvent(args, hasRecovery) {
  const last = args[args.length - 1];
  const hasOffset = hasRecovery && args.length > 1 && OFFSET.test(last);
  return hasOffset ? [...shape(args.slice(0, -1)), "an offset"] : shape(args);
}

module.exports = { shape, shapeEvent };
