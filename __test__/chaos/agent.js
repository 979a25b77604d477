// A Socket.IO node in a process of its own that emits numbered packets and keeps a record of what
// was lost, as the chaos test needs it.

"use strict";

const { fork } = require("node:child_process");
const { join } = require("node:path");
const { kindOf } = require("../helpers/adapters");
const { guard } = require("../helpers/guard");
const { RemoteNode } = require("../helpers/remote-node");

const MAIN = join(__dirname, "agent-main.js");

/**
 * @typedef {import("./agent-main").Plan} Plan
 * @typedef {import("./agent-main").Report} Report
 *
 * @typedef {object} AgentOptions
 * @property {{ host: string, port: number, url: string }} redis
 * @property {number} [sender] goes with its packets, default 0
 * @property {import("../helpers/adapters").Kind} [kind] which adapter it runs, by default as ADAPTER says
 * @property {Record<string, unknown>} [adapterOptions]
 * @property {Record<string, unknown>} [serverOptions] of Socket.IO's `Server`
 * @property {number} [delay] up to so many ms a middleware takes, default none
 * @property {string[]} [execArgv] arguments of Node.js itself
 */

class Agent extends RemoteNode {
  /**
   * @param {import("../helpers/adapters").Kind} kind
   * @param {string[]} [execArgv]
   */
  constructor(kind, execArgv) {
    const child = fork(MAIN, {
      execArgv,
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, ADAPTER: kind },
    });
    const release = guard(child);
    super(
      (message) => child.send(message, () => {}), // an error shows as the end of the child
      new Promise((resolve) =>
        child.once("exit", (code, signal) => {
          release();
          resolve(code ?? signal);
        }),
      ),
    );
    this.child = child;
    this.output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (data) => {
        this.output += data;
      });
    }
    child.on("message", (answer) => this.onAnswer(/** @type {any} */ (answer)));
  }

  /** @param {AgentOptions} options */
  async launch({ redis: { host, port, url }, kind: _, execArgv: __, ...options }) {
    const redis = { host, port, url, options: {} };
    Object.assign(this, await this.call("start", { redis, sender: 0, delay: 0, ...options }));
    return this;
  }

  /** Emits numbered packets at a steady rate. @param {Plan} plan */
  startTraffic(plan) {
    return this.call("startTraffic", plan);
  }

  stopTraffic() {
    return this.call("stopTraffic");
  }

  /**
   * Emits packets to all without a pause.
   *
   * @param {number} count
   * @param {number} [bytes] size of each
   */
  burst(count, bytes) {
    return this.call("burst", count, bytes);
  }

  /** What it has emitted, lost and done wrong so far. @returns {Promise<Report>} */
  findings() {
    return this.call("findings");
  }

  /** Ends the process without a word. */
  async kill() {
    this.child.ref(); // or nothing might be left to wait for
    this.child.kill("SIGKILL");
    await this.exited;
  }
}

/**
 * @param {AgentOptions} options
 * @returns {Promise<Agent>}
 */
async function startAgent(options) {
  const agent = new Agent(options.kind ?? kindOf(0), options.execArgv);
  try {
    return await agent.launch(options);
  } catch (error) {
    await agent.kill();
    throw new Error(`a node did not start: ${agent.output}`, { cause: error });
  }
}

module.exports = { startAgent, Agent };
