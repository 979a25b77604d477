// The Redis clients that are handed to `createAdapter`, by the environment variable REDIS_CLIENT:
// redis (6, the default), redis-5, redis-4, ioredis (6), ioredis-5, iovalkey; and, for our adapter
// only, url and settings, which need no client at all. For a Redis Cluster it is the package's
// cluster client.

"use strict";

const { within } = require("./wait");

/**
 * A server, or a cluster, which has several ports.
 *
 * @typedef {object} Server
 * @property {string} host
 * @property {number} port
 * @property {string} url
 * @property {number[]} [ports] of the nodes of a cluster
 * @property {{ password?: string }} options
 */

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
 * @param {Server} server
 * @param {Record<string, unknown>} options
 * @returns {Promise<Handle>}
 */
async function nodeRedis(packageName, server, options) {
  const { createClient, createCluster } = require(packageName);
  const client =
    server.ports === undefined
      ? createClient({ url: server.url, ...options })
      : createCluster({
          rootNodes: server.ports.map((port) => ({ url: `redis://${server.host}:${port}` })),
          defaults: { password: server.options.password, ...options },
          ...options,
        });
  client.on("error", () => {}); // reconnects by itself; without a listener the process would end
  await client.connect();
  return {
    adapterArgument: client,
    async close() {
      // version 4 does not say whether a cluster is open
      if (client.isOpen === false) {
        return;
      }
      // version 4 has other names for both
      const close = client.close ?? client.quit;
      const destroy = client.destroy ?? client.disconnect;
      await within(close.call(client), "the client to close", CLOSE_TIMEOUT)
        .catch(() => destroy.call(client))
        .catch(() => {});
    },
  };
}

/**
 * @param {string} packageName
 * @param {Server} server
 * @param {Record<string, unknown>} options
 * @returns {Promise<Handle>}
 */
async function ioredis(packageName, server, options) {
  const { Cluster, Redis } = require(packageName);
  const { host, port, ports } = server;
  const { password } = server.options;
  const client =
    ports === undefined
      ? new Redis({ host, port, password, ...options })
      : new Cluster(
          ports.map((one) => ({ host, port: one })),
          { redisOptions: { password, ...options }, ...options },
        );
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

/**
 * For upstream 0.2, which reads and writes by the same client. What gives its blocking reads a
 * connection of their own it looks for in `require("redis")`, where node-redis 4 has to be; and with
 * ioredis all that it writes waits for what it reads. Here that is done for it.
 *
 * @param {Server} server
 * @param {Record<string, unknown>} options
 * @returns {Promise<Handle>}
 */
async function forUpstream02(server, options) {
  const { adapterArgument: client, close } = await ioredis("ioredis-5", server, options);
  const reader = client.duplicate();
  reader.on("error", () => {});
  client.xread = (/** @type {any[]} */ ...args) => reader.xread(...args);
  return {
    adapterArgument: client,
    async close() {
      reader.disconnect();
      await close();
    },
  };
}

/**
 * @param {{ ports?: number[] }} server
 * @param {any} adapterArgument
 * @returns {Handle}
 */
function withoutClient({ ports }, adapterArgument) {
  const isUrl = typeof adapterArgument === "string";
  return {
    adapterArgument: ports && isUrl ? { cluster: { nodes: [adapterArgument] } } : adapterArgument,
    close: async () => {},
  };
}

/** @type {Record<string, (server: Server, options: Record<string, unknown>) => Promise<Handle>>} */
const FACTORIES = {
  redis: (server, options) => nodeRedis("redis", server, options),
  "redis-5": (server, options) => nodeRedis("redis-5", server, options),
  "redis-4": (server, options) => nodeRedis("redis-4", server, options),
  ioredis: (server, options) => ioredis("ioredis", server, options),
  "ioredis-5": (server, options) => ioredis("ioredis-5", server, options),
  iovalkey: (server, options) => ioredis("iovalkey", server, options),
  url: async (server) => withoutClient(server, server.url),
  settings: async ({ host, port, ports, options: { password } }) => {
    const login = password ? { password } : {};
    const nodes = ports?.map((one) => ({ host, port: one }));
    return withoutClient(
      { ports },
      nodes ? { cluster: { nodes }, ...login } : { host, port, ...login },
    );
  },
};

if (!FACTORIES[name]) {
  throw new Error(`REDIS_CLIENT is "${name}", must be one of ${Object.keys(FACTORIES).join(", ")}`);
}

/**
 * A connected client for the adapter of one node. Upstream nodes of a mixed cluster get the `redis`
 * package where ours get a URL or settings, and those of 0.2 always the same.
 *
 * @param {Server} server
 * @param {{ kind?: import("./adapters").Kind, client?: string, options?: Record<string, unknown> }} [settings]
 *   `client` overrides REDIS_CLIENT, `options` go to the client's constructor
 * @returns {Promise<Handle>}
 */
function createRedisClient(server, { kind = "native", client = name, options = {} } = {}) {
  const needsClient = kind === "upstream" && WITHOUT_CLIENT.includes(client);
  if (kind === "upstream-0.2") {
    return forUpstream02(server, options);
  }
  return FACTORIES[needsClient ? "redis" : client](server, options);
}

/**
 * A client for the tests' own commands, whatever REDIS_CLIENT says; one for each node of a cluster.
 *
 * @param {Server} server
 * @returns {Promise<Admin>}
 */
async function createAdmin({ host, port, url, ports = [port], options }) {
  const handles = await Promise.all(
    ports.map((one) => {
      const at = { host, port: one, url: url.replace(/\d+$/, String(one)), options };
      return nodeRedis("redis", at, { RESP: 2 });
    }),
  );
  const nodes = new Map(handles.map(({ adapterArgument }, i) => [ports[i], adapterArgument]));
  /** @param {(string | Buffer)[]} args */
  const send = (args) => sendTo(nodes, args);
  return {
    client: nodes.get(port),
    connections: ports.length,
    send,
    command: (...args) => send(args.map(String)),
    async close() {
      await Promise.all(handles.map(({ close }) => close()));
    },
  };
}

/**
 * Sends a command to its key's master, or, when it has no key, to all that know a part of the
 * answer.
 *
 * @param {Map<number, any>} nodes clients by port
 * @param {(string | Buffer)[]} args
 */
async function sendTo(nodes, args) {
  const [name, first] = args.map(String);
  if (nodes.size > 1 && (name === "PUBSUB" || name === "KEYS")) {
    /** @type {any[][]} */
    const answers = await Promise.all([...nodes.values()].map((node) => node.sendCommand(args)));
    // `[channel, count, …]` adds up, lists come together
    return first.endsWith("NUMSUB")
      ? answers.reduce((sum, answer) => sum.map((value, i) => (i % 2 ? value + answer[i] : value)))
      : [...new Set(answers.flat())];
  }
  let [node] = nodes.values();
  for (;;) {
    try {
      return await node.sendCommand(args);
    } catch (error) {
      const moved = /^(?:MOVED) \d+ \S+:(\d+)$/.exec(/** @type {Error} */ (error).message);
      if (moved === null) {
        throw error;
      }
      node = nodes.get(Number(moved[1]));
    }
  }
}

/**
 * @typedef {object} Admin
 * @property {any} client a node-redis client, of any node of a cluster
 * @property {number} connections how many it has open
 * @property {(args: (string | Buffer)[]) => Promise<any>} send sends any command as it is
 * @property {(...args: (string | number)[]) => Promise<any>} command sends any command
 * @property {() => Promise<void>} close
 */

module.exports = { name, createRedisClient, createAdmin };
