// One address, behind which a master is, and a replica that may take its place: a virtual IP, a
// Kubernetes Service, a managed service. The old master lives on as a replica, with its clients.

"use strict";

const { createAdmin } = require("../../helpers/clients");
const { startRedis } = require("../../helpers/redis-server");
const { settle } = require("../../helpers/wait");
const { Gate, startProxies } = require("./gate");
const { ATTEMPT, FAST, MASTER, Servers } = require("./servers");

/** @typedef {import("./servers").RedisServer} RedisServer */

class Single extends Servers {
  /** @type {Gate[]} */
  gates = [];

  async start() {
    const master = await startRedis({ appendOnly: true, args: FAST });
    this.servers = [master];
    const replicaOf = ["--replicaof", master.host, String(master.port)];
    this.servers.push(await startRedis({ appendOnly: true, args: [...FAST, ...replicaOf] }));
    for (const server of this.servers) {
      this.admins.set(server, await createAdmin(server));
    }
    this.master = master;
    return this;
  }

  /** @override */
  async gate() {
    const [proxy] = await startProxies(await this.masters());
    const gate = new Gate([proxy], proxy.redis);
    this.gates.push(gate);
    return gate;
  }

  /** @override */
  async masters() {
    return [/** @type {RedisServer} */ (this.master)];
  }

  /** @override @param {RedisServer} old @param {import("./servers").Handing} handing */
  async failOver(old, { ms, byFailover }) {
    const next = /** @type {RedisServer} */ (this.servers.find((server) => server !== old));
    if (byFailover) {
      await this.untilMaster(next, () => this.tell(old, `FAILOVER TIMEOUT ${ATTEMPT}`));
      await settle(ms);
      this.#lead(next);
      return;
    }
    await this.whileInSync(old, next, async () => {
      await this.tell(next, "REPLICAOF NO ONE");
      this.#lead(next);
      await settle(ms);
      await this.tell(old, `REPLICAOF ${next.host} ${next.port}`);
    });
  }

  /** New connections lead to this server; those that there are stay. @param {RedisServer} master */
  #lead(master) {
    this.master = master;
    this.gates.forEach(({ proxies }) => (proxies[0].target = master.port));
  }

  /** @override */
  argsOf() {
    return FAST; // only masters are restarted
  }
}

module.exports = { Single };
