"use strict";
// The Socket.IO node that is measured, in its own process. bench/process.js starts it and sends orders.

const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const { emitAtRate } = require("./pace");

const [kind, port, given] = process.argv.slice(2);
/** @type {import("./process").NodeOptions} */
const { recovery = false, rooms = 1, adapterOptions = {} } = JSON.parse(given);

/** So large that nothing is trimmed during a measurement. */
const MAX_LEN = 1_000_000;

/** The room of a client, or of a packet: each in its turn. @param {number} n */
const roomOf = (n) => (rooms === 1 ? "room" : `room:${n % rooms}`);

/** CPU time of the JS thread and of the whole process, µs. */
function cpu() {
  const [jsThread] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  const { user, system } = process.cpuUsage();
  return { jsThread: Number(jsThread) / 1_000, process: user + system };
}

/** @returns {Promise<any>} */
async function makeAdapter() {
  const options = { maxLen: MAX_LEN, ...adapterOptions };
  if (kind === "native") {
    return require("..").createAdapter(`redis://127.0.0.1:${port}`, options);
  }
  const { createAdapter } = require("@socket.io/redis-streams-adapter");
  if (kind === "upstream, ioredis") {
    const { Redis } = require("ioredis");
    return createAdapter(new Redis({ port: Number(port), host: "127.0.0.1" }), options);
  }
  const { createClient } = require("redis");
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  return createAdapter(client, options);
}

/** Adds sockets with only what the adapter needs. They only count what is written to them. */
function addCountingSockets(
  /** @type {any} */ nsp,
  /** @type {{ written: number }} */ counter,
  /** @type {{ room: string, members: number }} */ { room, members },
) {
  for (let i = 0; i < members; i++) {
    const id = `s${i}`;
    nsp.sockets.set(id, {
      id,
      client: { writeToEngine: () => counter.written++ },
      notifyOutgoingListeners() {},
    });
    nsp.adapter.addAll(id, new Set([id, room]));
  }
}

/**
 * @param {any} adapter
 * @param {{ count: number, inFlight: number, bytes: number }} options
 */
async function publish(adapter, { count, inFlight, bytes }) {
  const text = "x".repeat(bytes);
  const opts = { rooms: new Set(["nobody"]), except: new Set(), flags: {} };
  let sent = 0;
  const worker = async () => {
    while (sent < count) {
      sent++;
      await adapter.broadcast({ type: 2, data: ["bench", text] }, opts);
    }
  };
  const before = cpu();
  const start = process.hrtime.bigint();
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const after = cpu();
  return {
    perSecond: count / seconds,
    jsThread: (after.jsThread - before.jsThread) / count,
    process: (after.process - before.process) / count,
  };
}

/** @param {any} io @param {{ count: number }} options @returns {Promise<number>} median, µs */
async function fetchSockets(io, { count }) {
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint();
    await io.fetchSockets();
    times.push(Number(process.hrtime.bigint() - start) / 1e3);
  }
  return times.sort((a, b) => a - b)[count >> 1];
}

(async () => {
  const http = createServer();
  const options = recovery ? { connectionStateRecovery: {} } : {};
  const io = new Server(http, { adapter: await makeAdapter(), ...options });
  await new Promise((resolve) => http.listen(0, "127.0.0.1", () => resolve(undefined)));
  const nsp = io.of("/");
  const counter = { written: 0 };
  let connections = 0;
  io.on("connection", (socket) => {
    socket.join(String(socket.handshake.query.room ?? roomOf(connections++)));
  });
  // The last entry of the stream. When it arrives, all earlier ones were handled.
  io.on("bench:end", (/** @type {string} */ name) => process.send?.({ reached: name }));

  /** @type {Record<string, (argument: any) => any>} */
  const orders = {
    serverCount: () => nsp.adapter.serverCount(),
    port: () => /** @type {any} */ (http.address()).port,
    clients: () => io.engine.clientsCount,
    join: (argument) => addCountingSockets(nsp, counter, argument),
    joinRooms: ({ count }) => {
      for (let i = 0; i < count; i++) {
        nsp.adapter.addAll(`s${i % 1_000}`, new Set([`room:${i}`]));
      }
    },
    cpu,
    written: () => counter.written,
    publish: (argument) => publish(nsp.adapter, argument),
    fetchSockets: (argument) => fetchSockets(io, argument),
    /** Each packet goes to the next room. Each `hotEvery`th, if given, goes to the room "hot". */
    emitAtRate: ({ room, bytes = 80, hotEvery = 0, ...pace }) => {
      const text = "x".repeat(bytes);
      let emits = 0;
      return emitAtRate(pace, () => {
        emits++;
        const isHot = hotEvery > 0 && emits % hotEvery === 0;
        const target = isHot ? "hot" : (room ?? roomOf(emits));
        nsp.to(target).emit("bench", String(process.hrtime.bigint()), text);
      });
    },
    stats: () => /** @type {any} */ (nsp.adapter).stats(),
    memory: () => process.memoryUsage().rss / 2 ** 20,
  };

  process.on("message", async (/** @type {any} */ { id, order, argument }) => {
    process.send?.({ id, answer: await orders[order](argument) });
  });
  process.on("disconnect", () => process.exit());
  process.send?.({ id: 0 });
})();
