"use strict";
// `socket.io-redis-streams-native/metrics`: the adapter's stats as metrics of `prom-client`. Only this
// file loads `prom-client`.

const { Collector, STREAM } = require("./lib/metrics/collector");
const { Source, enginesOf } = require("./lib/metrics/source");

const PREFIX = "socketio_redis_streams_";
const NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
/** Labels that already have a meaning. */
const RESERVED = [STREAM, "le"];

/** By registry and prefix. @type {WeakMap<object, Map<string, Collector>>} */
const collectors = new WeakMap();

/**
 * @param {any} io a Socket.IO server with this adapter
 * @param {import("./metrics").MetricsOptions} [options]
 * @returns {import("./metrics").RegisteredMetrics}
 */
function registerMetrics(io, options = {}) {
  const client = promClient();
  const { register = client.register, prefix = PREFIX, labels = {} } = options;
  check(io, register, prefix, labels);
  const collector = collectorFor(client, register, prefix, Object.keys(labels).sort());
  const before = collector.find(labels);
  if (before && !before.isClosed) {
    throw optionError(
      "`labels`",
      `are those of another server whose metrics are in this registry. Give each server of a ` +
        'process labels of its own, such as { server: "chat" }, or call unregister() first',
    );
  }
  let source = before;
  // If the source is the same server's, it stays, so that nothing is counted twice.
  if (!source?.isOf(io)) {
    source = new Source(io, labels, before?.totals());
    collector.add(source);
    if (before) {
      collector.remove(before);
    }
  }
  const own = source;
  return {
    unregister() {
      if (collector.remove(own) && collectors.get(register)?.get(prefix) === collector) {
        collectors.get(register)?.delete(prefix);
      }
    },
  };
}

function promClient() {
  try {
    return require("prom-client");
  } catch (cause) {
    if (/** @type {any} */ (cause).code !== "MODULE_NOT_FOUND") {
      throw cause;
    }
    throw Object.assign(
      new Error(
        "registerMetrics: the package prom-client is not installed. It is an optional peer " +
          "dependency, needed for metrics only: `npm install prom-client`.",
        { cause },
      ),
      { code: "ERR_SIO_REDIS_PROM_CLIENT" },
    );
  }
}

/**
 * @param {any} io
 * @param {any} register
 * @param {unknown} prefix
 * @param {unknown} labels
 */
function check(io, register, prefix, labels) {
  if (enginesOf(io).size === 0) {
    throw optionError(
      "the first argument",
      "has to be a Socket.IO server whose option `adapter` is this package's createAdapter()",
    );
  }
  if (typeof register?.registerMetric !== "function") {
    throw optionError("`register`", "has to be a Registry of prom-client");
  }
  if (typeof prefix !== "string" || (prefix !== "" && !NAME.test(prefix))) {
    throw optionError("`prefix`", "has to be the beginning of a name: letters, digits, _");
  }
  if (typeof labels !== "object" || labels === null) {
    throw optionError("`labels`", "have to be an object");
  }
  for (const [name, value] of Object.entries(labels)) {
    if (!NAME.test(name) || RESERVED.includes(name)) {
      const problem = RESERVED.includes(name) ? "is set by the metrics themselves" : "is no name";
      throw optionError(`\`labels.${name}\``, `${problem}: take another one`);
    }
    if (!["string", "number"].includes(typeof value)) {
      throw optionError(`\`labels.${name}\``, "has to be a string or a number");
    }
  }
}

/**
 * @param {typeof import("prom-client")} client
 * @param {any} register
 * @param {string} prefix
 * @param {string[]} labelNames
 */
function collectorFor(client, register, prefix, labelNames) {
  const byPrefix = collectors.get(register) ?? new Map();
  collectors.set(register, byPrefix);
  const known = byPrefix.get(prefix);
  if (known?.isRegistered) {
    if (String(known.labelNames) !== String(labelNames)) {
      throw optionError(
        "`labels`",
        `have to have the same names for all servers of a registry: [${known.labelNames}] here`,
      );
    }
    return known;
  }
  const collector = new Collector(client, register, prefix, labelNames);
  byPrefix.set(prefix, collector);
  return collector;
}

/**
 * @param {string} what
 * @param {string} problem
 */
function optionError(what, problem) {
  return Object.assign(new TypeError(`registerMetrics: ${what} ${problem}.`), {
    code: "ERR_SIO_REDIS_OPTION",
  });
}

exports.registerMetrics = registerMetrics;
