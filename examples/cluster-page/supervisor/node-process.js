"use strict";
// One node of the cluster as a child process: started, hurt, started again, closed.

const { fork } = require("node:child_process");
const { EventEmitter } = require("node:events");
const { join } = require("node:path");

const PROGRAM = join(__dirname, "..", "node.js");
/** How long a node may take to close before it is killed (ms). */
const CLOSE_LIMIT = 10_000;
/** How long a node that died is left dead: one wants to see it (ms). */
const RESTART_DELAY = 5_000;

/**
 * @typedef {"starting" | "running" | "blocked" | "dead"} State
 */

/**
 * Emits `change` with the new state, `ended` when its process died, and `command` with what one of its
 * pages asks for, and a function that answers it.
 */
class NodeProcess extends EventEmitter {
  /** @type {State} */
  state = "starting";
  /** @type {string | undefined} */
  address;
  #environment;
  #port;
  #closing = false;
  /** @type {NodeJS.Timeout | undefined} */
  #restart;
  /** @type {import("node:child_process").ChildProcess} */
  #child;
  /** Settled when the process that now runs has ended. */
  #ended = Promise.resolve();

  /**
   * @param {string} name
   * @param {number} port 0 for any
   * @param {NodeJS.ProcessEnv} environment
   */
  constructor(name, port, environment) {
    super();
    this.name = name;
    this.#port = port;
    this.#environment = environment;
    this.#child = this.#start();
  }

  #start() {
    const child = fork(PROGRAM, {
      env: {
        ...process.env,
        ...this.#environment,
        NODE_NAME: this.name,
        PORT: String(this.#port),
        // The tabs know its address: it comes back there or not at all.
        PORT_IS_FIXED: this.address ? "1" : "",
      },
    });
    child.on("message", (message) => this.#receive(message));
    child.on("error", () => {}); // it could not be sent something, since it has just died
    this.#ended = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        this.#died(signal ?? `exit code ${code}`);
        resolve();
      });
    });
    return child;
  }

  /** @param {any} message */
  #receive(message) {
    if (message.type === "listening") {
      this.#port = message.port;
      this.address = `http://127.0.0.1:${message.port}`;
      this.#change("running");
    } else if (message.type === "unblocked") {
      this.#change("running");
    } else if (message.type === "command") {
      const { number, command } = message;
      this.emit("command", command, (/** @type {unknown} */ result) =>
        this.send("result", { number, result }),
      );
    }
  }

  /** @param {string} cause */
  #died(cause) {
    if (this.#closing) {
      return;
    }
    console.error(`${this.name} died (${cause})`);
    this.#change("dead");
    this.emit("ended", cause);
    if (this.address) {
      this.#restart = setTimeout(() => {
        this.#change("starting");
        this.#child = this.#start();
      }, RESTART_DELAY);
    }
  }

  /** @param {State} state */
  #change(state) {
    this.state = state;
    this.emit("change", state);
  }

  /**
   * @param {string} type
   * @param {unknown} value
   */
  send(type, value) {
    if (this.#child.connected) {
      this.#child.send({ type, value }, () => {}); // see "error"
    }
  }

  kill() {
    this.#child.kill("SIGKILL");
  }

  /** @param {number} ms */
  block(ms) {
    if (this.state !== "running") {
      return; // it was killed meanwhile
    }
    this.#change("blocked");
    this.send("block", ms);
  }

  async close() {
    this.#closing = true;
    clearTimeout(this.#restart);
    // The node takes the end of this channel for its signal to close.
    if (this.#child.connected) {
      this.#child.disconnect();
    }
    const killer = setTimeout(() => {
      console.error(`${this.name} did not close in ${CLOSE_LIMIT / 1_000} s and was killed`);
      this.kill();
    }, CLOSE_LIMIT);
    await this.#ended;
    clearTimeout(killer);
  }
}

module.exports = { NodeProcess };
