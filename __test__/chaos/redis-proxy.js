// A TCP proxy between a node and Redis that stalls for a while, as a bad network does, and cuts
// connections at any byte.

"use strict";

const { once } = require("node:events");
const net = require("node:net");

/** @typedef {"up" | "down"} Direction to Redis, or to the node */

class Link {
  /**
   * @param {net.Socket} client
   * @param {net.Socket} server
   */
  constructor(client, server) {
    this.client = client;
    this.server = server;
    /** How many more bytes pass before the link is cut. */
    this.left = { up: Infinity, down: Infinity };
    this.#pipe("up", client, server);
    this.#pipe("down", server, client);
  }

  /**
   * @param {Direction} direction
   * @param {net.Socket} from
   * @param {net.Socket} to
   */
  #pipe(direction, from, to) {
    from.on("data", (chunk) => {
      if (chunk.length < this.left[direction]) {
        this.left[direction] -= chunk.length;
        to.write(chunk);
      } else {
        from.pause();
        to.write(chunk.subarray(0, this.left[direction]), () => this.destroy());
      }
    });
    from.on("error", () => {}); // "close" follows
    from.on("close", () => to.destroy());
  }

  /** What comes meanwhile waits in the sockets. @param {boolean} stalled */
  stall(stalled) {
    for (const socket of [this.client, this.server]) {
      if (stalled) {
        socket.pause();
      } else {
        socket.resume();
      }
    }
  }

  destroy() {
    this.client.destroy();
    this.server.destroy();
  }
}

class RedisProxy {
  /** @param {number} target Redis's port */
  constructor(target) {
    /** @type {Set<Link>} */
    this.links = new Set();
    this.stalled = false;
    /** When a link ended last. */
    this.lastEnd = 0;
    this.target = target;
    this.listener = net.createServer((client) => {
      const server = net.connect(this.target, "127.0.0.1");
      const link = new Link(client, server);
      this.links.add(link);
      link.stall(this.stalled);
      server.on("close", () => {
        this.lastEnd = Date.now();
        this.links.delete(link);
      });
    });
  }

  async start() {
    this.listener.listen(0, "127.0.0.1");
    await once(this.listener, "listening");
    return this;
  }

  /** What a node takes for Redis. */
  get redis() {
    const { port } = /** @type {net.AddressInfo} */ (this.listener.address());
    return { host: "127.0.0.1", port, url: `redis://127.0.0.1:${port}` };
  }

  /** From now on nothing passes, or everything again. @param {boolean} stalled */
  stall(stalled) {
    this.stalled = stalled;
    this.links.forEach((link) => link.stall(stalled));
  }

  /**
   * Cuts each link that there is when so many more bytes have passed.
   *
   * @param {Direction} direction
   * @param {number} bytes
   */
  cut(direction, bytes) {
    this.links.forEach((link) => (link.left[direction] = bytes));
  }

  /** Cuts all links, and leads to another server from now on. @param {number} target its port */
  moveTo(target) {
    this.target = target;
    this.links.forEach((link) => link.destroy());
  }

  close() {
    this.links.forEach((link) => link.destroy());
    this.listener.close();
  }
}

/** @param {number} target */
function startRedisProxy(target) {
  return new RedisProxy(target).start();
}

module.exports = { startRedisProxy, RedisProxy };
