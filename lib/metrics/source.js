"use strict";
// One Socket.IO server as a source of metrics: what its engine has counted and those before it. An
// engine ends with the last namespace of its server, and the next one counts from zero.

const { COUNTERS, HISTOGRAMS } = require("./definitions");

/**
 * @typedef {import("../../index").AdapterStats} Stats
 * @typedef {import("../../index").Latency} Latency
 * @typedef {import("../engine").Engine} Engine
 *
 * @typedef {object} Totals
 * @property {number[]} counters as in COUNTERS
 * @property {(Latency | undefined)[]} histograms as in HISTOGRAMS; undefined before anything is known
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
  /** What engines have counted that have ended. */
  #past;
  /** Those that count. @type {Set<Engine>} */
  #engines = new Set();
  /** @type {WeakSet<Engine>} */
  #ended = new WeakSet();

  /**
   * @param {any} io
   * @param {Record<string, string | number>} labels
   * @param {Totals} [past] of a source that this one goes on for
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

  /** True when its server has no engine at work: another one may take its place. */
  get isClosed() {
    this.#look();
    return [...this.#engines].every((engine) => engine.closed);
  }

  /** Counters, which never fall. @returns {Totals} */
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

  /** Finds new engines, and keeps what those have counted that have ended. */
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
 * @returns {Set<Engine>} empty when it has another adapter
 */
function enginesOf(io) {
  const namespaces = /** @type {any[]} */ ([...(io?._nsps?.values() ?? [])]);
  const engines = namespaces.map(({ adapter }) => adapter.engine);
  return new Set(engines.filter((engine) => typeof engine?.statsOfStreams === "function"));
}

module.exports = { Source, enginesOf };
