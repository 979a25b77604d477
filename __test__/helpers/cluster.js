// A cluster of Socket.IO nodes in this process, with real clients connected to each. They share what
// the environment variable REDIS names (see redis-setup.js), by default a server.

"use strict";

const { after, before } = require("node:test");
const adapters = require("./adapters");
const { createAdmin } = require("./clients");
const { startNode } = require("./node");
const { admit, assertNothingDenied, endSetup, startSetup } = require("./redis-setup");
const { connectClient } = require("./socket-client");
const { waitFor } = require("./wait");
const { streamOf } = require("./wire");

/** @typedef {import("./clients").Admin} Admin */
/** @typedef {import("./node").SocketIoNode} SocketIoNode */
/** @typedef {import("./redis-server").RedisServer} RedisServer */
/** @typedef {import("./socket-client").SocketClient} SocketClient */
/** @typedef {import("./socket-client").SocketClientOptions} SocketClientOptions */

/**
 * @typedef {object} ClusterOptions
 * @property {number} [nodes] how many, default 3
 * @property {number} [clientsPerNode] default 1
 * @property {SocketClientOptions} [clientOptions] of each of these clients
 * @property {string[]} [namespaces] wait for the cluster to be whole in these, default ["/"]
 * @property {Record<string, unknown>} [adapterOptions]
 * @property {Record<string, any>} [serverOptions] of Socket.IO's `Server`
 * @property {(io: import("socket.io").Server, index: number) => void} [setup] called before clients
 *   can connect
 * @property {(cluster: Cluster) => unknown} [prepare] called when the clients are connected
 */

const PROBE = "cluster:probe";

/** How many clusters were started, so that no two probes are the same. */
let probes = 0;

class Cluster {
  /**
   * @param {RedisServer} redis
   * @param {Admin} admin
   * @param {ClusterOptions} options
   */
  constructor(redis, admin, options) {
    this.redis = redis;
    this.admin = admin;
    this.options = options;
    /** @type {SocketIoNode[]} */
    this.nodes = [];
    /** The clients, those of node 0 first. @type {SocketClient[]} */
    this.clients = [];
    /** @type {Map<SocketClient, SocketIoNode>} */
    this.homes = new Map();
  }

  async start() {
    const { nodes = 3, clientsPerNode = 1, clientOptions, namespaces = ["/"] } = this.options;
    await Promise.all(Array.from({ length: nodes }, (_, index) => this.addNode(index)));
    for (const nsp of namespaces) {
      await this.whole(nsp);
    }
    for (const { index } of this.nodes) {
      for (let i = 0; i < clientsPerNode; i++) {
        this.clients.push(await this.connect(index, clientOptions));
      }
    }
    await this.options.prepare?.(this);
    return this;
  }

  /** @param {number} index */
  async addNode(index) {
    const { adapterOptions, serverOptions, setup } = this.options;
    const node = await startNode({
      redis: await admit(this.redis, this.admin, adapterOptions),
      index,
      adapterOptions,
      serverOptions,
      setup,
    });
    this.nodes[index] = node;
    return node;
  }

  /** The `Server` of node `index`. @param {number} index */
  io(index) {
    return this.nodes[index].io;
  }

  /**
   * The adapter of a namespace of node `index`.
   *
   * @param {number} index
   * @param {string} [nsp]
   * @returns {any}
   */
  adapter(index, nsp = "/") {
    return this.io(index).of(nsp).adapter;
  }

  /**
   * Connects one more client to node `index`.
   *
   * @param {number} index
   * @param {SocketClientOptions} [options]
   */
  async connect(index, options) {
    const client = await connectClient(this.nodes[index].url, options);
    this.homes.set(client, this.nodes[index]);
    return client;
  }

  /**
   * Cuts the transport of a client and waits for its server to have noticed.
   *
   * @param {SocketClient} client
   */
  async cut(client) {
    const { sockets } = this.homeOf(client).io.of(client.nsp);
    client.cut();
    await waitFor(() => !client.socket.connected && !sockets.has(client.id), {
      what: "the server to notice the cut",
    });
  }

  /**
   * Disconnects a client for good and waits for its server to have noticed.
   *
   * @param {SocketClient} client
   */
  async disconnect(client) {
    const { sockets } = this.homeOf(client).io.of(client.nsp);
    client.disconnect();
    this.homes.delete(client);
    await waitFor(() => !sockets.has(client.id), { what: "the server to notice the disconnect" });
  }

  /**
   * Brings a client that was cut back, to node `index`.
   *
   * @param {SocketClient} client
   * @param {number} index
   */
  async reconnect(client, index) {
    await client.reconnect(this.nodes[index].url);
    this.homes.set(client, this.nodes[index]);
  }

