// The Redis clients that are supported, made and used the same way.

"use strict";

const { within } = require("../helpers/wait");

/**
 * @typedef {object} Version
 * @property {string} name
 * @property {"node-redis" | "ioredis"} family
 * @property {(options: any) => any} create a client that is not connected
 * @property {object} ownTimeout what the client's own connectTimeout adds to the settings
 */

/**
 * @param {string} name
 * @param {object} ownTimeout
 * @returns {Version}
 */
function nodeRedis(name, ownTimeout) {
  return {
    name,
    family: "node-redis",
    ownTimeout,
    create: (options) => require(name).createClient(options).on("error", noop),
  };
}

/**
 * @param {string} name
 * @returns {Version}
 */
function ioredis(name) {
  return {
    name,
    family: "ioredis",
    ownTimeout: { connectTimeout: 10_000 },
    create(options) {
      const { Redis } = require(name);
      const client =
        typeof options === "string"
          ? new Redis(options, { lazyConnect: true })
          : new Redis({ ...options, lazyConnect: true });
      return client.on("error", noop);
    },
  };
}

/** The failing command says what is wrong as well. */
function noop() {}

const VERSIONS = [
  nodeRedis("redis-4", { connectTimeout: 5_000 }),
  nodeRedis("redis-5", {}),
  nodeRedis("redis", {}),
  ioredis("ioredis-5"),
  ioredis("ioredis"),
  ioredis("iovalkey"),
];

/**
 * @param {any} client
 * @param {string[]} args
 * @returns {Promise<any>}
 */
function call(client, ...args) {
  const isNodeRedis = typeof client.sSubscribe === "function";
  return within(
    isNodeRedis ? client.sendCommand(args) : client.call(...args),
    `the client's reply to ${args[0]}`,
  );
}

/** @param {any} client */
function disconnect(client) {
  if (client.isOpen === false) {
    return; // a node-redis client that never connected refuses to disconnect
  }
  (client.destroy ?? client.disconnect).call(client);
}

module.exports = { call, disconnect, VERSIONS };
