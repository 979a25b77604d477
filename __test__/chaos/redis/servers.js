// What the three kinds of Redis under a chaos run have in common: servers that keep their data, what
// is asked of them, and what is done to them. Nothing that is done here loses what Redis has
// acknowledged, so whatever is missing in the end was lost by a node.

"use strict";

const { ask } = require("../../helpers/redis-server");
const { settle, waitFor } = require("../../helpers/wait");

/**
 * @typedef {import("../../helpers/redis-server").RedisServer} RedisServer
 * @typedef {import("../../helpers/clients").Admin} Admin
 * @typedef {import("./gate").Gate} Gate
 *
 * @typedef {object} Handing how a replica takes over
 * @property {number} ms between the steps
 * @property {boolean} byFailover by the server's own command, if it has one for this kind
 */

/** ms for a step of an operator. */
const STEP = 60_000;
/** ms until a server answers, or is asked again. */
const ANSWER = 1_000;
/** ms for an attempt to have a replica take over; that of a cluster has no other. */
const ATTEMPT = 5_000;
/** ms for which writes are held back at the most; longer than all steps together may take. */
const PAUSE = 600_000;

/** Servers that synchronize at once, and tell each other each second how far they are. */
const FAST = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

/** The reply to ROLE. */
const MASTER = /^\*\d\r\n\$6\r\nmaster/;

class Servers {
  /** All of them, whatever their roles. @type {RedisServer[]} */
  servers = [];
  /** For commands, by server; a cluster has one for all. @type {Map<RedisServer, Admin>} */
  admins = new Map();

  /** The way of one node to Redis. @returns {Promise<Gate>} */
  async gate() {
    throw new Error("each kind has its own");
  }

  /** Those that take writes. @returns {Promise<RedisServer[]>} */
  async masters() {
    throw new Error("each kind has its own");
  }

  /** Has a replica take over from a master, losing nothing. @param {RedisServer} _master @param {Handing} _handing */
  async failOver(_master, _handing) {
    throw new Error("each kind has its own");
  }

  /** Waits until all servers work together. */
  async areWhole() {}

  /** For commands about keys. @returns {Promise<Admin>} */
  async admin() {
    const [master] = await this.masters();
    return /** @type {Admin} */ (this.admins.get(master));
  }

  /**
   * The reply to a command, or undefined: Redis is not always there.
   *
   * @param {...(string | number)} args
   */
  async command(...args) {
    const reply = this.admin().then((admin) => admin.command(...args));
    return Promise.race([reply, settle(ANSWER)]).catch(() => undefined);
  }

  /**
   * Tells a server something until it has understood.
   *
   * @param {RedisServer} server
   * @param {string} command
   * @param {RegExp} [pattern]
   */
  async tell(server, command, pattern = /^\+OK/) {
    /** @type {unknown} */
    let failure;
    return waitFor(
      () => ask(server.port, [command], pattern).catch((error) => void (failure = error)),
      {
        timeout: STEP,
        interval: 20,
        what: () => `${server.port} to take ${command}: ${failure}`,
      },
    );
  }

  /**
   * Tries to have a replica take over until it has. Each attempt gives up by itself if the replica is
   * not in sync in time.
   *
   * @param {RedisServer} replica
   * @param {() => Promise<unknown>} attempt
   */
  async untilMaster(replica, attempt) {
    const isMaster = () =>
      ask(replica.port, ["ROLE"], MASTER).then(
        () => true,
        () => false,
      );
    const takeOver = async () => {
      await attempt();
      return waitFor(isMaster, { timeout: ATTEMPT + ANSWER, interval: 20 }).catch(() => false);
    };
    await waitFor(takeOver, { timeout: 3 * STEP, what: `${replica.port} to take over` });
  }

  /** @param {RedisServer} server @param {RegExp} field of INFO replication @returns {Promise<string | undefined>} */
  async replication(server, field) {
    const info = await ask(server.port, ["INFO replication"], /\$\d+\r\n[\s\S]*\r\n\r\n/);
    return field.exec(info[0])?.[1];
  }

  /**
   * Holds back what is written to a master until its replica has everything, and takes over.
   *
   * @param {RedisServer} master
   * @param {RedisServer} replica
   * @param {() => Promise<unknown>} takeOver has to make a replica of the master
   */
  async whileInSync(master, replica, takeOver) {
    await waitFor(
      () => this.replication(replica, /master_link_status:(up)/).catch(() => undefined),
      { timeout: STEP, interval: 20, what: "the replica to have a connection" },
    );
    await this.tell(master, `CLIENT PAUSE ${PAUSE} WRITE`);
    try {
      const written = Number(await this.replication(master, /master_repl_offset:(\d+)/));
      await waitFor(
        async () => Number(await this.replication(replica, /slave_repl_offset:(\d+)/)) >= written,
        { timeout: STEP, interval: 10, what: "the replica to have everything" },
      );
      await takeOver();
    } finally {
      await this.tell(master, "CLIENT UNPAUSE");
    }
  }

  /** Ends a master and starts it with what it had. @param {RedisServer} master @param {NodeJS.Signals} signal */
  async restart(master, signal) {
    await master.restart({ signal, args: this.argsOf(master) });
    await this.areWhole();
  }

  /** With what a server is to be started now. @param {RedisServer} server @returns {string[] | undefined} */
  argsOf(server) {
    return server.options.args;
  }

  async stop() {
    await Promise.all([...this.admins.values()].map((admin) => admin.close()));
    await Promise.all(this.servers.map((server) => server.stop()));
  }
}

module.exports = { ATTEMPT, FAST, MASTER, Servers };