  /** The node that a client is connected to. @param {SocketClient} client @returns {SocketIoNode} */
  homeOf(client) {
    return /** @type {SocketIoNode} */ (this.homes.get(client));
  }

  /** The clients of node `index`. @param {number} index */
  clientsOf(index) {
    return this.clients.filter((client) => this.homeOf(client).index === index);
  }

  /**
   * The server's side of a client.
   *
   * @param {SocketClient} client
   * @returns {import("socket.io").Socket}
   */
  serverSocket(client) {
    const socket = this.homeOf(client).io.of(client.nsp).sockets.get(client.id);
    if (!socket) {
      throw new Error(`node ${this.homeOf(client).index} has no socket ${client.id}`);
    }
    return socket;
  }

  /**
   * Waits until `nodes` see each other in the namespace, and read its stream.
   *
   * Upstream reads from `$` until its first entry, and loses what comes between two reads: an entry
   * that every node has seen ends that. The probe is one that the emitter package could have sent,
   * which no client gets.
   *
   * @param {string} [nsp]
   * @param {SocketIoNode[]} [nodes]
   */
  async whole(nsp = "/", nodes = this.nodes) {
    const namespaces = nodes.map(({ io }) => io.of(nsp));
    /** @type {number[]} */
    let counts = [];
    await waitFor(
      async () => {
        counts = await Promise.all(namespaces.map(({ adapter }) => adapter.serverCount()));
        return counts.every((count) => count === nodes.length);
      },
      { what: () => `${nodes.length} nodes to see each other, which count ${counts}` },
    );
    const event = `${PROBE}:${probes++}`;
    const missing = new Set(nodes.map(({ index }) => index));
    namespaces.forEach((namespace, i) => {
      // @ts-ignore not an event that a namespace is known to emit
      namespace.once(event, () => missing.delete(nodes[i].index));
    });
    const stream = streamOf(nsp, this.options.adapterOptions);
    await waitFor(
      async () => {
        const data = JSON.stringify({ packet: [event] });
        await this.admin.command(
          ...["XADD", stream, "*", "uid", "emitter", "nsp", nsp, "type", "9", "data", data],
        );
        return missing.size === 0;
      },
      { interval: 20, what: () => `the nodes ${[...missing]} to read the stream ${stream}` },
    );
  }

  async close() {
    for (const client of this.homes.keys()) {
      client.disconnect();
    }
    await Promise.all(this.nodes.filter(Boolean).map((node) => node.close()));
  }
}

/**
 * Starts a redis-server and a cluster before the tests of this file or `describe` block, and ends
 * both after them.
 *
 * @param {ClusterOptions & { redis?: import("./redis-server").RedisServerOptions }} [options]
 */
function useCluster({ redis: redisOptions, ...options } = {}) {
  const context = {
    redis: /** @type {RedisServer} */ (/** @type {unknown} */ (undefined)),
    admin: /** @type {Admin} */ (/** @type {unknown} */ (undefined)),
    cluster: /** @type {Cluster} */ (/** @type {unknown} */ (undefined)),
  };
  before(async () => {
    await startContext(context, redisOptions);
    context.cluster = new Cluster(context.redis, context.admin, options);
    await context.cluster.start();
  });
  after(async () => {
    await context.cluster?.close();
    await stopContext(context, redisOptions);
  });
  return context;
}

/**
 * Starts a redis-server before the tests of this file or `describe` block, and stops it after them.
 *
 * @param {import("./redis-server").RedisServerOptions} [options]
 */
function useRedis(options) {
  const context = {
    redis: /** @type {RedisServer} */ (/** @type {unknown} */ (undefined)),
    admin: /** @type {Admin} */ (/** @type {unknown} */ (undefined)),
  };
  before(() => startContext(context, options));
  after(() => stopContext(context, options));
  return context;
}

/**
 * @param {{ redis: RedisServer, admin: Admin }} context
 * @param {import("./redis-server").RedisServerOptions} [options]
 */
async function startContext(context, options) {
  const redis = await startSetup(options);
  context.redis = redis; // what is started is stopped, whatever comes next
  context.admin = await createAdmin(redis);
  context.redis = await admit(redis, context.admin);
}

/**
 * @param {{ redis: RedisServer, admin: Admin }} context
 * @param {import("./redis-server").RedisServerOptions} [options]
 */
async function stopContext({ redis, admin }, options) {
  try {
    await (admin && assertNothingDenied(admin));
  } finally {
    await endSetup(redis, admin, options);
  }
}

/**
 * A further cluster on a server that runs already; the caller closes it.
 *
 * @param {{ redis: RedisServer, admin: Admin }} context
 * @param {ClusterOptions} [options]
 */
async function startCluster({ redis, admin }, options = {}) {
  const cluster = new Cluster(redis, admin, options);
  try {
    return await cluster.start();
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

module.exports = { useCluster, useRedis, startCluster, adapters, Cluster };
