// The servers whose bytes are compared: stock socket.io, two nodes of ours and one of upstream,
// each with raw clients, told to send the same.

"use strict";

const { createServer } = require("node:http");
const { once } = require("node:events");
const { Server } = require("socket.io");
const upstream = require("@socket.io/redis-streams-adapter");
const native = require("../..");
const { createRedisClient } = require("../helpers/clients");
const { startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { RawPolling, RawWebSocket } = require("./raw-client");

/** stock: no cluster; near and far: ours; upstream: in one cluster with these, without clients. */
const SIDES = /** @type {const} */ (["stock", "near", "far", "upstream"]);
const TRANSPORTS = /** @type {const} */ (["websocket", "polling"]);
/** An event that says which case follows. */
const CASE = "case:follows";

/**
 * @typedef {typeof SIDES[number]} Side
 * @typedef {typeof TRANSPORTS[number]} Transport
 * @typedef {import("./raw-client").Message} Message
 * @typedef {import("socket.io").Server} Io
 *
 * @typedef {object} SidesOptions
 * @property {Record<string, any>} [server] of Socket.IO's `Server`
 * @property {boolean} [deflate] the WebSocket clients take compressed messages
 * @property {boolean} [gzip] the polling clients take compressed polls
 */

class Sides {
  #redis = startRedis();
  #options;
  /** @type {(() => unknown)[]} */
  #closers = [];
  /** The number of the next run's first case: no two cases are announced with the same one. */
  #next = 0;
  /** @type {Record<Side, Io>} */
  io = /** @type {any} */ ({});

  /** @param {SidesOptions} [options] */
  constructor(options = {}) {
    this.#options = options;
    /** @type {Map<string, RawPolling | RawWebSocket>} side, transport and namespace */
    this.clients = new Map();
  }

  /** @param {string[]} namespaces */
  async start(namespaces) {
    const redis = await this.#redis;
    for (const side of SIDES) {
      this.io[side] = await this.#server(side, redis, namespaces);
    }
    for (const nsp of namespaces) {
      await this.#whole(nsp);
    }
    return this;
  }

  /**
   * @param {Side} side
   * @param {import("../helpers/redis-server").RedisServer} redis
   * @param {string[]} namespaces
   */
  async #server(side, redis, namespaces) {
    const http = createServer();
    const io = new Server(http, { ...this.#options.server, ...(await this.#adapter(side, redis)) });
    for (const nsp of namespaces) {
      // The clients come one after the other: each is in a room of its own.
      let connected = 0;
      io.of(nsp).on("connection", (socket) => socket.join(TRANSPORTS[connected++]));
    }
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    this.#closers.unshift(() => io.close());
    const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
    for (const nsp of side === "upstream" ? [] : namespaces) {
      for (const transport of TRANSPORTS) {
        const url = `http://127.0.0.1:${port}`;
        const client =
          transport === "polling"
            ? new RawPolling(url, nsp, { gzip: this.#options.gzip })
            : new RawWebSocket(url, nsp, { deflate: this.#options.deflate });
        this.#closers.unshift(() => client.close());
        this.clients.set(`${side} ${transport} ${nsp}`, await client.connected());
      }
    }
    return io;
  }

  /** @param {Side} side @param {import("../helpers/redis-server").RedisServer} redis */
  async #adapter(side, redis) {
    if (side === "stock") {
      return {};
    }
    if (side === "upstream") {
      const { adapterArgument, close } = await createRedisClient(redis, { client: "redis" });
      this.#closers.push(close);
      return { adapter: upstream.createAdapter(adapterArgument, { blockTimeInMs: 200 }) };
    }
    return { adapter: /** @type {any} */ (native.createAdapter(redis.url, {})) };
  }

  /** Waits until each node of the cluster gets what each other one sends. @param {string} nsp */
  async #whole(nsp) {
    const nodes = SIDES.slice(1).map((side) => this.io[side].of(nsp));
    const missing = new Set();
    for (const [i, node] of nodes.entries()) {
      for (const j of nodes.keys()) {
        const event = `whole:${j}`;
        missing.add(`${j} to ${i}`);
        /** @type {any} */ (node).on(event, () => missing.delete(`${j} to ${i}`));
        missing.delete(`${i} to ${i}`);
      }
    }
    await waitFor(
      async () => {
        nodes.forEach((node, i) => node.serverSideEmit(/** @type {any} */ (`whole:${i}`)));
        return missing.size === 0;
      },
      { interval: 20, what: () => `the requests ${[...missing]}` },
    );
    // What upstream loses between its first reads is sent before anything is compared.
    await this.run(nsp, "upstream", [() => {}]);
  }

  /** @param {Side} side @param {Transport} transport @param {string} nsp */
  client(side, transport, nsp) {
    return /** @type {RawPolling | RawWebSocket} */ (
      this.clients.get(`${side} ${transport} ${nsp}`)
    );
  }

  /** The clients that get what a side sends. @param {Side} sender @param {string} nsp */
  #receivers(sender, nsp) {
    /** @type {Side[]} */
    const sides = sender === "stock" ? ["stock"] : ["near", "far"];
    return sides.flatMap((side) =>
      TRANSPORTS.map((transport) => ({
        side,
        transport,
        client: this.client(side, transport, nsp),
      })),
    );
  }

  /**
   * Lets a side send cases, and returns what each client received of each.
   *
   * @param {string} nsp
   * @param {Side} sender
   * @param {((namespace: any) => unknown)[]} cases
   * @param {{ oneByOne?: boolean }} [options] waits until all clients can be written to before each
   */
  async run(nsp, sender, cases, { oneByOne = false } = {}) {
    const namespace = this.io[sender].of(nsp);
    const receivers = this.#receivers(sender, nsp);
    const starts = receivers.map(({ client }) => client.packets.length);
    /** @type {(Error | undefined)[]} */
    const errors = [];
    const first = this.#next;
    this.#next += cases.length + 1;
    for (const [i, send] of cases.entries()) {
      namespace.emit(CASE, first + i);
      if (oneByOne) {
        await this.#reached(receivers, nsp, first + i);
      }
      try {
        send(namespace);
      } catch (error) {
        errors[i] = /** @type {Error} */ (error);
      }
    }
    namespace.emit(CASE, first + cases.length);
    await this.#reached(receivers, nsp, first + cases.length);
    /** @type {Record<string, Message[][][]>} */
    const received = {};
    receivers.forEach(({ side, transport, client }, i) => {
      received[`${side} ${transport}`] = byCase(client, starts[i], first);
    });
    return { errors, received };
  }

  /**
   * @param {{ side: Side, transport: Transport, client: RawPolling | RawWebSocket }[]} receivers
   * @param {string} nsp
   * @param {number} at
   */
  async #reached(receivers, nsp, at) {
    for (const { side, transport, client } of receivers) {
      await waitFor(
        () => {
          if (client.error) {
            throw client.error;
          }
          const sockets = [...this.io[side].of(nsp).sockets.values()];
          return (
            client.complete > 0 &&
            caseOf(client, client.packets[client.complete - 1]) === at &&
            sockets.every((socket) => /** @type {any} */ (socket).conn.transport.writable)
          );
        },
        { interval: 1, timeout: 20_000, what: `case ${at} at ${side} over ${transport}` },
      );
    }
  }

  async close() {
    for (const close of this.#closers) {
      await close();
    }
    await (await this.#redis).stop();
  }
}

/** @param {import("./raw-client").RawClient} client @param {Message[]} packet */
function caseOf({ prefix }, [{ bytes }]) {
  const marker = `2${prefix}["${CASE}",`;
  const text = bytes.length < 200 ? bytes.toString("latin1") : "";
  return text.startsWith(marker) ? parseInt(text.slice(marker.length), 10) : undefined;
}

/**
 * @param {import("./raw-client").RawClient} client
 * @param {number} start its first packet of the run
 * @param {number} first the run's first case
 */
function byCase(client, start, first) {
  /** @type {Message[][][]} */
  const cases = [];
  for (const packet of client.packets.slice(start)) {
    const at = caseOf(client, packet);
    if (at === undefined) {
      cases[cases.length - 1].push(packet);
    } else {
      cases[at - first] = [];
    }
  }
  return cases;
}

module.exports = { Sides, SIDES, TRANSPORTS };
