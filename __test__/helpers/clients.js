// The Redis clients that are handed to `createAdapter`, by the environment variable REDIS_CLIENT:
// redis (6, the default), redis-5, redis-4, ioredis (6), ioredis-5, iovalkey; and, for our adapter
// only, url and settings, which need no client at all.

"use strict";

const { within } = require("./wait");

/** @typedef {import("./redis-server").RedisServer} RedisServer */

/**
 * @typedef {object} Handle
 * @property {any} adapterArgument what `createAdapter` gets: a connected client, a URL, settings
 * @property {() => Promise<void>} close
 */

const CLOSE_TIMEOUT = 1_000;
const WITHOUT_CLIENT = ["url", "settings"];

const name = process.env.REDIS_CLIENT || "redis";

/**
 * @param {string} packageName
 * @param {RedisServer} server
 * @param {Record<string, unknown>} options
 * @returns {Promise<Handle>}
 */
async function nodeRedis(packageName, server, options) {
  const { createClient } = require(packageName);
  const client = createClient({ url: server.url, ...options });
  client.on("error", () => {}); // reconnects by itself; without a listener the process would end
  await client.connect();
  return {
    adapterArgument: client,
    async close() {
      if (!client.isOpen) {
        return;
      }
      // version 4 has other names for both
      const close = client.close ?? client.quit;
      const destroy = client.destroy ?? client.disconnect;
      await within(close.call(client), "the client to close", CLOSE_TIMEOUT).catch(() =>
        destroy.call(client),
      );
    },
  };
}

/**
 * @param {string} packageName
 * @param {RedisServer} server
 * @param {Record<string, unknown>} options
 * @returns {Promise<Handle>}
 */
async function ioredis(packageName, server, options) {
  const { Redis } = require(packageName);
  const { host, port } = server;
  const client = new Redis({ host, port, password: server.options.password, ...options });
  client.on("error", () => {});
  await client.ping();
  return {
    adapterArgument: client,
    async close() {
      await within(client.quit(), "the client to close", CLOSE_TIMEOUT).catch(() =>
        client.disconnect(),
      );
    },
  };
}

/** @type {Record<string, (server: RedisServer, options: Record<string, unknown>) => Promise<Handle>>} */
const FACTORIES = {
  redis: (server, options) => nodeRedis("redis", server, options),
  "redis-5": (server, options) => nodeRedis("redis-5", server, options),
  "redis-4": (server, options) => nodeRedis("redis-4", server, options),
  ioredis: (server, options) => ioredis("ioredis", server, options),
  "ioredis-5": (server, options) => ioredis("ioredis-5", server, options),
  iovalkey: (server, options) => ioredis("iovalkey", server, options),
  url: async (server) => ({ adapterArgument: server.url, close: async () => {} }),
  settings: async ({ host, port, options }) => ({
    adapterArgument: { host, port, ...(options.password ? { password: options.password } : {}) },
    close: async () => {},
  }),
};

if (!FACTORIES[name]) {
  throw new Error(`REDIS_CLIENT is "${name}", must be one of ${Object.keys(FACTORIES).join(", ")}`);
}

/**
 * A connected client for the adapter of one node. Upstream nodes of a mixed cluster get the `redis`
 * package where ours get a URL or settings.
 *
 * @param {RedisServer} server
 * @param {{ kind?: import("./adapters").Kind, client?: string, options?: Record<string, unknown> }} [settings]
 *   `client` overrides REDIS_CLIENT, `options` go to the client's constructor
 * @returns {Promise<Handle>}
 */
function createRedisClient(server, { kind = "native", client = name, options = {} } = {}) {
  const needsClient = kind === "upstream" && WITHOUT_CLIENT.includes(client);
  return FACTORIES[needsClient ? "redis" : client](server, options);
}

/**
 * A client for the tests' own commands, whatever REDIS_CLIENT says.
 *
 * @param {RedisServer} server
 * @returns {Promise<Admin>}
 */
async function createAdmin(server) {
  const { adapterArgument, close } = await nodeRedis("redis", server, { RESP: 2 });
  return {
    client: adapterArgument,
    command: (...args) => adapterArgument.sendCommand(args.map(String)),
    close,
  };
}

/**
 * @typedef {object} Admin
 * @property {any} client a node-redis client
 * @property {(...args: (string | number)[]) => Promise<any>} command sends any command
 * @property {() => Promise<void>} close
 */

module.exports = { name, createRedisClient, createAdmin };
