// A Socket.IO node in a process of its own that emits numbered packets and keeps a record of what
// was lost, as the chaos test needs it.

"use strict";

const { join } = require("node:path");
const { kindOf } = require("../helpers/adapters");
const { ChildNode } = require("../helpers/remote-node");

const EXTENSION = join(__dirname, "agent-extension.js");

/**
 * @typedef {import("./agent-extension").Plan} Plan
 * @typedef {import("./agent-extension").Report} Report
 *
 * @typedef {object} AgentOptions
 * @property {import("../helpers/remote-node").Reachable} redis
 * @property {string} [client] instead of REDIS_CLIENT
 * @property {number} [sender] goes with its packets, default 0
 * @property {import("../helpers/adapters").Kind} [kind] which adapter it runs, by default as ADAPTER says
 * @property {Record<string, unknown>} [adapterOptions]
 * @property {Record<string, unknown>} [serverOptions] of Socket.IO's `Server`
 * @property {number} [delay] up to so many ms a middleware takes, default none
 * @property {string[]} [execArgv] arguments of Node.js itself
 */

class Agent extends ChildNode {
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

  /** Emits a packet that Redis may not take. @param {number} bytes */
  emitOversized(bytes) {
    return this.call("emitOversized", bytes);
  }

  /** What it has emitted, lost and done wrong so far. @returns {Promise<Report>} */
  findings() {
    return this.call("findings");
  }
}

/**
 * @param {AgentOptions} options
 * @returns {Promise<Agent>}
 */
function startAgent({ kind = kindOf(0), execArgv, sender = 0, delay = 0, ...options }) {
  const all = { ...options, sender, delay, extension: EXTENSION };
  return new Agent({ kind, execArgv }).start(all);
}

module.exports = { startAgent, Agent };
