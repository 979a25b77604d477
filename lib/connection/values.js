"use strict";
// Checks and converts single settings, for all kinds of clients and settings.

const net = require("node:net");

const { settingError, warnIgnored } = require("./errors.js");

/** @typedef {import("./errors.js").Context} Context */

/**
 * @template {object} T
 * @param {T} settings
 * @returns {T} without the properties that are undefined
 */
function definedOnly(settings) {
  return /** @type {T} */ (
    Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))
  );
}

/** @param {unknown} value */
function isMissing(value) {
  return value === undefined || value === null;
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {unknown} value
 * @returns {string | undefined} undefined if it is missing or empty, as in all clients
 */
function text(context, name, value) {
  if (isMissing(value) || value === "") {
    return undefined;
  }
  if (typeof value === "number") {
    return String(value);
  }
  if (typeof value !== "string") {
    throw settingError(context, name, `must be a string, not ${typeName(value)}`);
  }
  return value;
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {unknown} value a number or its digits, since environment variables and URLs give strings
 * @param {number} min
 * @param {number} max
 * @returns {number | undefined}
 */
function integer(context, name, value, min, max) {
  if (isMissing(value)) {
    return undefined;
  }
  const number = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isInteger(number) || number < min || number > max) {
    throw settingError(context, name, `must be an integer from ${min} to ${max}`);
  }
  return number;
}

/**
 * @param {unknown} value a client's own setting, which the client has not checked
 * @returns {number | undefined} whole milliseconds; undefined if the client sets no limit
 */
function milliseconds(value) {
  const number = isMissing(value) ? NaN : Number(value);
  return number > 0 && number <= Number.MAX_SAFE_INTEGER ? Math.ceil(number) : undefined;
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {unknown} value
 * @returns {number | undefined} undefined for 0, the default of a connection
 */
function database(context, name, value) {
  return integer(context, name, value, 0, 2 ** 31 - 1) || undefined;
}

/**
 * @param {Context} context
 * @param {unknown} username
 * @param {unknown} password
 * @returns {{ username?: string, password?: string }}
 */
function login(context, username, password) {
  const user = text(context, "username", username);
  const secret = text(context, "password", password);
  if (user !== undefined) {
    // An ACL user without a password ("nopass") needs an AUTH too: Redis must know the user.
    return { username: user, password: secret ?? "" };
  }
  return secret === undefined ? {} : { password: secret };
}

/**
 * @param {Context} context
 * @param {{ host?: unknown, port?: unknown, path?: unknown, family?: unknown }} where
 * @returns {{ path?: string, host?: string, port?: number, family?: 4 | 6 }} either a path or the rest
 */
function endpoint(context, where) {
  const path = text(context, "path", where.path);
  if (path !== undefined) {
    return { path };
  }
  // node-redis 4 keeps the brackets around the IPv6 address of a URL.
  const host = (text(context, "host", where.host) ?? "localhost").replace(/^\[(.*)\]$/, "$1");
  const port = integer(context, "port", where.port, 1, 65535) ?? 6379;
  // iovalkey sets 4 by default. If the host is an IP address, its family is known.
  const family = net.isIP(host) === 0 ? addressFamily(context, where.family) : undefined;
  return family === undefined ? { host, port } : { host, port, family };
}

/**
 * @param {Context} context
 * @param {unknown} value
 * @returns {4 | 6 | undefined} undefined for either
 */
function addressFamily(context, value) {
  const digits = typeof value === "string" ? value.replace(/^IPv(?=[46]$)/i, "") : value;
  const number = integer(context, "family", digits, 0, 6);
  if (number === 4 || number === 6) {
    return number;
  }
  if (number === undefined || number === 0) {
    return undefined;
  }
  throw settingError(context, "family", "must be 4, 6 or, for both, 0");
}

/**
 * @param {Context} context
 * @param {unknown} value
 * @returns {string | undefined}
 */
function keyPrefix(context, value) {
  if (!Buffer.isBuffer(value)) {
    return text(context, "keyPrefix", value);
  }
  const decoded = value.toString();
  if (!Buffer.from(decoded).equals(value)) {
    throw settingError(context, "keyPrefix", "must be UTF-8");
  }
  return text(context, "keyPrefix", decoded);
}

/**
 * Clients may turn reconnects off. An adapter without them would leave the cluster for good.
 *
 * @param {Context} context
 * @param {string} name
 * @param {unknown} strategy
 * @returns {number | undefined} a fixed delay in ms
 */
function reconnectDelay(context, name, strategy) {
  if (typeof strategy === "number" && strategy >= 0 && strategy <= 2 ** 31 - 1) {
    return Math.ceil(strategy);
  }
  // A function is replaced without a warning: the engine's own growing delay with jitter never ends.
  if (strategy !== undefined && typeof strategy !== "function") {
    warnIgnored(context, name, "the adapter reconnects until it is closed");
  }
  return undefined;
}

/**
 * @param {unknown} value
 * @returns {string} its type with an article, never its content
 */
function typeName(value) {
  if (value === null || value === undefined) {
    return String(value);
  }
  if (Array.isArray(value)) {
    return "an array";
  }
  if (typeof value !== "object") {
    return `a ${typeof value}`;
  }
  const name = value.constructor?.name;
  return typeof name === "string" && name !== "" && name !== "Object"
    ? `an object of class ${name}`
    : "an object";
}

module.exports = {
  database,
  definedOnly,
  endpoint,
  integer,
  isMissing,
  keyPrefix,
  login,
  milliseconds,
  reconnectDelay,
  text,
  typeName,
};
