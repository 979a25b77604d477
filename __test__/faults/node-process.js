// A Socket.IO node in a process of its own: it can be killed, stopped and blocked.

"use strict";

const { fork } = require("node:child_process");
const { join } = require("node:path");
const { guard } = require("../helpers/guard");
const { waitFor, within } = require("../helpers/wait");

const MAIN = join(__dirname, "node-process-main.js");

/**
 * @typedef {object} NodeProcessOptions
 * @property {import("../helpers/adapters").Kind} [kind] which adapter it runs, default ours
 * @property {number} [index] its answers name it by this
 * @property {string} [url] of the Redis server, instead of the server's own
 * @property {Record<string, unknown>} [adapterOptions]
 * @property {Record<string, unknown>} [serverOptions] of Socket.IO's `Server`
 */

class NodeProcess {
  /**
   * @param {import("../helpers/redis-server").RedisServer} redis
   * @param {NodeProcessOptions} options
   */
  constructor(redis, { url = redis.url, ...options }) {
    this.index = options.index ?? 1;
    this.kind = options.kind ?? "native";
    this.output = "";
    this.port = 0;
    /** @type {{ code: string, message: string }[]} the warnings that the process emitted */
    this.warnings = [];
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.calls = new Map();
    this.nextCall = 0;
    const { index, kind } = this;
    this.child = fork(MAIN, [JSON.stringify({ ...options, url, index })], {
      env: { ...process.env, ADAPTER: kind },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.release = guard(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text) => (this.output += text));
    }
    this.child.on("message", (message) => this.#hear(message));
    /** @type {Promise<void>} */
    this.exited = new Promise((resolve) => {
      this.child.once("exit", () => {
        this.release();
        const error = new Error(`node ${this.index} has ended: ${this.output}`);
        this.calls.forEach(({ reject }) => reject(error));
        resolve();
      });
    });
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** @param {any} message */
  #hear(message) {
    if (message.port !== undefined) {
      this.port = message.port;
    } else if (message.warning !== undefined) {
      this.warnings.push(message.warning);
    } else {
      const call = this.calls.get(message.call);
      this.calls.delete(message.call);
      if (message.error !== undefined) {
        call?.reject(new Error(`node ${this.index}: ${message.error}`));
      } else {
        call?.resolve(message.result);
      }
    }
  }

  async started() {
    await waitFor(() => this.port !== 0, {
      what: () => `node ${this.index} to listen; its output:\n${this.output}`,
    });
    return this;
  }

  /**
   * Has the process do something; see `actions` in node-process-main.js.
   *
   * @param {string} action
   * @param {...any} args
   * @returns {Promise<any>}
   */
  call(action, ...args) {
    const call = this.nextCall++;
    const promise = new Promise((resolve, reject) => this.calls.set(call, { resolve, reject }));
    promise.catch(() => {}); // the process may be killed with calls open
    this.child.send({ call, action, args });
    return within(promise, `node ${this.index} to ${action}`, 20_000);
  }

  /** Ends it at once, also while it is stopped. */
  async kill() {
    this.child.ref(); // or nothing might be left to wait for
    this.child.kill("SIGKILL");
    await this.exited;
  }

  /** Stops it: its connections stay open, and it does nothing. */
  pause() {
    this.child.kill("SIGSTOP");
  }

  resume() {
    this.child.kill("SIGCONT");
  }
}

/**
 * @param {import("../helpers/redis-server").RedisServer} redis
 * @param {NodeProcessOptions} [options]
 */
function startNodeProcess(redis, options = {}) {
  return new NodeProcess(redis, options).started();
}

module.exports = { startNodeProcess, NodeProcess };
