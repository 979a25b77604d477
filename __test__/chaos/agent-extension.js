// What agent.js adds to a node: numbered packets, what was lost, what the process needs.

"use strict";

const { readdirSync } = require("node:fs");
const { monitorEventLoopDelay } = require("node:perf_hooks");
const { random } = require("../faults/random");
const { serveDynamic, startChurn } = require("./churn");
const { greet } = require("./greeting");
const { EVENT } = require("./packets");

/**
 * @typedef {object} Plan what a node emits
 * @property {number} interval ms between two packets
 * @property {string[]} rooms half of the packets go to one of them, the others to all
 * @property {number} seed
 * @property {number} [bursts] part of the packets that come as a burst
 * @property {number} [large] part of the packets that are of 20 kB to 1 MB
 *
 * @typedef {object} Report
 * @property {any} stats the adapter's counters, when it has any
 * @property {any[]} losses what the adapter's event said
 * @property {string[]} faults uncaught errors and warnings that are not the adapter's
 * @property {number} emitted
 * @property {number[]} oversized which of them
 *
 * @typedef {object} Usage what a process has, once the garbage is collected
 * @property {number} rss bytes
 * @property {number} heap bytes in use
 * @property {number} external bytes
 * @property {number} fds open file descriptors, those of clients not counted
 * @property {number} threads
 *
 * @typedef {object} Watched
 * @property {number} cpu ms
 * @property {number} delayP99 of the event loop, ms
 * @property {number} delayMax ms
 * @property {number} memory most that it had, bytes
 */

let sender = 0;
let seq = 0;
/** @type {NodeJS.Timeout | undefined} */
let timer;

/** Which packets may be too large for Redis. @type {number[]} */
const oversized = [];

const BURST = 30;
/** The smallest of the large packets, bytes, and how many times that the largest have. */
const LARGE = 20_000;
const LARGEST = 50;

const delays = monitorEventLoopDelay({ resolution: 5 });
/** @type {NodeJS.CpuUsage | undefined} */
let cpu;
let peak = 0;
/** @type {NodeJS.Timeout | undefined} */
let watching;

let endChurn = () => {};

/** The room of each packet, where no stream holds them. @type {(string | undefined)[] | undefined} */
const emittedTo = process.env.ADAPTER === "in-memory" ? [] : undefined;

/** Warnings that no outage brings about. */
const REFUSALS = ["REFUSED", "NOPERM", "AUTH", "TLS", "HANDLER", "WRONGTYPE"].map(
  (what) => `ERR_SIO_REDIS_${what}`,
);

/** An object: a client takes a string at the end of a packet for an offset. @param {number} bytes */
const loadOf = (bytes) => ({ load: "x".repeat(bytes) });

/** @type {any[]} */
const losses = [];
/** @type {string[]} */
const faults = [];
process.on("unhandledRejection", (reason) => faults.push(`unhandled rejection: ${reason}`));
process.on("uncaughtException", (error) => faults.push(`uncaught: ${error.stack}`));
process.on("warning", (warning) => {
  const { code = "" } = /** @type {any} */ (warning);
  if (oversized.length > 0 && /Protocol error/.test(warning.message)) {
    return;
  }
  if (warning.name !== "SocketIORedisWarning" || REFUSALS.includes(code)) {
    faults.push(`warning: ${warning}`);
  }
});

/** @type {import("../helpers/node-agent").Extend} */
module.exports = (running) => {
  /** @param {string} [room] @param {object} [load] */
  function emitNext(room, load) {
    const { io } = running();
    const target = room === undefined ? io : io.to(room);
    emittedTo?.push(room);
    target.emit(EVENT, sender, seq++, ...(load === undefined ? [] : [load]));
  }

  const methods = {
    /** @param {Plan} plan */
    startTraffic({ interval, rooms, seed, bursts = 0, large = 0 }) {
      const chance = random(seed);
      timer = setInterval(() => {
        // Now and then many at once, which go out in one batch.
        for (let count = chance() < bursts ? BURST : 1; count > 0; count--) {
          const room = chance() < 0.5 ? undefined : rooms[Math.floor(chance() * rooms.length)];
          const bytes = chance() < large ? LARGE * LARGEST ** chance() : undefined;
          emitNext(room, bytes === undefined ? undefined : loadOf(bytes));
        }
      }, interval);
    },

    stopTraffic() {
      clearInterval(timer);
    },

    /** Where each packet went, in the order of their numbers. */
    emittedTo: () => ({ sender, rooms: emittedTo }),

    /** @param {number} count @param {number} [bytes] */
    burst(count, bytes) {
      const load = bytes === undefined ? undefined : loadOf(bytes);
      for (let i = 0; i < count; i++) {
        emitNext(undefined, load);
      }
    },

    /** @param {number} bytes */
    emitOversized(bytes) {
      oversized.push(seq);
      emitNext(undefined, loadOf(bytes));
    },

    /** Emits packets to one room after another without a pause. @param {string[]} rooms @param {number} count */
    burstToRooms(rooms, count) {
      for (let i = 0; i < count; i++) {
        emitNext(rooms[i % rooms.length]);
      }
    },

    /** From now on the process is watched. */
    watch() {
      delays.reset();
      delays.enable();
      cpu = process.cpuUsage();
      peak = 0;
      clearInterval(watching);
      watching = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 50);
    },

    /** @returns {Watched} what was seen since then */
    watched() {
      clearInterval(watching);
      delays.disable();
      const { user, system } = process.cpuUsage(cpu);
      return {
        cpu: (user + system) / 1_000,
        delayP99: delays.percentile(99) / 1e6,
        delayMax: delays.max / 1e6,
        memory: Math.max(peak, process.memoryUsage().rss),
      };
    },

    startChurn() {
      endChurn = startChurn(running().io, String(sender));
    },

    stopChurn() {
      endChurn();
    },

    /** @returns {Usage} */
    usage() {
      const { gc } = /** @type {any} */ (globalThis);
      if (!gc) {
        throw new Error("the process was started without --expose-gc");
      }
      gc();
      const { rss, heapUsed: heap, external } = process.memoryUsage();
      const count = (/** @type {string} */ what) => readdirSync(`/proc/self/${what}`).length;
      const fds = count("fd") - running().io.engine.clientsCount;
      return { rss, heap, external, fds, threads: count("task") };
    },

    /** @returns {Report} */
    findings() {
      const stats = /** @type {any} */ (running().io.of("/").adapter).stats?.();
      return { stats, losses, faults, emitted: seq, oversized };
    },
  };

  return {
    methods,
    /** @param {import("socket.io").Server} io @param {{ sender: number, delay: number }} options */
    setup(io, { sender: own, delay }) {
      sender = own;
      const adapter = /** @type {any} */ (io.of("/").adapter);
      adapter.on("loss", (/** @type {any} */ loss) => losses.push(loss));
      greet(io, sender);
      serveDynamic(io);
      if (delay > 0) {
        const chance = random(own);
        io.use((_, next) => setTimeout(next, chance() * delay));
      }
    },
    end() {
      clearInterval(timer);
      clearInterval(watching);
      endChurn();
    },
  };
};
