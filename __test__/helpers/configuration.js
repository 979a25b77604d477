// Which servers the tests run on, and with which options of the adapter, by environment variables,
// so that the tests themselves need not know of it:
//
//   REDIS            what is started, and how nodes reach it (see redis-setup.js): single (the
//                    default), cluster, sentinel, unix, tls or acl
//   REDIS_SERVER     the server's program, by default redis-server on PATH
//   ADAPTER_OPTIONS  JSON, for every adapter; what a test asks for itself wins
//   CLIENT_OPTIONS   JSON, for every Redis client that is handed to an adapter
//
// ADAPTER (adapters.js) and REDIS_CLIENT (clients.js) choose the adapter and the client.

"use strict";

const { execFileSync } = require("node:child_process");

const KINDS = ["single", "cluster", "sentinel", "unix", "tls", "acl"];

const REDIS = process.env.REDIS || "single";
if (!KINDS.includes(REDIS)) {
  throw new Error(`REDIS is "${REDIS}", must be one of ${KINDS.join(", ")}`);
}

const SERVER = process.env.REDIS_SERVER || "redis-server";

/** @type {Record<string, any>} */
const ADAPTER_OPTIONS = JSON.parse(process.env.ADAPTER_OPTIONS || "{}");
/** @type {Record<string, any>} */
const CLIENT_OPTIONS = JSON.parse(process.env.CLIENT_OPTIONS || "{}");

/** @type {Map<string, { name: string, version: string, major: number }>} */
const versions = new Map();

/**
 * What a server's program says that it is, `{ name: "Redis", version: "7.0.15", major: 7 }`.
 *
 * @param {string} [binary]
 */
function serverVersion(binary = SERVER) {
  let found = versions.get(binary);
  if (!found) {
    const text = execFileSync(binary, ["--version"], { encoding: "utf8" });
    const match = /^(\w+) server v=((\d+)\.[\w.-]+)/.exec(text);
    if (!match) {
      throw new Error(`${binary} --version says ${JSON.stringify(text)}`);
    }
    found = { name: match[1], version: match[2], major: Number(match[3]) };
    versions.set(binary, found);
  }
  return found;
}

/**
 * For the `skip` option of a test that needs a later server: the reason, else false.
 *
 * @param {number} major
 * @param {string} what
 * @returns {string | false}
 */
function needsServer(major, what) {
  const { name, version, major: its } = serverVersion();
  return its < major ? `${name} ${version} has no ${what}, which came with ${major}.0` : false;
}

/**
 * For the `skip` option of a test that is about the default of options, or cannot do with another
 * value of them: the reason when ADAPTER_OPTIONS sets one, else false.
 *
 * @param {string[]} names
 * @param {string} reason
 * @returns {string | false}
 */
function needsDefault(names, reason) {
  const set = names.filter((name) => name in ADAPTER_OPTIONS);
  return set.length > 0 ? `with ${set.join(", ")} set for all: ${reason}` : false;
}

module.exports = {
  REDIS,
  SERVER,
  ADAPTER_OPTIONS,
  CLIENT_OPTIONS,
  serverVersion,
  needsServer,
  needsDefault,
};
