// Socket.IO nodes in processes of their own, for what cannot be done to a node in the test's own
// process (SIGKILL, SIGSTOP, a busy event loop), and in worker threads.

"use strict";

const { fork } = require("node:child_process");
const { join } = require("node:path");
const { Worker } = require("node:worker_threads");
const { guard } = require("./guard");
const { within } = require("./wait");

const AGENT = join(__dirname, "node-agent.js");
const CALL_TIMEOUT = 20_000;

/**
 * @typedef {import("./node-agent").Target} Target
 *
 * @typedef {Pick<import("./clients").Server, "url"> & Partial<import("./clients").Server>} Reachable
 *
 * @typedef {object} OwnOptions
 * @property {Reachable} redis
 * @property {string} [extension] path of a module that adds to the node (see node-agent.js)
 *
 * @typedef {Omit<import("./node").NodeOptions, "redis" | "setup"> & OwnOptions} RemoteNodeOptions
 *   and what its extension takes
 *
 * @typedef {object} ProcessOptions
 * @property {import("./adapters").Kind} [kind] which adapter it runs, by default as ADAPTER says
 * @property {string[]} [execArgv] arguments of Node.js itself
 */

/**
 * A node elsewhere. Its methods are those of node-agent.js, and end when the node has answered.
 */
class RemoteNode {
  /**
   * @param {(message: any) => void} send
   * @param {Promise<number | string | null>} exited resolves with the exit code or the signal
   */
  constructor(send, exited) {
    this.send = send;
    this.exited = exited;
    this.port = 0;
    /** The uid of the main namespace's adapter. */
    this.uid = "";
    this.calls = 0;
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.pending = new Map();
    exited.then((reason) => {
      this.pending.forEach(({ reject }) => reject(new Error(`the node has ended: ${reason}`)));
      this.pending.clear();
    });
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** @param {{ id: number, result?: any, error?: string }} answer */
  onAnswer({ id, result, error }) {
    const call = this.pending.get(id);
    this.pending.delete(id);
    if (error !== undefined) {
      call?.reject(new Error(error));
    } else {
      call?.resolve(result);
    }
  }

  /**
   * @param {string} method
   * @param {...any} args
   * @returns {Promise<any>}
   */
  call(method, ...args) {
    const id = this.calls++;
    const answer = new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
    this.send({ id, method, args });
    return within(answer, `the node's answer to ${method}`, CALL_TIMEOUT);
  }

  /** @param {RemoteNodeOptions} options */
  async start({ redis, ...options }) {
    const { host, port, url, ports, reach } = redis;
    // only what a client needs, and can be sent
    const login = { password: redis.options?.password };
    const server = { host, port, url, ports, reach, options: login };
    Object.assign(this, await this.call("start", { redis: server, ...options }));
    return this;
  }

  /** @param {string} event @param {any[]} [args] @param {Target} [target] */
  emit(event, args = [], target) {
    return this.call("emit", event, args, target);
  }

  /**
   * @param {string} event
   * @param {any[]} args
   * @param {Target} target with a timeout
   * @returns {Promise<{ error?: string, responses: any[] }>}
   */
  emitWithAck(event, args, target) {
    return this.call("emitWithAck", event, args, target);
  }

  /**
   * @param {Target} [target]
   * @returns {Promise<{ id: string, rooms: string[], data: any }[]>}
   */
  fetchSockets(target) {
    return this.call("fetchSockets", target);
  }

  /** @param {string[]} rooms @param {Target} [target] */
  socketsJoin(rooms, target) {
    return this.call("socketsJoin", rooms, target);
  }

  /** @param {string[]} rooms @param {Target} [target] */
  socketsLeave(rooms, target) {
    return this.call("socketsLeave", rooms, target);
  }

  /** @param {boolean} close @param {Target} [target] */
  disconnectSockets(close, target) {
    return this.call("disconnectSockets", close, target);
  }

  /** @param {string} event @param {any[]} [args] @param {Target} [target] */
  serverSideEmit(event, args = [], target) {
    return this.call("serverSideEmit", event, args, target);
  }

  /**
   * @param {string} event
   * @param {any[]} [args]
   * @param {Target} [target]
   * @returns {Promise<{ error?: string, responses: any[] }>}
   */
  serverSideEmitWithAck(event, args = [], target) {
    return this.call("serverSideEmitWithAck", event, args, target);
  }

  /**
   * Records an event of other servers, and answers it when `answer` is given.
   *
   * @param {string} event
   * @param {any} [answer]
   * @param {Target} [target]
   */
  listen(event, answer, target) {
    return this.call("listen", event, answer, target);
  }

  /** What `listen` recorded. @returns {Promise<any[][]>} */
  serverSideEvents() {
    return this.call("serverSideEvents");
  }

  /** @param {string} [nsp] @returns {Promise<number>} */
  serverCount(nsp) {
    return this.call("serverCount", nsp);
  }

  /** Opens a namespace. @param {string} nsp */
  of(nsp) {
    return this.call("of", nsp);
  }

  /** @param {string} nsp */
  closeAdapter(nsp) {
    return this.call("closeAdapter", nsp);
  }

  /** Keeps the node's event loop busy; resolves when it is free again. @param {number} ms */
  block(ms) {
    return this.call("block", ms);
  }

  /** @param {string} [nsp] @returns {Promise<any>} */
  stats(nsp) {
    return this.call("stats", nsp);
  }

  /**
   * @returns {Promise<{
   *   unhandledRejections: string[], uncaughtExceptions: string[], warnings: string[]
   * }>}
   */
  report() {
    return this.call("report");
  }

  /** Closes the node and resolves with how its process or thread ended, by itself. */
  async close() {
    await this.call("close");
    return within(this.exited, "the closed node to end by itself", CALL_TIMEOUT);
  }
}

class ChildNode extends RemoteNode {
  /** @param {ProcessOptions} [options] */
  constructor({ kind, execArgv } = {}) {
    const child = fork(AGENT, {
      execArgv,
      env: kind ? { ...process.env, ADAPTER: kind } : process.env,
      serialization: "advanced",
      stdio: ["ignore", "pipe", "pipe", "ipc"],
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

  get pid() {
    return this.child.pid;
  }

  /** @param {RemoteNodeOptions} options */
  async start(options) {
    try {
      return await super.start(options);
    } catch (error) {
      await this.kill();
      throw new Error(`a node did not start: ${this.output}`, { cause: error });
    }
  }

  /** Ends the process without a word, also while it is stopped. @param {NodeJS.Signals} [signal] */
  kill(signal = "SIGKILL") {
    this.child.ref(); // or nothing might be left to wait for
    this.child.kill(signal);
    return this.exited;
  }

  /** Stops the whole process (SIGSTOP), its threads too. */
  pause() {
    this.child.kill("SIGSTOP");
  }

  resume() {
    this.child.kill("SIGCONT");
  }
}

class WorkerNode extends RemoteNode {
  constructor() {
    const worker = new Worker(AGENT);
    super(
      (message) => worker.postMessage(message),
      new Promise((resolve) => worker.once("exit", resolve)),
    );
    this.worker = worker;
    worker.on("message", (answer) => this.onAnswer(answer));
    worker.on("error", () => {}); // shows as the end of the thread
  }

  /** Ends the thread in the middle of whatever it does. */
  terminate() {
    return this.worker.terminate();
  }
}

/**
 * A node in a process of its own.
 *
 * @param {RemoteNodeOptions & ProcessOptions} options
 * @returns {Promise<ChildNode>}
 */
async function startChildNode({ kind, execArgv, ...options }) {
  return new ChildNode({ kind, execArgv }).start(options);
}

/**
 * A node in a worker thread of this process.
 *
 * @param {RemoteNodeOptions} options
 * @returns {Promise<WorkerNode>}
 */
async function startWorkerNode(options) {
  return new WorkerNode().start(options);
}

module.exports = { startChildNode, startWorkerNode, RemoteNode, ChildNode };
