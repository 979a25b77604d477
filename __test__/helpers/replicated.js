// A private master with replicas, on free ports of 127.0.0.1, gone with the test. Each replica follows
// the master through a proxy of its own, so that a test can cut or stall the replication. With `doors`,
// nodes reach each server through a proxy as well, so that a test can make some of them distant.

"use strict";

const { ask, RedisServer } = require("./redis-server");
const { startProxy } = require("./tcp-proxy");
const { waitFor } = require("./wait");

/** Without a delay before the first synchronization, and with links that are noticed to be dead. */
const ARGS = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

class ReplicatedRedis {
  /** @param {RedisServer} master */
  constructor(master) {
    this.master = master;
    /** @type {RedisServer[]} */
    this.replicas = [];
    /** Between each replica and the master. @type {import("./tcp-proxy").TcpProxy[]} */
    this.links = [];
    /** Between nodes and each server, the master first. @type {import("./tcp-proxy").TcpProxy[]} */
    this.doors = [];
  }

  get servers() {
    return [this.master, ...this.replicas];
  }

  /** The server at an address as `stats().readFromAddress` has it. @param {string} address */
  at(address) {
    const server = this.servers.find(({ host, port }) => `${host}:${port}` === address);
    if (server === undefined) {
      throw new Error(`no server of this test is at ${address}`);
    }
    return server;
  }

  /** Whether a replica has all that its master has. @param {RedisServer} replica */
  async isUp(replica) {
    return ask(replica.port, ["INFO replication"], /master_link_status:up/).then(
      () => true,
      () => false,
    );
  }

  async areUp() {
    await waitFor(
      async () => (await Promise.all(this.replicas.map((one) => this.isUp(one)))).every(Boolean),
      { interval: 20, what: "the replicas to follow the master" },
    );
  }

  async stop() {
    [...this.links, ...this.doors].forEach((link) => link.close());
    await Promise.all(this.servers.map((server) => server.remove()));
  }
}

/**
 * @param {number} replicas how many
 * @param {{ announce?: string, doors?: boolean }} [options] `announce`: the host that replicas tell
 *   their master; `doors`: replicas tell it the port of their door
 * @returns {Promise<ReplicatedRedis>}
 */
async function startReplicated(replicas, { announce, doors = false } = {}) {
  const redis = new ReplicatedRedis(await new RedisServer({ args: ARGS }).start());
  if (doors) {
    redis.doors.push(await startProxy(redis.master.port));
  }
  for (let i = 0; i < replicas; i++) {
    const link = await startProxy(redis.master.port);
    redis.links.push(link);
    const args = [...ARGS, "--replicaof", "127.0.0.1", String(link.port)];
    if (announce !== undefined) {
      args.push("--replica-announce-ip", announce);
    }
    const door = doors ? await startProxy(0) : undefined;
    if (door !== undefined) {
      redis.doors.push(door);
      args.push("--replica-announce-port", String(door.port));
    }
    const replica = await new RedisServer({ args }).start();
    redis.replicas.push(replica);
    if (door !== undefined) {
      door.target = replica.port;
    }
  }
  await redis.areUp();
  return redis;
}

module.exports = { startReplicated };
