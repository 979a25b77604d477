// A Socket.IO node in a process or a worker thread of its own, which does what it is told by
// messages: the other end of remote-node.js.

"use strict";

const { parentPort } = require("node:worker_threads");
const { startNode } = require("./node");

/**
 * @typedef {object} Target what an operation applies to
 * @property {string} [nsp]
 * @property {string[]} [rooms]
 * @property {string[]} [except]
 * @property {boolean} [local]
 * @property {number} [timeout]
 */

/**
 * @typedef {object} Extension what a module adds to a node, by what its function returns
 * @property {(io: import("socket.io").Server, options: any) => void} [setup] called before clients
 *   can connect, with what the node was started with
 * @property {Record<string, (...args: any[]) => any>} [methods] that the other end can call
 * @property {() => void} [end] called before the node closes
 *
 * @typedef {(running: () => import("./node").SocketIoNode) => Extension} Extend
 */

/** @type {import("./node").SocketIoNode | undefined} */
let node;
/** @type {Extension} */
let extension = {};

/** What went wrong without anybody handling it, and what was warned of. */
const report = {
  /** @type {string[]} */
  unhandledRejections: [],
  /** @type {string[]} */
  uncaughtExceptions: [],
  /** @type {string[]} */
  warnings: [],
};

/** Events of other servers, as `[event, ...args]`. @type {any[][]} */
const serverSideEvents = [];

process.on("unhandledRejection", (reason) => {
  report.unhandledRejections.push(reason instanceof Error ? String(reason.stack) : String(reason));
});
process.on("uncaughtException", (error) => {
  report.uncaughtExceptions.push(String(error.stack));
});
process.on("warning", (warning) => report.warnings.push(String(warning)));

function running() {
  if (!node) {
    throw new Error("the node was not started");
  }
  return node;
}

/** @param {Target} [target] @returns {any} a namespace or an operator on it */
function select({ nsp = "/", rooms, except, local, timeout } = {}) {
  /** @type {any} */
  let operator = running().io.of(nsp);
  if (local) {
    operator = operator.local;
  }
  if (rooms) {
    operator = operator.to(rooms);
  }
  if (except) {
    operator = operator.except(except);
  }
  return timeout === undefined ? operator : operator.timeout(timeout);
}

/** What the other end can call; every argument and result is a message. */
const methods = {
  /** @param {import("./node").NodeOptions & { extension?: string }} options */
  async start({ extension: path, ...options }) {
    if (path !== undefined) {
      extension = /** @type {Extend} */ (require(path))(running);
    }
    node = await startNode({ ...options, setup: (io) => extension.setup?.(io, options) });
    return { port: node.port, uid: /** @type {any} */ (node.io.of("/").adapter).uid };
  },

  /** @param {string} event @param {any[]} args @param {Target} [target] */
  emit(event, args, target) {
    select(target).emit(event, ...args);
  },

  /** @param {string} event @param {any[]} args @param {Target} target with a timeout */
  async emitWithAck(event, args, target) {
    return settled(select(target).emitWithAck(event, ...args));
  },

  /** @param {Target} [target] */
  async fetchSockets(target) {
    const sockets = await select(target).fetchSockets();
    return sockets.map((/** @type {any} */ { id, rooms, data }) => ({
      id,
      rooms: [...rooms],
      data,
    }));
  },

  /** @param {string[]} rooms @param {Target} [target] */
  socketsJoin(rooms, target) {
    select(target).socketsJoin(rooms);
  },

  /** @param {string[]} rooms @param {Target} [target] */
  socketsLeave(rooms, target) {
    select(target).socketsLeave(rooms);
  },

  /** @param {boolean} close @param {Target} [target] */
  disconnectSockets(close, target) {
    select(target).disconnectSockets(close);
  },

  /** @param {string} event @param {any[]} args @param {Target} [target] */
  serverSideEmit(event, args, target) {
    select(target).serverSideEmit(event, ...args);
  },

  /** @param {string} event @param {any[]} args @param {Target} [target] */
  async serverSideEmitWithAck(event, args, target) {
    return settled(select(target).serverSideEmitWithAck(event, ...args));
  },

  /**
   * Records an event of other servers, and answers it when there is an answer to give.
   *
   * @param {string} event
   * @param {any} [answer]
   * @param {Target} [target]
   */
  listen(event, answer, target) {
    select(target).on(event, (/** @type {any[]} */ ...args) => {
      const callback = typeof args.at(-1) === "function" ? args.pop() : undefined;
      serverSideEvents.push([event, ...args]);
      if (answer !== undefined) {
        callback?.(answer);
      }
    });
  },

  serverSideEvents: () => serverSideEvents,

  /** @param {string} [nsp] */
  serverCount: (nsp) => select({ nsp }).adapter.serverCount(),

  /** Opens a namespace. @param {string} nsp */
  of(nsp) {
    select({ nsp });
  },

  /** Closes the adapter of a namespace. @param {string} nsp */
  closeAdapter: (nsp) => select({ nsp }).adapter.close(),

  /** Keeps the event loop busy. @param {number} ms */
  block(ms) {
    const end = Date.now() + ms;
    while (Date.now() < end) {
      // busy
    }
  },

  /** The adapter's own counters, when it has any. @param {string} [nsp] */
  stats: (nsp) => select({ nsp }).adapter.stats?.(),

  report: () => report,

  /** Closes the node; the process or thread then ends by itself, when nothing holds it. */
  async close() {
    extension.end?.();
    await running().close();
    // the answer has to leave first
    setImmediate(disconnect);
  },
};

/**
 * The outcome of a request with the answers that came, which an error loses on its way otherwise.
 *
 * @param {Promise<any>} promise
 */
function settled(promise) {
  return promise.then(
    (responses) => ({ responses }),
    (error) => ({ error: error.message, responses: error.responses }),
  );
}

/** @param {any} message */
function send(message) {
  if (parentPort) {
    parentPort.postMessage(message);
  } else {
    process.send?.(message);
  }
}

function disconnect() {
  if (parentPort) {
    parentPort.close();
  } else {
    process.off("disconnect", onOrphaned);
    process.disconnect();
  }
}

function onOrphaned() {
  process.exit(1);
}

/** @param {{ id: number, method: string, args: any[] }} call */
async function onCall({ id, method, args }) {
  try {
    const all = { ...methods, ...extension.methods };
    send({ id, result: await /** @type {any} */ (all)[method](...args) });
  } catch (error) {
    send({ id, error: error instanceof Error ? error.message : String(error) });
  }
}

if (parentPort) {
  parentPort.on("message", onCall);
} else {
  process.on("message", onCall);
  process.once("disconnect", onOrphaned);
}
