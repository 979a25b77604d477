// A TCP proxy in front of Redis that cuts connections in the middle of what they carry, or stalls
// them: both ends stay open, and nothing passes.

"use strict";

const { once } = require("node:events");
const net = require("node:net");

/**
 * @typedef {"up" | "down"} Direction to the server, or to the client
 *
 * @callback Inspect called for each chunk; decides what becomes of it and of the link
 * @param {Link} link
 * @param {Direction} direction
 * @param {Buffer} chunk
 * @returns {Verdict | void} nothing: it passes
 *
 * @typedef {object} Verdict
 * @property {number} [pass] so many bytes of the chunk pass, then the link is cut
 * @property {Buffer} [instead] passes instead of the chunk; the link lives on
 * @property {number} [late] ms after the cut, at which the rest of the chunk still reaches the
 *   server: a packet that had lain in the network
 */

/** One proxied connection. */
class Link {
  #inspect;

  /**
   * @param {net.Socket} client
   * @param {net.Socket} server
   * @param {Inspect} inspect
   */
  constructor(client, server, inspect) {
    this.client = client;
    this.server = server;
    this.#inspect = inspect;
    this.stalled = false;
    /** What came from the client while it was stalled. @type {Buffer[]} */
    this.held = [];
    /** For `inspect` to remember things by. @type {Record<string, any>} */
    this.notes = {};
    client.on("data", (chunk) => this.#forward("up", chunk));
    server.on("data", (chunk) => this.#forward("down", chunk));
    for (const [from, to] of [
      [client, server],
      [server, client],
    ]) {
      from.on("error", () => {}); // "close" follows
      from.on("close", () => this.stalled || to.destroy());
    }
  }

  /**
   * @param {Direction} direction
   * @param {Buffer} chunk
   */
  #forward(direction, chunk) {
    if (this.stalled) {
      if (direction === "up") {
        this.held.push(chunk);
      }
      return;
    }
    const verdict = this.#inspect(this, direction, chunk);
    const to = direction === "up" ? this.server : this.client;
    if (!verdict) {
      to.write(chunk);
      return;
    }
    if (verdict.instead) {
      to.write(verdict.instead);
      return;
    }
    this.stalled = true;
    if (verdict.late === undefined) {
      to.write(chunk.subarray(0, verdict.pass), () => this.destroy());
      return;
    }
    this.held.push(chunk);
    this.client.destroy();
    setTimeout(() => this.release(), verdict.late);
  }

  /** What was held still reaches the server, where that is still there. */
  release() {
    if (!this.server.destroyed) {
      this.server.write(Buffer.concat(this.held));
      this.server.end();
    }
    this.held = [];
  }

  destroy() {
    this.client.destroy();
    this.server.destroy();
  }
}

class TcpProxy {
  /**
   * @param {number} target the server's port
   * @param {Inspect} inspect
   */
  constructor(target, inspect) {
    /** @type {Set<Link>} */
    this.links = new Set();
    this.port = 0;
    this.listener = net.createServer((client) => {
      const server = net.connect(target, "127.0.0.1");
      const link = new Link(client, server, inspect);
      this.links.add(link);
      server.on("close", () => this.links.delete(link));
    });
  }

  async start(port = 0) {
    this.listener.listen(port, "127.0.0.1");
    await once(this.listener, "listening");
    this.port = /** @type {net.AddressInfo} */ (this.listener.address()).port;
    return this;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** All links that there are stop carrying anything; new ones carry as ever. */
  stall() {
    this.links.forEach((link) => (link.stalled = true));
  }

  close() {
    this.links.forEach((link) => link.destroy());
    this.listener.close();
  }
}

/**
 * @param {number} target
 * @param {Inspect} [inspect]
 * @param {number} [port] to listen on, by default any
 */
function startProxy(target, inspect = () => {}, port) {
  return new TcpProxy(target, inspect).start(port);
}

module.exports = { startProxy, Link, TcpProxy };
