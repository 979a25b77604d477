// A master, its replica, and three sentinels, which each node asks where the master is.

"use strict";

const { createAdmin } = require("../../helpers/clients");
const { startRedisSentinel } = require("../../helpers/redis-sentinel");
const { ask } = require("../../helpers/redis-server");
const { waitFor } = require("../../helpers/wait");
const { Gate, natMapOf, startProxies } = require("./gate");
const { FAST, MASTER, Servers } = require("./servers");

/** @typedef {import("./servers").RedisServer} RedisServer */

/** ms; longer than any fault: a failover that nobody has asked for may lose something. */
const DOWN_AFTER = 30_000;
/** ms; sentinels take their time, and more of it on a busy machine. */
const FAILOVER = 90_000;

class Sentinel extends Servers {
  async start() {
    this.sentinel = await startRedisSentinel({ appendOnly: true, downAfter: DOWN_AFTER });
    this.servers = this.sentinel.servers;
    for (const server of this.servers) {
      this.admins.set(server, await createAdmin(server));
    }
    this.master = this.servers[0];
    return this;
  }

  /** @override */
  async gate() {
    const { name, nodes } = /** @type {NonNullable<typeof this.sentinel>} */ (this.sentinel);
    const proxies = await startProxies(this.servers);
    const natMap = natMapOf(this.servers, proxies);
    const { host, port, url } = proxies[0].redis;
    return new Gate(proxies, { host, port, url, reach: { sentinel: { name, nodes, natMap } } });
  }

  /** @override */
  async masters() {
    return [/** @type {RedisServer} */ (this.master)];
  }

  /** @override @param {RedisServer} old */
  async failOver(old) {
    const { name, sentinels } = /** @type {NonNullable<typeof this.sentinel>} */ (this.sentinel);
    const next = /** @type {RedisServer} */ (this.servers.find((server) => server !== old));
    // Sentinels do not wait for the replica, and leave the old master as it is for some ten seconds:
    // what is written to it meanwhile would be lost.
    await this.whileInSync(old, next, async () => {
      await this.tell(sentinels[0], `SENTINEL FAILOVER ${name}`);
      await this.tell(next, "ROLE", MASTER);
      this.master = next;
      await this.tell(old, `REPLICAOF ${next.host} ${next.port}`);
    });
    const named = new RegExp(`\\r\\n${next.port}\\r\\n`);
    await waitFor(
      async () => {
        const command = `SENTINEL get-master-addr-by-name ${name}`;
        const names = sentinels.map(({ port }) => ask(port, [command], named).catch(() => false));
        return (await Promise.all(names)).every(Boolean);
      },
      { timeout: FAILOVER, interval: 50, what: "all sentinels to name the new master" },
    );
  }

  /** @override */
  argsOf() {
    return FAST; // only masters are restarted
  }

  /** @override */
  async stop() {
    await Promise.all([...this.admins.values()].map((admin) => admin.close()));
    await this.sentinel?.stop();
  }
}

module.exports = { Sentinel };
