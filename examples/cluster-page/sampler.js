"use strict";
// Once a second each node measures itself, and tells the tabs of all nodes.

const { monitorEventLoopDelay } = require("node:perf_hooks");

/** Time between two samples (ms). */
const INTERVAL = 1_000;
/** The event loop's delay is measured by a timer of so many ms, which are no delay. */
const RESOLUTION = 10;

/**
 * @typedef {object} Sample of a node; rates are per second
 * @property {string} node
 * @property {number} sockets
 * @property {number} rooms besides the one that each socket has for itself
 * @property {number} readRate
 * @property {number} publishRate
 * @property {number} loopDelay the longest of this second (ms)
 * @property {number} cpu of one core (%)
 * @property {number} memory in bytes
 * @property {import("../..").AdapterStats} stats
 */

/** Makes rates out of counters. */
class Sampler {
  #io;
  #node;
  #delay = monitorEventLoopDelay({ resolution: RESOLUTION });
  #last;

  /**
   * @param {import("socket.io").Server} io
   * @param {string} node this one's name
   */
  constructor(io, node) {
    this.#io = io;
    this.#node = node;
    this.#delay.enable();
    this.#last = this.#counters();
  }

  #adapter() {
    return /** @type {import("../..").RedisStreamsAdapter} */ (this.#io.of("/").adapter);
  }

  #counters() {
    const { user, system } = process.cpuUsage();
    return {
      time: performance.now(),
      stats: this.#adapter().stats(),
      cpu: (user + system) / 1_000,
    };
  }

  /** @returns {Sample} */
  take() {
    const before = this.#last;
    const now = this.#counters();
    this.#last = now;
    const seconds = (now.time - before.time) / 1_000;
    const { sids, rooms } = this.#adapter();
    const loopDelay = Math.max(0, this.#delay.max / 1e6 - RESOLUTION);
    this.#delay.reset();
    return {
      node: this.#node,
      sockets: this.#io.of("/").sockets.size,
      rooms: rooms.size - sids.size,
      readRate: (now.stats.read - before.stats.read) / seconds,
      publishRate: (now.stats.published - before.stats.published) / seconds,
      loopDelay,
      cpu: (now.cpu - before.cpu) / seconds / 10,
      memory: process.memoryUsage().rss,
      stats: now.stats,
    };
  }
}

/**
 * @param {import("socket.io").Server} io
 * @param {string} node this one's name
 */
function startSampling(io, node) {
  const sampler = new Sampler(io, node);
  setInterval(() => {
    const sample = sampler.take();
    // The tabs here at once, so that they see their node also while Redis is away. The other nodes by
    // a request, which does not wait for Redis: an old sample is worth nothing.
    io.local.volatile.emit("sample", sample);
    io.serverSideEmit("sample", sample);
  }, INTERVAL).unref();
  io.on("sample", (sample) => io.local.volatile.emit("sample", sample));
}

module.exports = { startSampling };
