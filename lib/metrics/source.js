"use strict";
// One Socket.IO server as a source of metrics. It adds up the counters of the server's engines: an
// engine ends with the last namespace of its server, and the next engine counts from zero.

const { COUNTERS, HISTOGRAMS } = require("./definitions");

/**
 * @typedef {import("../../index").AdapterStats} Stats
 * @typedef {import("../../index").Latency} Latency
 * @typedef {import("../engine").Engine} Engine
 *
 * @typedef {object} Totals
 * @property {number[]} counters in the order of COUNTERS
 * @property {(Latency | undefined)[]} histograms in the order of HISTOGRAMS; undefined before anything
 *   is known
 */

/** @returns {Totals} */
const nothing = () => ({
  counters: COUNTERS.map(() => 0),
  histograms: HISTOGRAMS.map(() => undefined),
});

/** @param {Stats} stats @returns {Totals} */
const totalsOf = (stats) => ({
  counters: COUNTERS.map(({ counts }) => stats[counts]),
  histograms: HISTOGRAMS.map(({ value }) => value(stats)),
});

/**
 * @param {Totals} a
 * @param {Totals} b
 * @returns {Totals}
 */
const sum = (a, b) => ({
  counters: a.counters.map((count, i) => count + b.counters[i]),
  histograms: a.histograms.map((latency, i) => sumOfLatencies(latency, b.histograms[i])),
});

/**
 * @param {Latency} [a]
 * @param {Latency} [b]
 * @returns {Latency | undefined}
 */
function sumOfLatencies(a, b) {
  return a && b
    ? {
        count: a.count + b.count,
        sumMs: a.sumMs + b.sumMs,
        buckets: a.buckets.map(([bound, count], i) => [bound, count + b.buckets[i][1]]),
      }
    : (a ?? b);
}

class Source {
  #io;
  /** The totals of engines that have ended. */
  #past;
  /** The engines that have not ended. @type {Set<Engine>} */
  #engines = new Set();
  /** @type {WeakSet<Engine>} */
  #ended = new WeakSet();

  /**
   * @param {any} io
   * @param {Record<string, string | number>} labels
   * @param {Totals} [past] of the source that this one replaces
   */
  constructor(io, labels, past = nothing()) {
    this.#io = io;
    this.labels = labels;
    this.#past = past;
    this.#look();
  }

  /** @param {any} io a Socket.IO server */
  isOf(io) {
    return this.#io === io;
  }

  /** True if its server has no running engine. Then another source may replace this one. */
  get isClosed() {
    this.#look();
    return [...this.#engines].every((engine) => engine.closed);
  }

  /** The counters. They never fall. @returns {Totals} */
  totals() {
    this.#look();
    return [...this.#engines].reduce(
      (total, engine) => sum(total, totalsOf(engine.stats("/"))),
      this.#past,
    );
  }

  /** The state of each stream that has an open namespace. @returns {Stats[]} */
  streams() {
    this.#look();
    return [...this.#engines].flatMap((engine) => (engine.closed ? [] : engine.statsOfStreams()));
  }

  /** Finds new engines, and keeps the totals of those that have ended. */
  #look() {
    for (const engine of enginesOf(this.#io)) {
      if (!this.#ended.has(engine)) {
        this.#engines.add(engine);
      }
    }
    for (const engine of this.#engines) {
      if (engine.ended) {
        this.#past = sum(this.#past, totalsOf(engine.stats("/")));
        this.#engines.delete(engine);
        this.#ended.add(engine);
      }
    }
  }
}

/**
 * @param {any} io
 * @returns {Set<Engine>} empty if the server has another adapter
 */
function enginesOf(io) {
  const namespaces = /** @type {any[]} */ ([...(io?._nsps?.values() ?? [])]);
  const engines = namespaces.map(({ adapter }) => adapter.engine);
  return new Set(engines.filter((engine) => typeof engine?.statsOfStreams === "function"));
}

module.exports = { Source, enginesOf };
