// One Socket.IO node: an HTTP server on a free port, a Redis client and an adapter.

"use strict";

const { createServer } = require("node:http");
const { once } = require("node:events");
const { Server } = require("socket.io");
const adapters = require("./adapters");
const { createRedisClient } = require("./clients");
const { ADAPTER_OPTIONS } = require("./configuration");

// Upstream's connections end when a blocking read does, so a short one lets the tests end sooner.
const ADAPTER_DEFAULTS = { blockTimeInMs: 200, ...ADAPTER_OPTIONS };

/**
 * @typedef {object} NodeOptions
 * @property {import("./redis-server").RedisServer} redis
 * @property {number} [index] the place in the cluster, decides which adapter runs (see adapters.js)
 * @property {Record<string, unknown>} [adapterOptions]
 * @property {Record<string, any>} [serverOptions] of Socket.IO's `Server`
 * @property {string} [client] instead of REDIS_CLIENT
 * @property {Record<string, unknown>} [clientOptions] of the Redis client
 * @property {(io: Server, index: number) => void} [setup] called before clients can connect
 */

/**
 * @typedef {object} SocketIoNode
 * @property {number} index
 * @property {import("./adapters").Kind} kind
 * @property {Server} io
 * @property {number} port
 * @property {string} url
 * @property {any} adapterArgument what `createAdapter` got: the Redis client, a URL or settings
 * @property {() => Promise<void>} close
 */

/**
 * @param {NodeOptions} options
 * @returns {Promise<SocketIoNode>}
 */
async function startNode({ redis, client, clientOptions, ...options }) {
  const kind = adapters.kindOf(options.index ?? 0);
  return startNodeOn(
    await createRedisClient(redis, { kind, client, options: clientOptions }),
    options,
  );
}

/**
 * @param {import("./clients").Handle} handle of what `createAdapter` gets
 * @param {Omit<NodeOptions, "redis" | "client" | "clientOptions">} options
 * @returns {Promise<SocketIoNode>}
 */
async function startNodeOn(handle, { index = 0, adapterOptions, serverOptions, setup }) {
  const kind = adapters.kindOf(index);
  const createAdapter = adapters.createAdapterOf(index);
  const http = createServer();
  const io = new Server(http, {
    adapter: createAdapter(handle.adapterArgument, {
      ...ADAPTER_DEFAULTS,
      ...adapters.optionsOf(kind),
      ...adapterOptions,
    }),
    ...serverOptions,
  });
  setup?.(io, index);
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());

  /** @type {Promise<void> | undefined} */
  let closing;
  return {
    index,
    kind,
    io,
    port,
    url: `http://127.0.0.1:${port}`,
    adapterArgument: handle.adapterArgument,
    close() {
      closing ??= (async () => {
        await io.close();
        await handle.close();
      })();
      return closing;
    },
  };
}

module.exports = { startNode, startNodeOn };
