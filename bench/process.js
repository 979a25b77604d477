"use strict";
// A process of the benchmark that takes orders: a node, or many clients.

const { fork } = require("node:child_process");
const { join } = require("node:path");

class Process {
  #child;
  #next = 1;
  /** @type {Map<number, { resolve: (answer: any) => void, reject: (e: Error) => void }>} */
  #open = new Map();
  /** @type {Map<string, () => void>} */
  #ends = new Map();

  /** @param {string} script @param {string[]} args */
  constructor(script, args) {
    this.#child = fork(join(__dirname, script), args);
    this.started = this.#answer(0);
    this.#child.on("message", (/** @type {any} */ { id, answer, reached }) => {
      if (reached !== undefined) {
        return this.#ends.get(reached)?.();
      }
      this.#open.get(id)?.resolve(answer);
      this.#open.delete(id);
    });
    this.#child.on("exit", (code) => {
      const error = new Error(`${script} has ended with ${code}`);
      this.#open.forEach(({ reject }) => reject(error));
    });
  }

  /** @param {number} id @returns {Promise<any>} */
  #answer(id) {
    return new Promise((resolve, reject) => this.#open.set(id, { resolve, reject }));
  }

  /** @param {string} order @param {any} [argument] @returns {Promise<any>} */
  ask(order, argument) {
    const id = this.#next++;
    this.#child.send({ id, order, argument });
    return this.#answer(id);
  }

  /** Resolves when the node has handled the end with this name. @param {string} name */
  reaches(name) {
    return new Promise((resolve) => this.#ends.set(name, () => resolve(undefined)));
  }

  pause() {
    this.#child.kill("SIGSTOP");
  }

  resume() {
    this.#child.kill("SIGCONT");
  }

  stop() {
    this.#open.clear();
    if (this.#child.exitCode !== null) {
      return;
    }
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.disconnect();
    return ended;
  }
}

/**
 * @typedef {object} NodeOptions
 * @property {boolean} [recovery] with connection state recovery
 * @property {number} [rooms] over which clients and packets are spread
 * @property {object} [adapterOptions]
 *
 * @param {string} kind
 * @param {number} port of Redis
 * @param {NodeOptions} [options]
 */
const startNode = (kind, port, options = {}) =>
  new Process("node.js", [kind, String(port), JSON.stringify(options)]);

const startClients = () => new Process("clients.js", []);

module.exports = { Process, startNode, startClients };
