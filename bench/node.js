"use strict";
// One Socket.IO node under measurement, in a process of its own: told what to do by bench/run.js.

const { readFileSync } = require("node:fs");
const { Server } = require("socket.io");

const [kind, port] = process.argv.slice(2);

/** Time that the JS thread and the whole process have spent on a CPU, µs. */
function cpu() {
  const [jsThread] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ");
  const { user, system } = process.cpuUsage();
  return { jsThread: Number(jsThread) / 1_000, process: user + system };
}

async function makeAdapter() {
  if (kind === "native") {
    return require("..").createAdapter(`redis://127.0.0.1:${port}`, { maxLen: MAX_LEN });
  }
  const { createAdapter } = require("@socket.io/redis-streams-adapter");
  if (kind === "upstream, ioredis") {
    const { Redis } = require("ioredis");
    return createAdapter(new Redis({ port: Number(port), host: "127.0.0.1" }), { maxLen: MAX_LEN });
  }
  const { createClient } = require("redis");
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  await client.connect();
  return createAdapter(client, { maxLen: MAX_LEN });
}

/** Long enough that nothing is trimmed while it is measured. */
const MAX_LEN = 1_000_000;

/** A socket of which the adapter sees what it needs; it only counts what is written. */
function countingSocket(/** @type {any} */ io, /** @type {string} */ id, counter) {
  const nsp = io.of("/");
  nsp.sockets.set(id, {
    id,
    client: { writeToEngine: () => counter.written++ },
    notifyOutgoingListeners() {},
  });
  return (/** @type {string} */ room) => nsp.adapter.addAll(id, new Set([id, room]));
}

(async () => {
  const io = new Server({ adapter: await makeAdapter() });
  const counter = { written: 0 };
  let seen = 0;
  io.on("bench:done", () => seen++);

  /** @type {Record<string, (argument: any) => any>} */
  const orders = {
    async ready() {
      return io.of("/").adapter.serverCount();
    },
    join({ room, members }) {
      for (let i = 0; i < members; i++) {
        countingSocket(io, `s${i}`, counter)(room);
      }
    },
    cpu,
    written: () => counter.written,
    seen: () => seen,
    async publish({ count, inFlight, bytes }) {
      const text = "x".repeat(bytes);
      const { adapter } = io.of("/");
      const opts = { rooms: new Set(["nobody"]), except: new Set(), flags: {} };
      const before = cpu();
      const start = process.hrtime.bigint();
      let sent = 0;
      const worker = async () => {
        while (sent < count) {
          sent++;
          await adapter.broadcast({ type: 2, data: ["bench", text] }, opts);
        }
      };
      await Promise.all(Array.from({ length: inFlight }, worker));
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      const after = cpu();
      return {
        perSecond: count / seconds,
        jsThread: (after.jsThread - before.jsThread) / count,
        process: (after.process - before.process) / count,
      };
    },
    async fetchSockets({ count }) {
      const times = [];
      for (let i = 0; i < count; i++) {
        const start = process.hrtime.bigint();
        await io.fetchSockets();
        times.push(Number(process.hrtime.bigint() - start) / 1e3);
      }
      return times.sort((a, b) => a - b)[count >> 1];
    },
    memory: () => process.memoryUsage().rss / 2 ** 20,
  };

  process.on("message", async (/** @type {any} */ { id, order, argument }) => {
    process.send?.({ id, answer: await orders[order](argument) });
  });
  process.on("disconnect", () => process.exit());
  process.send?.({ id: 0 });
})();
