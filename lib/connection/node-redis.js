"use strict";
// Reads the settings of a client of node-redis 4, 5 or 6 for one server, connected or not.

const { fromProvider } = require("./credentials.js");
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
function nodeRedisSettings(client, context) {
  // A `createClient()` without arguments of @redis/client 1 (node-redis 4) has no options at all.
  const options = client.options ?? {};
  const socket = options.socket ?? {};
  warnOfIgnored(context, options, socket);
  const where = endpoint(context, socket);
  return definedOnly({
    kind: "standalone",
    ...where,
    tls: socketTls(context, socket, where),
    ...authentication(context, options),
    // node-redis takes what is no number (NaN, an empty string) for database 0.
    database: database(context, "database", options.database || undefined),
    clientName: text(context, "name", options.name),
    connectTimeout: milliseconds(socket.connectTimeout),
    reconnectDelay: reconnectDelay(
      context,
      "socket.reconnectStrategy",
      socket.reconnectStrategy ?? undefined,
    ),
    // Only 6.1 and later prefix keys. In earlier versions the option exists but has no effect.
    keyPrefix: keyPrefix(context, client._keyPrefix),
  });
}

/**
 * @param {Context} context
 * @param {any} options
 * @param {any} socket
 */
function warnOfIgnored(context, options, socket) {
  if (typeof socket.lookup === "function") {
    warnIgnored(context, "socket.lookup", "the system's resolver is asked");
  }
  if (!isMissing(socket.localAddress)) {
    warnIgnored(context, "socket.localAddress", "the system chooses the local address");
  }
  if (options.readonly === true) {
    warnIgnored(context, "readonly", "the adapter writes to its streams");
  }
  if (!isMissing(socket.tls) && typeof socket.tls !== "boolean") {
    warnIgnored(
      context,
      "socket.tls",
      "it is not `true`, so node-redis connects without TLS, and the adapter does the same",
    );
  }
}

/**
 * @param {Context} context
 * @param {any} socket
 * @param {{ path?: string }} where
 */
function socketTls(context, socket, where) {
  if (socket.tls !== true) {
    return undefined;
  }
  if (where.path !== undefined) {
    throw settingError(context, "socket.tls", "cannot be had over a unix socket: leave it out");
  }
  return tlsSettings(context, "socket.", socket);
}

/**
 * @param {Context} context
 * @param {any} options
 */
function authentication(context, options) {
  const provider = options.credentialsProvider;
  if (isMissing(provider)) {
    return login(context, options.username, options.password);
  }
  if (!isMadeByClient(provider, options)) {
    return fromProvider(context, "credentialsProvider", provider, {
      needsPassword: !logsInWithoutPassword(options),
    });
  }
  return options.password || logsInWithoutPassword(options)
    ? login(context, options.username, options.password)
    : {};
}

/**
 * Versions 5 and 6 ignore a user name without a password if they use RESP 3. RESP 3 is the default of
 * version 6. Only version 6 turns on maintenance notifications by default, which tells it from 5.
 *
 * @param {any} options
 */
function logsInWithoutPassword({ RESP, maintNotifications = "disabled" }) {
  return RESP === undefined ? maintNotifications === "disabled" : RESP !== 3;
}

const MADE_FROM_OPTIONS =
  /^async \(\) => \(\{\s*username: options\.username,\s*password: options\.password,?\s*\}\)$/;

/**
 * From version 5 on, the client wraps the user's plain username and password into a provider. They
 * are constants. If the engine has them, it can reconnect without waiting for a busy event loop. If
 * this cannot recognize the provider (in a minified client), the engine asks it, which is correct too.
 *
 * @param {any} provider
 * @param {any} options
 */
function isMadeByClient(provider, options) {
  if (!options.username && !options.password) {
    return false;
  }
  return (
    hasLogin(options.url) ||
    (typeof provider.credentials === "function" &&
      MADE_FROM_OPTIONS.test(Function.prototype.toString.call(provider.credentials)))
  );
}

/**
 * @param {unknown} url of the client, which could parse it. A login in it replaces any provider.
 */
function hasLogin(url) {
  return typeof url === "string" && /^[^/?#]*\/\/[^/?#]+@/.test(url);
}

module.exports = { nodeRedisSettings };
