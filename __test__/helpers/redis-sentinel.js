// A private master with a replica and three sentinels that watch over them, on free ports of
// 127.0.0.1, gone with the test.

"use strict";

const { writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { ask, RedisServer } = require("./redis-server");
const { waitFor } = require("./wait");

const SENTINELS = 3;
const NAME = "primary";
const START_TIMEOUT = 20_000;

/**
 * @typedef {object} SentinelOptions
 * @property {number} [downAfter] ms of silence after which a master counts as dead
 * @property {boolean} [appendOnly] master and replica keep their data over `restart()`
 * @property {string} [password] of master and replica
 * @property {string} [sentinelPassword] of the sentinels
 */

class Sentinel extends RedisServer {
  /** @param {RedisServer} master @param {SentinelOptions} options */
  constructor(master, { downAfter = 1_000, password, sentinelPassword }) {
    super({ password: sentinelPassword });
    this.configuration = [
      `sentinel monitor ${NAME} ${master.host} ${master.port} 2`,
      `sentinel down-after-milliseconds ${NAME} ${downAfter}`,
      `sentinel failover-timeout ${NAME} 5000`,
      ...(password ? [`sentinel auth-pass ${NAME} ${password}`] : []),
      ...(sentinelPassword
        ? [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`]
        : []),
    ];
  }

  /** @override @param {number} port */
  args(port) {
    const file = join(this.directory, "sentinel.conf");
    const listen = [`port ${port}`, `bind ${this.host}`, `dir ${this.directory}`];
    writeFileSync(file, [...listen, ...this.configuration, ""].join("\n"));
    return [file, "--sentinel"];
  }
}

class RedisSentinel {
  /** @param {SentinelOptions} options */
  constructor(options) {
    this.name = NAME;
    this.options = options;
    /** Master and replica, as they were at the start. @type {RedisServer[]} */
    this.servers = [];
    /** @type {Sentinel[]} */
    this.sentinels = [];
  }

  /** What clients take: where the sentinels are. */
  get nodes() {
    return this.sentinels.map(({ host, port }) => ({ host, port }));
  }

  async start() {
    const { appendOnly, password } = this.options;
    const fast = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
    const login = password ? ["--masterauth", password] : [];
    const master = await new RedisServer({
      password,
      appendOnly,
      args: [...fast, ...login],
    }).start();
    const replicaOf = ["--replicaof", master.host, String(master.port)];
    const args = [...fast, ...login, ...replicaOf];
    const replica = new RedisServer({ password, appendOnly, args });
    this.servers = [master, await replica.start()];
    for (let i = 0; i < SENTINELS; i++) {
      this.sentinels.push(
        /** @type {Sentinel} */ (await new Sentinel(master, this.options).start()),
      );
    }
    await waitFor(async () => (await Promise.all(this.sentinels.map(isWhole))).every(Boolean), {
      timeout: START_TIMEOUT,
      interval: 50,
      what: "the sentinels to know each other and the replica",
    });
    return this;
  }

  /** The server that the sentinels name. @returns {Promise<RedisServer>} */
  async master() {
    const [sentinel] = this.sentinels;
    const commands = [...login(sentinel), `SENTINEL get-master-addr-by-name ${NAME}`];
    const [, port] = await ask(sentinel.port, commands, /127\.0\.0\.1\r\n\$\d+\r\n(\d+)/);
    return /** @type {RedisServer} */ (this.servers.find((server) => server.port === Number(port)));
  }

  /** Has the replica take over, without a fault. */
  async failOver() {
    const [sentinel] = this.sentinels;
    await ask(sentinel.port, [...login(sentinel), `SENTINEL FAILOVER ${NAME}`], /\+OK/);
  }

  /** False also when it cannot be asked: it ends its connections when it changes its role. */
  async isReplica(/** @type {RedisServer} */ server) {
    const commands = [...login(server), "INFO replication"];
    return ask(server.port, commands, /role:slave/).then(
      () => true,
      () => false,
    );
  }

  async stop() {
    await Promise.all([...this.sentinels, ...this.servers].map((server) => server.remove()));
  }
}

/** @param {RedisServer} server */
function login({ options: { password } }) {
  return password ? [`AUTH ${password}`] : [];
}

/** @param {Sentinel} sentinel */
async function isWhole(sentinel) {
  const whole = new RegExp(`status=ok,address=\\S+,slaves=1,sentinels=${SENTINELS}`);
  try {
    await ask(sentinel.port, [...login(sentinel), "INFO sentinel"], whole);
    return true;
  } catch {
    return false;
  }
}

/** @param {SentinelOptions} [options] */
function startRedisSentinel(options = {}) {
  return new RedisSentinel(options).start();
}

module.exports = { startRedisSentinel };
