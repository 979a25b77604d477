// A master and a replica behind one address that leads to the master: what a virtual IP, a Kubernetes
// Service, DNS or a proxy makes of them. A failover changes where the address leads, and the old
// server keeps its clients.

"use strict";

const { ask, startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");

/** @typedef {import("../helpers/redis-server").RedisServer} RedisServer */

/** Servers that synchronize at once, and tell each other each second how far they are. */
const FAST = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

class OneAddress {
  /**
   * @param {RedisServer} old the master at the start
   * @param {RedisServer} next its replica
   * @param {import("../helpers/tcp-proxy").TcpProxy} proxy
   */
  constructor(old, next, proxy) {
    this.old = old;
    this.next = next;
    this.proxy = proxy;
  }

  /** What an adapter takes. */
  get settings() {
    return { host: "127.0.0.1", port: this.proxy.port };
  }

  /** Waits until the replica has all that the master has. */
  async isInSync() {
    /** @type {(string | undefined)[]} */
    let offsets = [];
    const isInSync = async () => {
      offsets = await Promise.all([
        this.#replication(this.old, /slave0:[^\r]*state=online,offset=(\d+)/),
        this.#replication(this.old, /master_repl_offset:(\d+)/),
      ]);
      return offsets[0] !== undefined && offsets[0] === offsets[1];
    };
    await waitFor(isInSync, {
      timeout: 20_000,
      what: () => `the replica to be in sync: ${offsets}`,
    });
  }

  /** The replica becomes a master, and new connections lead to it. */
  async takeOver() {
    await ask(this.next.port, ["REPLICAOF NO ONE"], /\+OK/);
    this.lead();
  }

  /** New connections lead to the server that took over. */
  lead() {
    this.proxy.target = this.next.port;
  }

  /** The old master becomes a replica, by default of the new one. It keeps its clients. */
  async demote(port = this.next.port) {
    await ask(this.old.port, [`REPLICAOF 127.0.0.1 ${port}`], /\+OK/);
  }

  /** Ends the connections at the old server by which nodes read the stream, and no others. */
  async endReaders() {
    const [list] = await ask(this.old.port, ["CLIENT LIST"], /\$\d+\r\n[\s\S]*\n\r\n/);
    const readers = list.split("\n").filter((line) => / cmd=xread /.test(line));
    for (const line of readers) {
      await ask(this.old.port, [`CLIENT KILL ID ${/id=(\d+)/.exec(line)?.[1]}`], /:1/);
    }
    return readers.length;
  }

  /** Waits until no client has a connection to the old server. */
  async isLeft() {
    let count = 0;
    await waitFor(async () => (count = await this.old.connectionCount()) === 0, {
      what: () => `no connection to be left at the old server, not ${count}`,
    });
  }

  /** @param {RedisServer} server @param {RegExp} field */
  async #replication({ port }, field) {
    const [info] = await ask(port, ["INFO replication"], /\$\d+\r\n[\s\S]*\r\n\r\n/);
    return field.exec(info)?.[1];
  }
}

/** @param {import("node:test").TestContext} t */
async function startOneAddress(t) {
  const old = await startRedis({ args: FAST });
  defer(t, () => old.stop());
  const replicaOf = ["--replicaof", old.host, String(old.port)];
  const next = await startRedis({ args: [...FAST, ...replicaOf] });
  defer(t, () => next.stop());
  const proxy = await startProxy(old.port);
  defer(t, () => proxy.close());
  const address = new OneAddress(old, next, proxy);
  await address.isInSync();
  return address;
}

module.exports = { startOneAddress, OneAddress };
