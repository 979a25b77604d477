"use strict";
// Parses redis://, rediss:// and unix:// URLs. An error never holds any part of a URL: if a character
// is not percent-encoded as it should be, any part may hold a piece of the password.

const { settingError } = require("./errors.js");

/** @typedef {import("./errors.js").Context} Context */

/**
 * @typedef {object} UrlParts
 * @property {string} [host]
 * @property {string} [port]
 * @property {string} [path]
 * @property {string} [username]
 * @property {string} [password]
 * @property {string} [database]
 * @property {boolean} tls
 */

/** The schemes of TCP URLs, and whether they mean TLS. */
const TCP_SCHEMES = new Map([
  ["redis:", false],
  ["rediss:", true],
  ["valkey:", false],
  ["valkeys:", true],
]);

// The standard parser refuses a login without a host, but the URL of a unix socket may have one.
const UNIX = /^(?:redis\+)?unix:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\/[^?#]+)(?:\?([^#]*))?$/i;

/**
 * Query parameters that clients and services put into URLs. Only these are named in errors: any other
 * name may be a piece of a password.
 */
const NAMED = [
  "family",
  "tls",
  "ssl",
  "ssl_cert_reqs",
  "rejectUnauthorized",
  "servername",
  "username",
  "password",
  "database",
  "name",
  "clientName",
  "connectionName",
  "keyPrefix",
  "connectTimeout",
  "commandTimeout",
  "timeout",
  "keepAlive",
  "noDelay",
  "protocol",
  "role",
  "lazyConnect",
  "enableReadyCheck",
  "enableOfflineQueue",
  "enableAutoPipelining",
  "maxRetriesPerRequest",
];

const EXPECTED =
  "must be redis://[user:password@]host[:port][/database], the same with rediss:// for TLS (or valkey://, valkeys://), or " +
  "unix://[user:password@]/path/to/socket[?db=database]";

/**
 * @param {Context} context
 * @param {string} setting the name of the URL in messages; "" if it is the whole argument
 * @param {string} url
 * @returns {UrlParts}
 */
function parseUrl(context, setting, url) {
  /** @param {string} problem */
  const failed = (problem) =>
    settingError(
      context,
      setting,
      `${problem} (in a user name or password, percent-encode what is no letter or digit)`,
    );
  return /^(redis\+)?unix:/i.test(url) ? parseUnix(url, failed) : parseTcp(url, failed);
}

/**
 * @param {string} url
 * @param {(problem: string) => Error} failed
 * @returns {UrlParts}
 */
function parseUnix(url, failed) {
  const match = UNIX.exec(url);
  if (match === null) {
    throw failed(EXPECTED);
  }
  const [, username = "", password = "", path, query = ""] = match;
  return {
    path: decode(path, failed),
    username: decode(username, failed),
    password: decode(password, failed),
    database: databaseOf(new URLSearchParams(query), undefined, failed),
    tls: false,
  };
}

/**
 * @param {string} text
 * @param {(problem: string) => Error} failed
 * @returns {UrlParts}
 */
function parseTcp(text, failed) {
  let url;
  try {
    url = new URL(text);
  } catch {
    // The error is not passed on as the cause, because it holds the URL.
    throw failed(EXPECTED);
  }
  const tls = TCP_SCHEMES.get(url.protocol);
  if (tls === undefined) {
    throw failed(EXPECTED);
  }
  if (url.hash !== "") {
    throw failed("must not have a fragment (#)");
  }
  const path = url.pathname.replace(/^\//, "");
  return {
    host: decode(url.hostname, failed),
    port: url.port === "" ? undefined : url.port,
    username: decode(url.username, failed),
    password: decode(url.password, failed),
    database: databaseOf(url.searchParams, path === "" ? undefined : path, failed),
    tls,
  };
}

/**
 * @param {URLSearchParams} query
 * @param {string | undefined} path
 * @param {(problem: string) => Error} failed
 */
function databaseOf(query, path, failed) {
  const others = [...query.keys()].filter((name) => name !== "db");
  if (others.length > 0) {
    const named = NAMED.filter((name) => others.includes(name)).map((name) => `\`${name}\``);
    throw failed(
      "has a query parameter other than `db`" +
        (named.length === 0 ? "" : ` (${named.join(", ")})`) +
        ": leave it out, or pass a settings object instead, such as { url, family: 4 }",
    );
  }
  const all = [path, ...query.getAll("db")].filter((database) => database !== undefined);
  if (all.some((database) => !/^\d{1,9}$/.test(database))) {
    throw failed("has a database that is no number");
  }
  if (all.length > 1) {
    throw failed("names the database twice");
  }
  return all[0];
}

/**
 * @param {string} part
 * @param {(problem: string) => Error} failed
 */
function decode(part, failed) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw failed("has a % that is no percent-encoding");
  }
}

/**
 * @param {unknown} input
 * @returns {input is URL} of any realm: test runners such as Jest have their own
 */
function isUrl(input) {
  return Object.prototype.toString.call(input) === "[object URL]";
}

module.exports = { isUrl, parseUrl };
