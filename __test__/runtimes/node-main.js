// A Socket.IO node as users write one, for any runtime: it does what the lines on its stdin say, one
// call in JSON each, and answers in lines of JSON. It ends by itself once stdin has ended and its
// server is closed. run-runtimes.js copies it into a project that has the packed package, so it
// requires nothing of this repository.

"use strict";

const { subscribe } = require("node:diagnostics_channel");
const { once } = require("node:events");
const { createServer } = require("node:http");
const { createInterface } = require("node:readline");

// @ts-ignore these are in the project that this is copied into
const { registerMetrics } = require("socket.io-redis-streams-native/metrics");
const { Registry } = require("prom-client");

const HOST = "127.0.0.1";

/** @param {object} message */
const tell = (message) => console.log(JSON.stringify(message));

/** What the adapter is given, by its name. @type {Record<string, (redis: any) => any>} */
const CONNECTIONS = {
  url: (url) => url,
  settings: (settings) => settings,
  redis: (url) => require("redis").createClient({ url }),
  ioredis: (url) => new (require("ioredis").Redis)(url, { lazyConnect: true }),
};

/**
 * What the Socket.IO server is attached to, by its name.
 *
 * @type {Record<string, (io: any) => Promise<{ port: number, stop?: () => void }>>}
 */
const SERVERS = {
  async http(io) {
    const http = createServer();
    io.attach(http);
    http.listen(0, HOST);
    await once(http, "listening");
    return { port: /** @type {import("node:net").AddressInfo} */ (http.address()).port };
  },
  /** Bun's own, with Socket.IO's engine for it. */
  async bun(io) {
    // @ts-ignore that is only in the project that this is copied into
    const { Server: Engine } = require("@socket.io/bun-engine");
    const engine = new Engine({ path: "/socket.io/" });
    io.bind(engine);
    const { Bun } = /** @type {any} */ (globalThis);
    const server = Bun.serve({ port: 0, hostname: HOST, ...engine.handler() });
    return { port: server.port, stop: () => server.stop() };
  },
};

/** @param {any} io */
function actionsOf(io) {
  /** @param {string} [room] */
  const to = (room) => (room === undefined ? io : io.to(room));
  return {
    socketsJoin: (/** @type {string} */ id, /** @type {string} */ room) =>
      io.in(id).socketsJoin(room),
    socketsLeave: (/** @type {string} */ id, /** @type {string} */ room) =>
      io.in(id).socketsLeave(room),
    emit: (/** @type {string} */ room, /** @type {any[]} */ ...packet) =>
      void to(room).emit(...packet),
    /** @param {string} room @param {number} size */
    emitBytes(room, size) {
      const bytes = Uint8Array.from({ length: size }, (_, i) => i % 251);
      to(room).emit("bytes", { bytes, size }, Buffer.from(bytes.subarray(0, 3)));
    },
    /** Packets with their number, some at a time so that other work gets its turn between.
     * @param {string} room @param {string} event @param {number} count @param {number} pause ms */
    async emitNumbered(room, event, count, pause) {
      for (let n = 0; n < count; n++) {
        to(room).emit(event, process.pid, n);
        if (n % 10 === 9) {
          await new Promise((resolve) => setTimeout(resolve, pause));
        }
      }
    },
    fetchSockets: async (/** @type {string} */ room) =>
      (await io.in(room).fetchSockets()).map((/** @type {any} */ { id, data }) => ({ id, data })),
    serverSideEmit: (/** @type {any} */ question) => io.serverSideEmitWithAck("question", question),
    emitWithAck: (/** @type {string} */ room, /** @type {any} */ question) =>
      io.to(room).timeout(5_000).emitWithAck("question", question),
    serverCount: () => io.of("/").adapter.serverCount(),
    stats: () => io.of("/").adapter.stats(),
  };
}

/**
 * What `createAdapter` throws at arguments that it cannot take.
 *
 * @param {any} createAdapter
 * @param {any[]} args
 */
function refusal(createAdapter, args) {
  try {
    createAdapter(...args);
    return {};
  } catch (error) {
    const { code, message } = /** @type {any} */ (error);
    return { code, message, isError: error instanceof Error };
  }
}

/**
 * @param {{ Server: any, createAdapter: any }} modules as this runtime has loaded them
 * @param {string} argument JSON
 */
async function runNode({ Server, createAdapter }, argument) {
  const { name, connection, server, redis } = JSON.parse(argument);
  const client = CONNECTIONS[connection](redis);
  client.on?.("error", (/** @type {Error} */ error) => console.error(error));
  const io = new Server({
    adapter: createAdapter(client, { blockTimeInMs: 200 }),
    connectionStateRecovery: {},
  });
  io.on("question", (/** @type {any} */ question, /** @type {any} */ answer) =>
    answer?.({ name, question }),
  );
  io.on("connection", (/** @type {any} */ socket) => (socket.data.name = name));

  const register = new Registry();
  registerMetrics(io, { register });
  /** What was published on the diagnostics channels, by their names. @type {string[]} */
  const published = [];
  for (const event of ["reconnect", "member-join", "member-leave"]) {
    subscribe(`socket.io-redis-streams:${event}`, () => published.push(event));
  }
  process.on("warning", (/** @type {any} */ { name, code, message }) =>
    tell({ warning: { name, code, message } }),
  );

  /** @type {Record<string, (...args: any[]) => any>} */
  const actions = {
    ...actionsOf(io),
    metrics: () => register.metrics(),
    published: () => published,
    refusal: (...args) => refusal(createAdapter, args),
  };
  createInterface(process.stdin).on("line", async (line) => {
    const { call, action, args } = JSON.parse(line);
    try {
      tell({ call, result: await actions[action](...args) });
    } catch (error) {
      tell({ call, error: String(error) });
    }
  });
  const { port, stop } = await SERVERS[server](io);
  process.stdin.on("end", () => io.close().then(stop));
  tell({ port, pid: process.pid, versions: process.versions });
}

module.exports = { runNode };
