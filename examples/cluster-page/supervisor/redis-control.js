"use strict";
// What the supervisor has to do with Redis: it knows whether it is there, cuts the connections of a
// node, and restarts it when it is its own.

const { setTimeout: sleep } = require("node:timers/promises");

const { createClient } = require("redis");

/** For how long a node's connections are cut again as soon as they are back (ms). */
const CUT_DURATION = 2_000;
const CUT_INTERVAL = 100;
/** How long Redis is away in a restart (ms). */
const AWAY = 2_000;
/** Time between two attempts to connect (ms). */
const RECONNECT = 200;
/** How long Redis may take to answer (ms). */
const ANSWER_LIMIT = 2_000;

/** @param {string} url */
function withoutPassword(url) {
  return url.replace(/(:\/\/[^/@]*:).*@/, "$1***@");
}

/**
 * @param {string} url
 * @returns {import("redis").RedisClientOptions} node-redis knows no `unix://`
 */
function settings(url) {
  return url.startsWith("unix:")
    ? { socket: { path: new URL(url).pathname, reconnectStrategy: RECONNECT } }
    : { url, socket: { reconnectStrategy: RECONNECT } };
}

class RedisControl {
  #client;
  #server;
  #isRestarting = false;
  /** @type {() => void} called when Redis went away, or is back */
  onChange = () => {};

  /**
   * @param {string} url
   * @param {{ restart(pause: number): Promise<void> }} [server] when it is our own
   */
  constructor(url, server) {
    this.url = withoutPassword(url);
    this.#server = server;
    this.#client = createClient({ ...settings(url), disableOfflineQueue: true });
    this.#client.on("ready", () => this.onChange());
    this.#client.on("reconnecting", () => this.onChange());
    this.#client.on("error", () => this.onChange()); // the nodes' warnings say what it is
    this.#client.connect().catch(() => {}); // see "error"
  }

  get isOurs() {
    return this.#server !== undefined;
  }

  /** @returns {"up" | "away"} */
  get state() {
    return this.#client.isReady ? "up" : "away";
  }

  /**
   * @param {string[]} command
   * @returns {Promise<unknown>}
   */
  async #send(command) {
    if (!this.#client.isReady) {
      throw new Error("Redis is away");
    }
    const timeout = sleep(ANSWER_LIMIT, undefined, { ref: false }).then(() => {
      throw new Error("Redis does not answer");
    });
    return Promise.race([this.#client.sendCommand(command), timeout]);
  }

  /**
   * Cuts all connections of that name, also those that are made meanwhile.
   *
   * @param {string} clientName
   * @returns {Promise<number>} how many were cut
   */
  async cut(clientName) {
    const end = Date.now() + CUT_DURATION;
    let cut = 0;
    while (Date.now() < end) {
      const list = String(await this.#send(["CLIENT", "LIST"])).split("\n");
      for (const line of list.filter((each) => each.split(" ").includes(`name=${clientName}`))) {
        const [, id] = /^id=(\d+) /.exec(line) ?? [];
        cut += Number(await this.#send(["CLIENT", "KILL", "ID", id]));
      }
      await sleep(CUT_INTERVAL);
    }
    return cut;
  }

  async restart() {
    if (this.#isRestarting) {
      throw new Error("Redis is being restarted already");
    }
    this.#isRestarting = true;
    try {
      await this.#server?.restart(AWAY);
    } finally {
      this.#isRestarting = false;
    }
  }

  close() {
    this.#client.destroy();
  }
}

module.exports = { RedisControl };
