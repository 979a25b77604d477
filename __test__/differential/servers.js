// Starts the servers of a scenario with one of the adapters. In memory, one server plays all nodes:
// clients must not notice the difference.

"use strict";

const { once } = require("node:events");
const { createServer } = require("node:http");
const { Server } = require("socket.io");
const { createRedisClient } = require("../helpers/clients");
const { SocketClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { shapeEvent } = require("./shape");

const MARKER = "settled";

/** @typedef {"memory" | "upstream" | "native"} Kind */
/** @typedef {import("../helpers/redis-server").RedisServer} RedisServer */

/** @type {Record<Kind, (redis: RedisServer, streamName: string) => Promise<{ adapter: any, end: () => unknown }>>} */
const ADAPTERS = {
  memory: async () => ({ adapter: undefined, end: () => {} }),
  upstream: async (redis, streamName) => {
    const { adapterArgument, close } = await createRedisClient(redis, { kind: "upstream" });
    const { createAdapter } = require("@socket.io/redis-streams-adapter");
    const options = { streamName, channelPrefix: streamName, blockTimeInMs: 200 };
    return { adapter: createAdapter(adapterArgument, options), end: close };
  },
  native: async (redis, streamName) => {
    const { createAdapter } = require("../../index");
    const options = { streamName, channelPrefix: streamName };
    return { adapter: createAdapter(redis.url, options), end: () => {} };
  },
};

class Servers {
  /** @type {{ io: Server, url: string, end: () => unknown }[]} */
  #started = [];
  /** @type {SocketClient[]} */
  #clients = [];
  /** IDs of sockets, in the order in which they connected. @type {string[]} */
  #ids = [];
  #markers = 0;

  /** @param {Kind} kind @param {number} count */
  constructor(kind, count) {
    this.kind = kind;
    this.count = count;
  }

  /** An event with its arguments, as JSON. @param {any[]} args */
  shape(...args) {
    return shapeEvent(
      args,
      /** @type {any} */ (this.all[0])._opts.connectionStateRecovery !== undefined,
    );
  }

  /**
   * @param {RedisServer} redis
   * @param {Kind} kind
   * @param {{ nodes?: number, options?: object }} scenario
   */
  static async start(redis, kind, { nodes = 1, options }) {
    const servers = new Servers(kind, nodes);
    const streamName = `${kind}-${process.hrtime.bigint()}`;
    for (let i = 0; i < (kind === "memory" ? 1 : nodes); i++) {
      const { adapter, end } = await ADAPTERS[kind](redis, streamName);
      const http = createServer();
      const io = new Server(http, { ...options, ...(adapter && { adapter }) });
      http.listen(0, "127.0.0.1");
      await once(http, "listening");
      const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
      servers.#started.push({ io, url: `http://127.0.0.1:${port}`, end });
    }
    if (kind !== "memory") {
      const count = (/** @type {Server} */ io) => io.of("/").adapter.serverCount();
      await waitFor(
        async () => (await Promise.all(servers.all.map(count))).every((found) => found === nodes),
        { what: "the nodes to know each other" },
      );
    }
    return servers;
  }

  /** @param {number} index of the node; in memory, one server plays all nodes */
  io(index = 0) {
    return this.#started[index % this.#started.length].io;
  }

  /** @param {number} index of the node */
  url(index) {
    return this.#started[index % this.#started.length].url;
  }

  get all() {
    return this.#started.map(({ io }) => io);
  }

  /**
   * Connects a client, and waits until it gets what all nodes emit.
   *
   * @param {number} [index] of the node
   * @param {import("../helpers/socket-client").SocketClientOptions} [options]
   */
  async connect(index = 0, options = {}) {
    const client = this.client(index, options);
    await client.connected();
    this.#ids.push(client.id);
    await this.settle(client);
    return client;
  }

  /** @param {number} [index] @param {import("../helpers/socket-client").SocketClientOptions} [options] */
  client(index = 0, options = {}) {
    const { url } = this.#started[index % this.#started.length];
    const client = new SocketClient(url, options);
    this.#clients.push(client);
    return client;
  }

  /** The server's socket of a client. @param {SocketClient} client @returns {any} */
  socketOf({ nsp, id }) {
    return this.all.map((io) => io.of(nsp).sockets.get(id)).find((socket) => socket);
  }

  /**
   * Waits until clients have got everything that the nodes have emitted in their namespaces.
   *
   * @param {SocketClient[]} clients all that are connected by default
   */
  async settle(...clients) {
    const waiting = clients.length > 0 ? clients : this.#clients;
    for (const client of waiting.filter(({ socket }) => socket.connected)) {
      for (const io of this.all) {
        /** @type {number[]} */
        const sent = [];
        const has = (/** @type {number} */ number) =>
          client.received(MARKER).some(([got]) => got === number);
        const what = "a packet from each node";
        // Again and again, since upstream may not read yet.
        await waitFor(
          () => {
            if (sent.some(has)) {
              return true;
            }
            sent.push(this.#markers);
            io.of(client.nsp).to(client.id).emit(MARKER, this.#markers++);
          },
          { interval: 20, what },
        );
        // One that is still on its way would find, or make, the connection busy.
        await waitFor(() => has(sent[sent.length - 1]), { what });
      }
    }
  }

  /** What a client has received, as JSON. @param {SocketClient} client */
  events({ record }) {
    return record.filter(([event]) => event !== MARKER).map((args) => this.shape(...args));
  }

  /** As JSON, and with other names for IDs. @param {unknown} result */
  render(result) {
    const json = JSON.stringify(result, null, 1) ?? "undefined";
    return this.#ids.reduce((text, id, i) => text.replaceAll(id, `ID ${i + 1}`), json);
  }

  async close() {
    this.#clients.forEach((client) => client.disconnect());
    for (const { io, end } of this.#started) {
      await io.close();
      await end();
    }
  }
}

module.exports = { Servers };
