"use strict";
// Starts the nodes, knows how each of them is, and hurts them when a page asks for it. It talks to
// them over IPC channels only, which work also while Redis does not.

const { randomUUID } = require("node:crypto");

const { NodeProcess } = require("./node-process");
const { RedisControl } = require("./redis-control");

const NODES = ["node-1", "node-2", "node-3"];
/** For how long an event loop is blocked (ms). */
const BLOCK = 5_000;
/** The tabs of a node hear that it will be blocked before it is (ms). */
const BLOCK_DELAY = 200;
/** How many packets a burst has. */
const BURST = 5_000;
/** How many events a tab that has just come is told of. */
const KEPT_EVENTS = 30;

/**
 * @typedef {object} ClusterEvent
 * @property {string} id
 * @property {number} time
 * @property {string} text
 * @property {boolean} isHarm
 *
 * @typedef {object} Cluster what all pages know
 * @property {string} id of this start of the cluster
 * @property {{ name: string, state: import("./node-process").State, address?: string }[]} nodes
 * @property {{ isOurs: boolean, state: "up" | "away" }} redis
 * @property {ClusterEvent[]} events the latest
 */

class Supervisor {
  #id = randomUUID();
  #nodes;
  #redis;
  /** @type {ClusterEvent[]} */
  #events = [];
  #redisState = "up";

  /**
   * @param {string} redisUrl
   * @param {number} firstPort 0 for any
   * @param {{ restart(pause: number): Promise<void> }} [redisServer] when it is our own
   */
  constructor(redisUrl, firstPort, redisServer) {
    this.#redis = new RedisControl(redisUrl, redisServer);
    this.#redis.onChange = () => this.#redisChanged();
    this.#nodes = NODES.map((name, i) => {
      const port = firstPort && firstPort + i;
      const environment = { REDIS_URL: redisUrl, REDIS_CLIENT_NAME: this.#clientName(name) };
      const node = new NodeProcess(name, port, environment);
      node.on("change", (state) => {
        if (state === "running" || state === "starting") {
          this.#note(`${name} is ${state}`);
        }
        this.#tell();
      });
      node.on("ended", (cause) => this.#note(`${name} died (${cause})`, true));
      node.on("command", async (command, reply) => reply(await this.#obey(command)));
      return node;
    });
  }

  get redisUrl() {
    return this.#redis.url;
  }

  /** Resolves with all of them once they listen, at once where they do; rejects when one ends before. */
  async started() {
    await Promise.all(
      this.#nodes.map(
        (node) =>
          new Promise((resolve, reject) => {
            if (node.state === "running") {
              return resolve(undefined);
            }
            node.once("ended", () => reject(new Error(`${node.name} did not start`)));
            node.on("change", (state) => state === "running" && resolve(undefined));
          }),
      ),
    );
    return this.#nodes.map(({ name, address }) => ({ name, address }));
  }

  /** @param {string} node */
  #clientName(node) {
    return `${node}@${this.#id.slice(0, 8)}`;
  }

  #redisChanged() {
    const { state } = this.#redis;
    if (state !== this.#redisState) {
      this.#redisState = state;
      this.#note(state === "up" ? "Redis is back" : "Redis is away");
      this.#tell();
    }
  }

  /**
   * @param {string} text
   * @param {boolean} [isHarm]
   */
  #note(text, isHarm = false) {
    this.#events.push({ id: randomUUID(), time: Date.now(), text, isHarm });
    this.#events = this.#events.slice(-KEPT_EVENTS);
    this.#tell();
  }

  #tell() {
    const { isOurs, state } = this.#redis;
    /** @type {Cluster} */
    const cluster = {
      id: this.#id,
      nodes: this.#nodes.map(({ name, state, address }) => ({ name, state, address })),
      redis: { isOurs, state },
      events: this.#events,
    };
    this.#nodes.forEach((node) => node.send("cluster", cluster));
  }

  /**
   * @param {any} command from a page: anything
   * @returns {Promise<import("../uplink").Result>}
   */
  async #obey(command) {
    try {
      const { action, node: name } = command;
      if (action === "restart-redis") {
        await this.#restartRedis();
      } else {
        await this.#hurt(action, name);
      }
      return { ok: true };
    } catch (error) {
      return { ok: false, error: /** @type {Error} */ (error).message };
    }
  }

  async #restartRedis() {
    if (!this.#redis.isOurs) {
      throw new Error("This Redis is not ours: it is not restarted");
    }
    this.#note("Redis is restarted", true);
    await this.#redis.restart();
  }

  /**
   * @param {unknown} action
   * @param {unknown} name
   */
  async #hurt(action, name) {
    const node = this.#nodes.find((each) => each.name === name);
    if (node?.state !== "running") {
      throw new Error(node ? `${node.name} is not running` : "There is no such node");
    }
    switch (action) {
      case "kill":
        return node.kill();
      case "block":
        this.#note(`${node.name}: event loop blocked for ${BLOCK / 1_000} s`, true);
        setTimeout(() => node.block(BLOCK), BLOCK_DELAY);
        return;
      case "cut":
        this.#note(`${node.name}: Redis connections cut`, true);
        await this.#redis.cut(this.#clientName(node.name));
        return;
      case "burst":
        this.#note(`${node.name}: a burst of ${BURST.toLocaleString("en")} packets`, true);
        return node.send("burst", BURST);
      default:
        throw new Error("There is no such action");
    }
  }

  async close() {
    this.#redis.onChange = () => {};
    await Promise.all(this.#nodes.map((node) => node.close()));
    this.#redis.close();
  }
}

module.exports = { Supervisor };
