// A private Redis Cluster for a test: three masters, each with a replica, on free ports of
// 127.0.0.1, gone with the test.

"use strict";

const { randomBytes } = require("node:crypto");
const { writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { serverVersion } = require("./configuration");
const { ask, freePort, RedisServer } = require("./redis-server");
const { waitFor } = require("./wait");

const MASTERS = 3;
const SLOTS = 16_384;
const START_ATTEMPTS = 5;
const START_TIMEOUT = 20_000;
const DRAIN_TIMEOUT = 2_000;
const MIGRATE_LIMIT = 10_000;
/** Where the nodes talk to each other before `cluster-port` came with 7.0, from the port on. */
const BUS_OFFSET = 10_000;
const MAX_PORT = 65_535;

/**
 * @typedef {object} RedisClusterOptions
 * @property {number} [nodeTimeout] `cluster-node-timeout` in ms. A failover takes about twice as
 *   long; too short for a busy machine, masters lose their place without a fault
 * @property {string} [password] `requirepass` and `masterauth`
 * @property {boolean} [appendOnly] keep the data over `restart()`
 * @property {string[]} [args] further arguments of each redis-server
 */

/** One server of the cluster. */
class ClusterNode extends RedisServer {
  /**
   * @param {import("./redis-server").RedisServerOptions} options
   * @param {{ port: number, busPort: number, masterId?: string, slots?: string }} place
   */
  constructor(options, { port, busPort, masterId, slots }) {
    super(options);
    this.id = randomBytes(20).toString("hex");
    this.port = port;
    this.busPort = busPort;
    this.masterId = masterId;
    this.slots = slots;
  }

  /** As it stands in nodes.conf. @param {ClusterNode} reader @param {number} epoch */
  line(reader, epoch) {
    const role = this.masterId === undefined ? "master -" : `slave ${this.masterId}`;
    const flags = reader === this ? `myself,${role}` : role;
    const place = `${this.host}:${this.port}@${this.busPort}`;
    return `${this.id} ${place} ${flags} 0 0 ${epoch} connected ${this.slots ?? ""}`.trim();
  }
}

class RedisCluster {
  /** @param {RedisClusterOptions} options */
  constructor({ nodeTimeout = 5_000, ...options }) {
    this.kind = "cluster";
    this.nodeTimeout = nodeTimeout;
    this.options = options;
    /** Masters first, then the replica of each. @type {ClusterNode[]} */
    this.nodes = [];
  }

  get host() {
    return this.nodes[0].host;
  }

  get port() {
    return this.nodes[0].port;
  }

  /** Of one node. */
  get url() {
    return this.nodes[0].url;
  }

  get ports() {
    return this.nodes.map(({ port }) => port);
  }

  async start() {
    for (let attempt = 1; attempt <= START_ATTEMPTS; attempt++) {
      this.nodes = await this.makeNodes();
      const started = await Promise.all(this.nodes.map((node) => node.launch(node.port)));
      if (started.every(Boolean)) {
        await this.isWhole();
        return this;
      }
      await this.stop();
    }
    throw new Error(`no free ports in ${START_ATTEMPTS} attempts`);
  }

  /** The cluster is written down before its nodes start, which saves them the introductions. */
  async makeNodes() {
    /** @type {ClusterNode[]} */
    const nodes = [];
    for (let i = 0; i < 2 * MASTERS; i++) {
      const { port, busPort } = await freePorts();
      const bound = (/** @type {number} */ at) => Math.round((at * SLOTS) / MASTERS);
      const place =
        i < MASTERS
          ? { slots: `${bound(i)}-${bound(i + 1) - 1}` }
          : { masterId: nodes[i - MASTERS].id };
      nodes.push(new ClusterNode(this.serverOptions(busPort), { port, busPort, ...place }));
    }
    for (const reader of nodes) {
      const lines = nodes.map((node, i) => node.line(reader, (i % MASTERS) + 1));
      const file = [...lines, `vars currentEpoch ${MASTERS} lastVoteEpoch 0`, ""].join("\n");
      writeFileSync(join(reader.directory, "nodes.conf"), file);
    }
    return nodes;
  }

  /** @param {number} busPort @returns {import("./redis-server").RedisServerOptions} */
  serverOptions(busPort) {
    const { password, args = [], ...options } = this.options;
    return {
      ...options,
      password,
      args: [
        ...["--cluster-enabled", "yes"],
        ...(hasBusPort() ? ["--cluster-port", String(busPort)] : []),
        ...["--cluster-node-timeout", String(this.nodeTimeout)],
        ...["--cluster-allow-replica-migration", "no"],
        ...["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"],
        ...(password ? ["--masterauth", password] : []),
        ...args,
      ],
    };
  }

  /** Waits until all nodes agree, and each replica has its master's data. */
  async isWhole() {
    await waitFor(
      async () => {
        const states = await Promise.all(this.nodes.map((node) => this.stateOf(node)));
        return states.every(Boolean);
      },
      { timeout: START_TIMEOUT, interval: 20, what: "the Redis Cluster to be whole" },
    );
  }

  /** @param {ClusterNode} node */
  async stateOf(node) {
    try {
      const known = new RegExp(`cluster_state:ok[\\s\\S]*cluster_known_nodes:${2 * MASTERS}\\b`);
      await this.ask(node, "CLUSTER INFO", known);
      await this.ask(node, "INFO replication", /role:master|master_link_status:up/);
      return true;
    } catch {
      return false;
    }
  }

  /** @param {ClusterNode} node @param {string} command @param {RegExp} pattern */
  ask(node, command, pattern) {
    const { password } = this.options;
    return ask(node.port, [...(password ? [`AUTH ${password}`] : []), command], pattern);
  }

  /** The master that serves a key now, as the first node that answers says. @param {string} key */
  async masterOf(key) {
    const slot = Number((await this.askAny(`CLUSTER KEYSLOT ${key}`, /:(\d+)\r\n/))[1]);
    const [nodes] = await this.askAny("CLUSTER NODES", /\$\d+\r\n[\s\S]*\n\r\n/);
    const line = nodes.split("\n").find((text) => {
      const [, , flags, , , , , ...ranges] = text.trim().split(" ");
      return /master/.test(flags) && !/fail/.test(flags) && ranges.some((at) => holds(at, slot));
    });
    const port = Number(/:(\d+)@/.exec(line ?? "")?.[1]);
    const master = this.nodes.find((node) => node.port === port);
    if (!master) {
      throw new Error(`no master serves the slot ${slot} of ${key}:\n${nodes}`);
    }
    return { master, slot };
  }

  /** The keys of a slot, which hold no blanks. @param {ClusterNode} node @param {number} slot */
  async keysIn(node, slot) {
    const command = `CLUSTER GETKEYSINSLOT ${slot} 1000`;
    const [, count] = await this.ask(node, command, /^\*(\d+)\r\n/);
    const [reply] = await this.ask(
      node,
      command,
      new RegExp(`(?:\\$\\d+\\r\\n\\S+\\r\\n){${count}}`),
    );
    return reply.split("\r\n").filter((_, i) => i % 2 === 1);
  }

  /**
   * Moves a slot with its keys, as `redis-cli --cluster reshard` does it. `between` is called when
   * the keys have gone, and the old master still owns the slot: it answers ASK then.
   *
   * @param {number} slot
   * @param {ClusterNode} from
   * @param {ClusterNode} to
   * @param {() => Promise<unknown>} between
   */
  async moveSlot(slot, from, to, between) {
    await this.ask(to, `CLUSTER SETSLOT ${slot} IMPORTING ${from.id}`, /\+OK/);
    await this.ask(from, `CLUSTER SETSLOT ${slot} MIGRATING ${to.id}`, /\+OK/);
    await this.migrate(from, to, await this.keysIn(from, slot));
    await between();
    for (const node of [to, from, ...this.nodes.slice(0, MASTERS)]) {
      await this.ask(node, `CLUSTER SETSLOT ${slot} NODE ${to.id}`, /\+OK/);
    }
  }

  /** @param {ClusterNode} from @param {ClusterNode} to @param {string[]} keys */
  async migrate(from, to, keys) {
    if (keys.length > 0) {
      const migrate = `MIGRATE ${to.host} ${to.port} "" 0 ${MIGRATE_LIMIT} KEYS ${keys.join(" ")}`;
      await this.ask(from, migrate, /\+OK/);
    }
  }

  /** @param {string} command @param {RegExp} pattern */
  async askAny(command, pattern) {
    /** @type {unknown} */
    let failure;
    for (const node of this.nodes) {
      try {
        return await this.ask(node, command, pattern);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** @returns {Promise<number>} of clients */
  async connectionCount() {
    const counts = await Promise.all(this.nodes.map((node) => node.connectionCount()));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Ends all nodes, once the connections of closed adapters are gone. */
  async stop() {
    await waitFor(async () => (await this.connectionCount()) === 0, {
      timeout: DRAIN_TIMEOUT,
      interval: 20,
    }).catch(() => {});
    await Promise.all(this.nodes.map((node) => node.remove()));
  }
}

/** Whether the port of the nodes' own connections can be chosen (7.0). */
const hasBusPort = () => serverVersion().major >= 7;

/** The port of a node and that of its connections to other nodes. */
async function freePorts() {
  if (hasBusPort()) {
    return { port: await freePort(), busPort: await freePort() };
  }
  for (;;) {
    const port = await freePort();
    // one that is taken shows when the node starts
    if (port + BUS_OFFSET <= MAX_PORT) {
      return { port, busPort: port + BUS_OFFSET };
    }
  }
}

/** @param {string} range as in CLUSTER NODES @param {number} slot */
function holds(range, slot) {
  const [first, last = first] = range.split("-").map(Number);
  return first <= slot && slot <= last;
}

/** @param {RedisClusterOptions} [options] */
function startRedisCluster(options = {}) {
  return new RedisCluster(options).start();
}

module.exports = { startRedisCluster, RedisCluster };
