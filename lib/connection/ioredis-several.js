"use strict";
// Reads the settings of ioredis and iovalkey clients for clusters and sentinels, connected or not.

const { settingError, warnIgnored } = require("./errors.js");
const { ioredisSettings } = require("./ioredis.js");
const { addressMap, nodeAt, nodeList, nodeOfUrl, oneTlsForAll } = require("./several.js");
const { tlsSettings } = require("./tls.js");
const { definedOnly, isMissing, login } = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */
/** @typedef {import("./index.js").ConnectionSettings} ConnectionSettings */

/** The host to which ioredis connects by default. */
const LOCALHOST = "127.0.0.1";
const SENTINEL_PORT = 26379;

/**
 * @param {any} client
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function ioredisClusterSettings(client, context) {
  const { options, startupNodes } = client;
  const { redisOptions = {} } = options;
  if (options.useSRVRecords === true) {
    throw settingError(
      context,
      "useSRVRecords",
      "cannot be carried over to the adapter's own connections: give the nodes' hosts and ports",
    );
  }
  const nodes = nodeList(context, "startupNodes", startupNodes).map((node) =>
    startNode(context, node),
  );
  const tls = redisOptions.tls
    ? redisOptions.tls
    : oneTlsForAll(
        context,
        "startupNodes",
        nodes.map((node) => Boolean(node.tls)),
      ) && nodes[0].tls;
  const common = {
    ...redisOptions,
    tls,
    db: undefined,
    keyPrefix: options.keyPrefix ?? redisOptions.keyPrefix,
    retryStrategy: options.clusterRetryStrategy,
  };
  return {
    ...ofEachServer(common, context),
    ...definedOnly({
      kind: "cluster",
      nodes: nodes.map(({ node }) => node),
      natMap: addressMap(context, "natMap", options.natMap),
      readFrom: readFrom(context, options.scaleReads),
    }),
  };
}

/**
 * @param {Context} context
 * @param {unknown} scaleReads which servers the client reads from
 * @returns {"replica" | undefined}
 */
function readFrom(context, scaleReads) {
  if (scaleReads === "slave" || scaleReads === "all") {
    return "replica";
  }
  if (!isMissing(scaleReads) && scaleReads !== "master") {
    warnIgnored(
      context,
      "scaleReads",
      'the adapter chooses the server itself: set its option `readFrom` to "replica" or "nearest" to read from replicas',
    );
  }
  return undefined;
}

/**
 * @param {any} client
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function ioredisSentinelSettings(client, context) {
  const { options } = client;
  if (options.role === "slave") {
    throw settingError(context, "role", 'is "slave", and the adapter writes: leave it out');
  }
  // Any true value means TLS, as for a single server.
  const { sentinelTLS } = options;
  const tls = options.enableTLSForSentinelMode ? options.tls : undefined;
  return {
    ...ofEachServer({ ...options, tls }, context),
    ...definedOnly({
      kind: "sentinel",
      sentinel: definedOnly({
        name: options.name,
        nodes: nodeList(context, "sentinels", options.sentinels).map((node) =>
          nodeAt(context, { host: LOCALHOST, port: SENTINEL_PORT, ...definedOnly(node) }),
        ),
        tls: sentinelTLS
          ? tlsSettings(context, "sentinelTLS.", typeof sentinelTLS === "object" ? sentinelTLS : {})
          : undefined,
        ...login(context, options.sentinelUsername, options.sentinelPassword),
      }),
      natMap: addressMap(context, "natMap", options.natMap),
    }),
  };
}

/**
 * The settings that all servers share, without their addresses.
 *
 * @param {any} options of a client of one server
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function ofEachServer(options, context) {
  const nowhere = { host: undefined, port: undefined, path: undefined };
  const client = { options: { ...options, ...nowhere } };
  const { host, port, ...settings } = ioredisSettings(client, context);
  return settings;
}

/**
 * @param {Context} context
 * @param {any} node an object, a URL, "host:port" or a port
 * @returns {{ node: import("./index.js").NodeSettings, tls: any }}
 */
function startNode(context, node) {
  if (typeof node === "string") {
    const url = /^(?:redis|valkey)s?:\/\//.test(node)
      ? node
      : `redis://${node.replace(/^\/\//, "")}`;
    const { node: parsed, tls } = nodeOfUrl(context, "startupNodes[]", url);
    return { node: parsed, tls: tls ? {} : undefined };
  }
  const given = typeof node === "number" ? { port: node } : node;
  if (isMissing(given) || typeof given !== "object") {
    throw settingError(context, "startupNodes[]", "must be an object, a URL or a port");
  }
  const { host = LOCALHOST, port, username, password, tls } = given;
  return { node: nodeAt(context, { host, port }, { username, password }), tls };
}

module.exports = { ioredisClusterSettings, ioredisSentinelSettings };
