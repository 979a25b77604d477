"use strict";
// The metrics of one registry: `prom-client`'s own, filled out of the sources when somebody scrapes.
// Nothing runs in between.

const { setImmediate } = require("../timers");
const { COUNTERS, HISTOGRAMS, SERVER_GAUGES, STREAM_GAUGES } = require("./definitions");

/**
 * @typedef {import("../../index").Latency} Latency
 * @typedef {import("../../index").AdapterStats} Stats
 * @typedef {import("./source").Source} Source
 * @typedef {typeof import("prom-client")} PromClient
 * @typedef {Record<string, string | number>} Labels
 *
 * @typedef {object} Scrape what all metrics of one scrape show
 * @property {{ labels: Labels, totals: import("./source").Totals, streams: Stats[] }[]} servers
 * @property {{ labels: Labels, stats: Stats }[]} streams
 */

/** The label of what there is once per stream. */
const STREAM = "stream";

class Collector {
  #register;
  #prefix;
  /** @type {Set<Source>} */
  #sources = new Set();
  /** By the names that they are registered by. @type {Map<string, any>} */
  #metrics = new Map();
  /** @type {Scrape | undefined} */
  #scrape;

  /**
   * @param {PromClient} client
   * @param {any} register
   * @param {string} prefix
   * @param {string[]} labelNames
   */
  constructor(client, register, prefix, labelNames) {
    this.#register = register;
    this.#prefix = prefix;
    this.labelNames = labelNames;
    try {
      this.#create(client);
    } catch (error) {
      this.#remove();
      throw error;
    }
  }

  /** False when the registry was cleared. */
  get isRegistered() {
    const [[name, metric]] = this.#metrics;
    return this.#register.getSingleMetric(name) === metric;
  }

  /** @param {Labels} labels @returns {Source | undefined} the one that has these labels */
  find(labels) {
    const isSame = (/** @type {Source} */ source) =>
      this.labelNames.every((name) => String(source.labels[name]) === String(labels[name]));
    return [...this.#sources].find(isSame);
  }

  /** @param {Source} source */
  add(source) {
    this.#sources.add(source);
    this.#scrape = undefined;
  }

  /**
   * @param {Source} source
   * @returns {boolean} whether it was the last one: the metrics are gone then
   */
  remove(source) {
    const isLast = this.#sources.delete(source) && this.#sources.size === 0;
    this.#scrape = undefined;
    if (isLast) {
      this.#remove();
    }
    return isLast;
  }

  #remove() {
    for (const [name, metric] of this.#metrics) {
      if (this.#register.getSingleMetric(name) === metric) {
        this.#register.removeSingleMetric(name);
      }
    }
  }

  /** @param {PromClient} client */
  #create(client) {
    const perStream = [...this.labelNames, STREAM];
    COUNTERS.forEach(({ name, help }, i) => {
      const counter = this.#add(client.Counter, { name, help, labelNames: this.labelNames }, () =>
        this.#now.servers.forEach(({ labels, totals }) => counter.inc(labels, totals.counters[i])),
      );
    });
    for (const { name, help, aggregator, value } of SERVER_GAUGES) {
      const gauge = this.#add(
        client.Gauge,
        { name, help, aggregator, labelNames: this.labelNames },
        () =>
          this.#now.servers.forEach(({ labels, streams }) =>
            set(gauge, labels, greatest(streams.map(value))),
          ),
      );
    }
    for (const { name, help, aggregator, value } of STREAM_GAUGES) {
      const gauge = this.#add(client.Gauge, { name, help, aggregator, labelNames: perStream }, () =>
        this.#now.streams.forEach(({ labels, stats }) =>
          set(gauge, { ...labels, [STREAM]: stats.stream }, value(stats)),
        ),
      );
    }
    const Histogram = histogramOf(client);
    HISTOGRAMS.forEach(({ name, help }, i) => {
      const series = () =>
        this.#now.servers.map(({ labels, totals }) => ({ labels, latency: totals.histograms[i] }));
      const settings = { name, help, labelNames: this.labelNames };
      this.#add(Histogram, settings, () => {}).series = series;
    });
  }

  /**
   * @template T
   * @param {new (settings: any) => T} Metric
   * @param {{ name: string, help: string, labelNames: string[], aggregator?: string }} settings
   * @param {() => void} fill called for each scrape, with the metric emptied
   * @returns {T}
   */
  #add(Metric, settings, fill) {
    const name = this.#prefix + settings.name;
    const metric = new Metric({
      ...settings,
      name,
      registers: [this.#register],
      collect() {
        /** @type {any} */ (this).reset();
        fill();
      },
    });
    this.#metrics.set(name, metric);
    return metric;
  }

  /** The same for all metrics of a scrape, which are asked within one turn. @returns {Scrape} */
  get #now() {
    if (this.#scrape === undefined) {
      const servers = [...this.#sources].map((source) => ({
        labels: source.labels,
        totals: source.totals(),
        streams: source.streams(),
      }));
      const streams = servers.flatMap(({ labels, streams }) =>
        streams.map((stats) => ({ labels, stats })),
      );
      this.#scrape = { servers, streams };
      setImmediate(() => (this.#scrape = undefined)).unref();
    }
    return this.#scrape;
  }
}

/**
 * @param {import("prom-client").Gauge} gauge
 * @param {Labels} labels
 * @param {number | undefined} value
 */
function set(gauge, labels, value) {
  if (value !== undefined) {
    gauge.set(labels, value);
  }
}

/**
 * All streams of a server say the same, but for members, which with `requestsVia: "stream"` are heard
 * in each namespace by itself.
 *
 * @param {(number | undefined)[]} values
 * @returns {number | undefined} nothing when there is no value
 */
function greatest(values) {
  const known = values.filter((value) => value !== undefined);
  return known.length > 0 ? Math.max(...known) : undefined;
}

/**
 * A histogram that somebody else counts: prom-client's takes nothing but single observations.
 *
 * @param {PromClient} client
 */
function histogramOf(client) {
  return class EngineHistogram extends client.Histogram {
    /** @type {() => { labels: Labels, latency: Latency | undefined }[]} */
    series = () => [];

    /** Called for text. */
    getForPromString() {
      return this.get();
    }

    /** Called for JSON. @returns {Promise<any>} */
    async get() {
      const { name, help, type, aggregator } = /** @type {any} */ (this);
      const values = this.series().flatMap(({ labels, latency }) => pairs(name, labels, latency));
      return { name, help, type, aggregator, values };
    }
  };
}

/**
 * @param {string} name
 * @param {Labels} labels
 * @param {Latency} [latency]
 */
function pairs(name, labels, latency) {
  if (latency === undefined) {
    return [];
  }
  const { count, sumMs, buckets } = latency;
  /** @type {[string | number, number][]} */
  const bounds = [
    ...buckets.map(([ms, n]) => /** @type {[number, number]} */ ([ms / 1_000, n])),
    ["+Inf", count],
  ];
  return [
    ...bounds.map(([le, value]) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le },
      value,
    })),
    { metricName: `${name}_sum`, labels, value: sumMs / 1_000 },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

module.exports = { Collector, STREAM };
