// A Redis Cluster: three masters with a replica each.

"use strict";

const { createAdmin } = require("../../helpers/clients");
const { startRedisCluster } = require("../../helpers/redis-cluster");
const { waitFor } = require("../../helpers/wait");
const { Gate, natMapOf, startProxies } = require("./gate");
const { Servers } = require("./servers");

/** @typedef {import("./servers").RedisServer} RedisServer */
/** @typedef {import("../../helpers/redis-cluster").RedisCluster} RedisCluster */

const STREAM = "socket.io";
/** ms; longer than any fault: a failover that nobody has asked for may lose something. */
const NODE_TIMEOUT = 30_000;
/** ms */
const STEP = 30_000;
/** The reply to ROLE. */
const REPLICA = /^\*\d\r\n\$5\r\nslave/;

class Cluster extends Servers {
  async start() {
    this.cluster = await startRedisCluster({ appendOnly: true, nodeTimeout: NODE_TIMEOUT });
    this.servers = this.cluster.nodes;
    this.admins.set(this.servers[0], await createAdmin(/** @type {any} */ (this.cluster)));
    return this;
  }

  get #cluster() {
    return /** @type {RedisCluster} */ (this.cluster);
  }

  /** @override */
  async gate() {
    const { servers } = this;
    const proxies = await startProxies(servers);
    const natMap = natMapOf(servers, proxies);
    const ports = proxies.map(({ port }) => port);
    const { host, port, url } = proxies[0].redis;
    return new Gate(proxies, { host, port, url, ports, reach: { natMap } });
  }

  /** @override */
  async admin() {
    return /** @type {import("./servers").Admin} */ (this.admins.get(this.servers[0]));
  }

  /** That of the stream first. @override */
  async masters() {
    const { master } = /** @type {{ master: RedisServer }} */ (
      await waitFor(() => this.#cluster.masterOf(STREAM).catch(() => undefined), {
        timeout: STEP,
        what: "the stream's master to be known",
      })
    );
    const roles = await Promise.all(
      this.servers.map((server) => this.tell(server, "ROLE", /^\*\d\r\n\$\d\r\n(master|slave)/)),
    );
    const others = this.servers.filter((each, i) => each !== master && roles[i]?.[1] === "master");
    return [master, ...others];
  }

  /** As any of the servers knows it, perhaps not yet. @param {RedisServer} master */
  async #replicaOf(master) {
    const { id } = /** @type {RedisCluster["nodes"][number]} */ (master);
    const [nodes] = await this.#cluster.askAny("CLUSTER NODES", /\$\d+\r\n[\s\S]*\n\r\n/);
    const line = nodes.split("\n").find((text) => text.includes(` ${id} `)); // its master
    const port = Number(/:(\d+)@/.exec(line ?? "")?.[1]);
    return this.servers.find((server) => server.port === port);
  }

  /** @override @param {RedisServer} old */
  async failOver(old) {
    const next = /** @type {RedisServer} */ (
      await waitFor(() => this.#replicaOf(old), {
        timeout: STEP,
        interval: 50,
        what: `a replica of ${old.port}`,
      })
    );
    // Not by CLUSTER FAILOVER alone: a replica of Redis 7.0 that is asked again within two minutes
    // counts its old votes, and takes over with an old epoch. It is demoted soon, and what it has
    // acknowledged until then is lost.
    await this.whileInSync(old, next, async () => {
      await this.untilMaster(next, () => this.tell(next, "CLUSTER FAILOVER TAKEOVER"));
      await this.tell(old, "ROLE", REPLICA);
    });
    await this.areWhole();
  }

  /** @override */
  areWhole() {
    return this.#cluster.isWhole();
  }

  /** @override */
  async stop() {
    await Promise.all([...this.admins.values()].map((admin) => admin.close()));
    await this.cluster?.stop();
  }
}

module.exports = { Cluster };
