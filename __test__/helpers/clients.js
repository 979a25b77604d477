// The Redis clients that are handed to `createAdapter`, by the environment variable REDIS_CLIENT:
// redis (6, the default), redis-5, redis-4, ioredis (6), ioredis-5, iovalkey; and, for our adapter
// only, url and settings, which need no client at all. For a Redis Cluster it is the package's
// cluster client.

"use strict";

const { ADAPTER_OPTIONS, CLIENT_OPTIONS } = require("./configuration");
const { settle, within } = require("./wait");

/** @typedef {{ host: string, port: number }} Place */

/**
 * How the adapter's clients reach a server where host, port and password do not say it. The tests'
 * own commands go to host and port all the same.
 *
 * @typedef {object} Reach
 * @property {string} [path] a unix socket
 * @property {{ port: number, ca: string, cert: string, key: string, servername: string }} [tls]
 * @property {{ name: string, nodes: Place[], natMap?: Record<string, Place> }} [sentinel]
 * @property {Record<string, Place>} [natMap] of a cluster
 * @property {string} [username]
 * @property {string} [password]
 */

/**
 * A server, or a cluster, which has several ports.
 *
 * @typedef {object} Server
 * @property {string} host
 * @property {number} port
 * @property {string} url
 * @property {number[]} [ports] of the nodes of a cluster
 * @property {{ password?: string }} options
 * @property {Reach} [reach]
 */

/**
 * @typedef {object} Handle
 * @property {any} adapterArgument what `createAdapter` gets: a connected client, a URL, settings
 * @property {() => Promise<void>} close
 */

const CLOSE_TIMEOUT = 1_000;
/** ms for which a cluster may be down after a failover. */
const CLUSTER_DOWN_LIMIT = 10_000;
const WITHOUT_CLIENT = ["url", "settings"];

const name = process.env.REDIS_CLIENT || "redis";

/**
 * Host and port or what stands for them, and who logs in.
 *
 * @param {Server} server
 * @returns {{ address: { path?: string, host?: string, port?: number, tls?: object }, login: object }}
 */
function placeOf({ host, port, options, reach: { path, tls, sentinel, natMap, ...login } = {} }) {
  const { port: tlsPort, ...certificates } = tls ?? { port };
  return {
    address: path ? { path } : { host, port: tlsPort, ...(tls && { tls: certificates }) },
    login: options.password ? { password: options.password, ...login } : login,
  };
}

/**
 * @param {string} packageName
 * @param {Server} server
 * @param {Record<string, unknown>} options
 */
function nodeRedisClient(packageName, server, options) {
  const { createClient, createCluster, createSentinel } = require(packageName);
  const { address, login } = placeOf(server);
  if (server.reach?.sentinel) {
    const { name, nodes } = server.reach.sentinel;
    return createSentinel({
      name,
      sentinelRootNodes: nodes,
      nodeClientOptions: { ...login, ...options },
    });
  }
  if (server.ports !== undefined) {
    return createCluster({
      rootNodes: server.ports.map((port) => ({ url: `redis://${server.host}:${port}` })),
      defaults: { ...login, ...options },
      ...options,
    });
  }
  const { tls, ...place } = address;
  return createClient({
    socket: { ...place, ...(tls && { tls: true, ...tls }) },
    ...login,
    ...options,
  });
}

/**
 * @param {string} packageName
 * @param {Server} server
 * @param {Record<string, unknown>} options
 * @returns {Promise<Handle>}
 */
