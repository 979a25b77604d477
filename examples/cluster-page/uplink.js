"use strict";
// A node's end of the IPC channel to the supervisor.

const { EventEmitter } = require("node:events");

/**
 * @typedef {import("./supervisor/supervisor").Cluster} Cluster
 * @typedef {{ ok: true } | { ok: false, error: string }} Result of a command
 */

/**
 * Emits what the supervisor sends: `cluster` (its view of the whole), `burst` (how many packets) and
 * `block` (for how many ms).
 */
class Uplink extends EventEmitter {
  /** @type {Cluster} */
  cluster = { id: "", nodes: [], redis: { isOurs: false, state: "away" }, events: [] };
  /** @type {Map<number, (result: Result) => void>} */
  #waiting = new Map();
  #commands = 0;

  constructor() {
    super();
    process.on("message", (message) => this.#receive(message));
  }

  /** @param {any} message */
  #receive({ type, value }) {
    if (type === "result") {
      this.#waiting.get(value.number)?.(value.result);
      this.#waiting.delete(value.number);
      return;
    }
    if (type === "cluster") {
      this.cluster = value;
    }
    this.emit(type, value);
  }

  /** @param {any} message */
  send(message) {
    if (process.connected) {
      process.send?.(message);
    }
  }

  /**
   * @param {unknown} command as a page sent it: the supervisor judges it
   * @returns {Promise<Result>}
   */
  command(command) {
    return new Promise((resolve) => {
      const number = ++this.#commands;
      this.#waiting.set(number, resolve);
      this.send({ type: "command", number, command });
    });
  }

  close() {
    if (process.connected) {
      process.disconnect();
    }
  }
}

module.exports = { Uplink };
