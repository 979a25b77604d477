"use strict";
// Reads the settings of a client of ioredis 5 or 6, or of iovalkey, for one server, connected or not.

const { settingError, warnIgnored } = require("./errors.js");
const { tlsSettings } = require("./tls.js");
const {
  database,
  definedOnly,
  endpoint,
  isMissing,
  keyPrefix,
  login,
  milliseconds,
  reconnectDelay,
  text,
} = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */
/** @typedef {import("./index.js").ConnectionSettings} ConnectionSettings */

/**
 * @param {any} client
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function ioredisSettings(client, context) {
  const { options } = client;
  if (!isMissing(options.Connector)) {
    throw settingError(
      context,
      "Connector",
      "cannot be carried over to the adapter's own connections: pass a settings object such as " +
        "{ host, port } instead",
    );
  }
  // Any true value means TLS: with `rediss://` and `?tls=...` it is not an object.
  const tls = options.tls ? (typeof options.tls === "object" ? options.tls : {}) : undefined;
  warnOfIgnored(context, options, tls);
  // ioredis merges the TLS options over its own, and so connects to a host that they contain.
  const where = endpoint(context, { ...options, ...tls });
  if (tls !== undefined && where.path !== undefined) {
    throw settingError(context, "tls", "cannot be had over a unix socket: leave it out");
  }
  const prefix = keyPrefix(context, options.keyPrefix);
  return definedOnly({
    kind: "standalone",
    ...where,
    tls: tls && tlsSettings(context, "tls.", tls),
    ...login(context, options.username, options.password),
    // ioredis makes NaN of a URL's path that is not a number, and then uses database 0.
    database: Number.isNaN(options.db) ? undefined : database(context, "db", options.db),
    clientName: text(context, "connectionName", options.connectionName),
    connectTimeout: milliseconds(options.connectTimeout),
    reconnectDelay: reconnectDelay(context, "retryStrategy", options.retryStrategy),
    keyPrefix: prefix,
    prefixShardedChannels: prefix === undefined ? undefined : true,
  });
}

/**
 * @param {Context} context
 * @param {any} options
 * @param {any} tls
 */
function warnOfIgnored(context, options, tls) {
  if (typeof tls?.lookup === "function") {
    warnIgnored(context, "tls.lookup", "the system's resolver is asked");
  }
  if (!isMissing(tls?.localAddress)) {
    warnIgnored(context, "tls.localAddress", "the system chooses the local address");
  }
  if (options.readOnly === true) {
    warnIgnored(context, "readOnly", "the adapter writes to its streams");
  }
}

module.exports = { ioredisSettings };
