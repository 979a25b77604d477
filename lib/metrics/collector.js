"use strict";
// The metrics of one registry. They are `prom-client`'s own, and are filled from the sources at each
// scrape. Nothing runs in between.

const { setImmediate } = require("../timers");
const { COUNTERS, HISTOGRAMS, SERVER_GAUGES, STREAM_GAUGES } = require("./definitions");

/**
 * @typedef {import("../../index").Latency} Latency
 * @typedef {import("../../index").AdapterStats} Stats
 * @typedef {import("./source").Source} Source
 * @typedef {typeof import("prom-client")} PromClient
 * @typedef {Record<string, string | number>} Labels
 *
 * @typedef {object} Scrape the stats that all metrics of one scrape show
 * @property {{ labels: Labels, totals: import("./source").Totals, streams: Stats[] }[]} servers
 * @property {{ labels: Labels, stats: Stats }[]} streams
 */

/** The label of metrics that each stream has. */
const STREAM = "stream";

class Collector {
  #register;
  #prefix;
  /** @type {Set<Source>} */
  #sources = new Set();
  /** The metrics by their registered names. @type {Map<string, any>} */
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

  /** False if the registry was cleared. */
  get isRegistered() {
    const [[name, metric]] = this.#metrics;
    return this.#register.getSingleMetric(name) === metric;
  }

  /** @param {Labels} labels @returns {Source | undefined} the source with these labels */
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
   * @returns {boolean} whether it was the last source; if so, the metrics are removed too
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
   * @param {() => void} fill called at each scrape, after the metric was emptied
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

  /** The stats of this scrape. They are read once for all its metrics. @returns {Scrape} */
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
 * The greatest value of a server's streams. They are all the same, except for the number of members:
 * with `requestsVia: "stream"`, each namespace counts its own.
 *
 * @param {(number | undefined)[]} values
 * @returns {number | undefined} undefined if there is no value
 */
function greatest(values) {
  const known = values.filter((value) => value !== undefined);
  return known.length > 0 ? Math.max(...known) : undefined;
}

/**
 * A histogram whose counts come from the stats. prom-client's own takes only single observations.
 *
 * @param {PromClient} client
 */
function histogramOf(client) {
  return class EngineHistogram extends client.Histogram {
    /** @type {() => { labels: Labels, latency: Latency | undefined }[]} */
    series = () => [];

    /** prom-client calls it for the text format. */
    getForPromString() {
      return this.get();
    }

    /** prom-client calls it for JSON. @returns {Promise<any>} */
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
