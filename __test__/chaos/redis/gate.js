// The way of one node to Redis: a proxy in front of each server, which other nodes do not share, so
// that a fault of the network is that of one node.

"use strict";

const { startProxy } = require("../../helpers/tcp-proxy");

/** @typedef {import("../../helpers/tcp-proxy").TcpProxy} TcpProxy */

class Gate {
  /**
   * @param {TcpProxy[]} proxies
   * @param {import("../../helpers/remote-node").Reachable} redis what the node takes for Redis
   */
  constructor(proxies, redis) {
    this.proxies = proxies;
    this.redis = redis;
  }

  get links() {
    return this.proxies.flatMap((proxy) => [...proxy.links]);
  }

  /** When a connection ended last. */
  get lastEnd() {
    return Math.max(...this.proxies.map((proxy) => proxy.lastEnd));
  }

  /** @param {Partial<import("../../helpers/tcp-proxy").Conditions>} conditions of all connections */
  set(conditions) {
    this.proxies.forEach((proxy) => proxy.set(conditions));
  }

  /** Cuts each connection when so many more bytes have passed. @param {"up" | "down"} direction @param {number} bytes */
  cutAfter(direction, bytes) {
    this.proxies.forEach((proxy) => proxy.cutAfter(direction, bytes));
  }

  close() {
    this.proxies.forEach((proxy) => proxy.close());
  }
}

/** @param {{ port: number }[]} servers */
function startProxies(servers) {
  return Promise.all(servers.map(({ port }) => startProxy(port)));
}

/**
 * What translates the addresses that servers report.
 *
 * @param {{ host: string, port: number }[]} servers
 * @param {TcpProxy[]} proxies in front of them
 */
function natMapOf(servers, proxies) {
  return Object.fromEntries(
    servers.map(({ host, port }, i) => [`${host}:${port}`, { host, port: proxies[i].port }]),
  );
}

module.exports = { Gate, natMapOf, startProxies };