async function nodeRedis(packageName, server, options) {
  const client = nodeRedisClient(packageName, server, options);
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
      const destroy = async () => (client.destroy ?? client.disconnect).call(client);
      // A cluster client that is closed while it asks for the cluster's nodes connects to them
      // afterwards. When they have ended it would try to reconnect for ever, and keep the test alive.
      for (const event of ["node-connect", "node-error"]) {
        client.on(event, () => destroy().catch(() => {}));
      }
      await within(close.call(client), "the client to close", CLOSE_TIMEOUT)
        .catch(destroy)
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
  const { address, login } = placeOf(server);
  const { host, ports, reach } = server;
  const place = reach?.sentinel
    ? { sentinels: reach.sentinel.nodes, name: reach.sentinel.name }
    : address;
  const client =
    ports === undefined
      ? new Redis({ ...place, ...login, ...options })
      : new Cluster(
          ports.map((port) => ({ host, port })),
          { redisOptions: { ...login, ...options }, ...options },
        );
  client.on("error", () => {});
  if (!options.lazyConnect) {
    await client.ping();
  }
  return {
    adapterArgument: client,
    async close() {
      if (client.status === "wait") {
        return; // with lazyConnect: nobody has used it
      }
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

/** @param {any} adapterArgument @returns {Handle} */
function withoutClient(adapterArgument) {
  return { adapterArgument, close: async () => {} };
}

/** @param {Server} server */
function urlOf({ url, ports, reach }) {
  if (reach && !reach.path) {
    throw new Error("REDIS_CLIENT=url says too little, take settings");
  }
  return ports ? { cluster: { nodes: [url] } } : reach?.path ? `unix://${reach.path}` : url;
}

/** @param {Server} server */
function settingsOf(server) {
  const { address, login } = placeOf(server);
  const { host, ports, reach } = server;
  if (reach?.sentinel) {
    return { sentinel: reach.sentinel, ...login };
  }
  const nodes = ports?.map((port) => ({ host, port }));
  return { ...(nodes ? { cluster: { nodes, natMap: reach?.natMap } } : address), ...login };
}

/** @type {Record<string, (server: Server, options: Record<string, unknown>) => Promise<Handle>>} */
const FACTORIES = {
  redis: (server, options) => nodeRedis("redis", server, options),
  "redis-5": (server, options) => nodeRedis("redis-5", server, options),
  "redis-4": (server, options) => nodeRedis("redis-4", server, options),
  ioredis: (server, options) => ioredis("ioredis", server, options),
  "ioredis-5": (server, options) => ioredis("ioredis-5", server, options),
  iovalkey: (server, options) => ioredis("iovalkey", server, options),
  url: async (server) => withoutClient(urlOf(server)),
  settings: async (server) => withoutClient(settingsOf(server)),
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
  return FACTORIES[needsClient ? "redis" : client](server, { ...CLIENT_OPTIONS, ...options });
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
  const send = async (args) => (await sendTo(nodes, args)).reply;
  return {
    client: nodes.get(port),
    connections: ports.length,
    send,
    command: (...args) => send(args.map(String)),
    publish: (channel, payload) =>
      send([ADAPTER_OPTIONS.useShardedPubSub ? "SPUBLISH" : "PUBLISH", channel, payload]),
    subscribe: (channel, listener) => subscribe(nodes, channel, listener),
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
 * @returns {Promise<{ reply: any, node?: any }>} with the node that answered alone
 */
async function sendTo(nodes, args) {
  const [name, first] = args.map(String);
  if (nodes.size > 1 && (name === "PUBSUB" || name === "KEYS")) {
    /** @type {any[][]} */
    const answers = await Promise.all([...nodes.values()].map((node) => node.sendCommand(args)));
    // `[channel, count, …]` adds up, lists come together
    const reply = first.endsWith("NUMSUB")
      ? answers.reduce((sum, answer) => sum.map((value, i) => (i % 2 ? value + answer[i] : value)))
      : [...new Set(answers.flat())];
    return { reply };
  }
  let [node] = nodes.values();
  const deadline = Date.now() + CLUSTER_DOWN_LIMIT;
  for (;;) {
    try {
      return { reply: await node.sendCommand(args), node };
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      const moved = /^(?:MOVED) \d+ \S+:(\d+)$/.exec(message);
      if (moved !== null) {
        node = nodes.get(Number(moved[1]));
      } else if (message.startsWith("CLUSTERDOWN") && Date.now() < deadline) {
        await settle(50);
      } else {
        throw error;
      }
    }
  }
}

/**
 * Listens to a channel on a connection of its own: a sharded one where the adapters' are.
 *
 * @param {Map<number, any>} nodes clients by port
 * @param {string} channel
 * @param {(payload: Buffer) => void} listener
 */
async function subscribe(nodes, channel, listener) {
  // the master of a sharded channel is that of the key with its name
  const { node } = await sendTo(nodes, ["EXISTS", channel]);
  const subscriber = node.duplicate();
  await subscriber.connect();
  await (ADAPTER_OPTIONS.useShardedPubSub
    ? subscriber.sSubscribe(channel, listener, true)
    : subscriber.subscribe(channel, listener, true));
  return { close: () => subscriber.close() };
}

/**
 * @typedef {object} Admin
 * @property {any} client a node-redis client, of any node of a cluster
 * @property {number} connections how many it has open
 * @property {(args: (string | Buffer)[]) => Promise<any>} send sends any command as it is
 * @property {(...args: (string | number)[]) => Promise<any>} command sends any command
 * @property {(channel: string, payload: string | Buffer) => Promise<any>} publish as the adapters do:
 *   to a sharded channel with `useShardedPubSub`
 * @property {(channel: string, listener: (payload: Buffer) => void) => Promise<{ close: () => Promise<void> }>} subscribe
 *   listens to a channel, likewise, until it is closed
 * @property {() => Promise<void>} close
 */

module.exports = { name, createRedisClient, createAdmin };
