"use strict";
// Reads the settings of node-redis clients for several servers, connected or not: clusters of versions
// 4 to 6, sentinels of 6, pools of 5 and 6.

const { settingError } = require("./errors.js");
const { nodeRedisSettings } = require("./node-redis.js");
const { addressMap, nodeAt, nodeList, nodeOfUrl, oneTlsForAll } = require("./several.js");
const { definedOnly, isMissing, login } = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */
/** @typedef {import("./index.js").ConnectionSettings} ConnectionSettings */

/**
 * @param {any} client
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function nodeRedisClusterSettings(client, context) {
  const options = client._options ?? capturedOptions(client);
  if (options === undefined) {
    throw settingError(
      context,
      "",
      "does not show its options: pass settings such as { cluster: { nodes: [{ host, port }] } }",
    );
  }
  const { rootNodes, defaults = {}, nodeAddressMap, keyPrefix } = options;
  const nodes = nodeList(context, "rootNodes", rootNodes).map((root) =>
    rootNode(context, root ?? {}),
  );
  const tls =
    defaults.socket?.tls === true ||
    oneTlsForAll(
      context,
      "rootNodes",
      nodes.map((node) => node.tls),
    );
  const [first] = nodes;
  const socket = { ...(tls ? first.socket : {}), ...defaults.socket, ...(tls ? { tls } : {}) };
  return {
    ...ofEachNode({ ...defaults, database: undefined }, socket, keyPrefix, context),
    ...definedOnly({
      kind: "cluster",
      nodes: nodes.map(({ node }) => node),
      natMap: addressMap(context, "nodeAddressMap", nodeAddressMap),
      readFrom: readFrom(options),
    }),
  };
}

/**
 * @param {any} client
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function nodeRedisSentinelSettings(client, context) {
  const options = capturedOptions(client);
  if (options === undefined) {
    throw settingError(
      context,
      "",
      "does not show its options in this version: pass settings such as " +
        "{ sentinel: { name, nodes: [{ host, port }] } }",
    );
  }
  const { name, sentinelRootNodes, nodeClientOptions = {}, sentinelClientOptions = {} } = options;
  if (!isMissing(sentinelClientOptions.credentialsProvider)) {
    throw settingError(
      context,
      "sentinelClientOptions.credentialsProvider",
      "cannot be carried over to the adapter's own connections: give `username` and `password`",
    );
  }
  // The TLS settings of a client with these options.
  const { tls } = nodeRedisSettings(
    { options: { socket: { ...sentinelClientOptions.socket, host: "sentinel", path: undefined } } },
    context,
  );
  return {
    ...ofEachNode(nodeClientOptions, nodeClientOptions.socket, options.keyPrefix, context),
    ...definedOnly({
      kind: "sentinel",
      sentinel: definedOnly({
        name,
        nodes: nodeList(context, "sentinelRootNodes", sentinelRootNodes).map((node) =>
          nodeAt(context, node),
        ),
        tls,
        ...login(context, sentinelClientOptions.username, sentinelClientOptions.password),
      }),
      natMap: addressMap(context, "nodeAddressMap", options.nodeAddressMap),
      readFrom: readFrom(options),
    }),
  };
}

/**
 * @param {any} pool
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function nodeRedisPoolSettings(pool, context) {
  /** @type {any} */
  let client;
  if (pool.isOpen && pool.idleClients > 0) {
    // The pool calls this at once if a client is idle.
    pool.execute((/** @type {any} */ idle) => {
      client = idle;
    });
  }
  if (client === undefined) {
    throw settingError(context, "", "has no idle client to take the settings from: connect first");
  }
  return nodeRedisSettings(client, context);
}

/**
 * The settings that all nodes share, without their addresses.
 *
 * @param {any} options of a client of one node
 * @param {any} socket
 * @param {unknown} keyPrefix
 * @param {Context} context
 * @returns {ConnectionSettings}
 */
function ofEachNode(options, socket, keyPrefix, context) {
  const client = {
    options: { ...options, socket: { ...socket, host: undefined, port: undefined } },
    _keyPrefix: keyPrefix ?? options.keyPrefix,
  };
  const { host, port, ...settings } = nodeRedisSettings(client, context);
  return settings;
}

/**
 * @param {Context} context
 * @param {any} root
 */
function rootNode(context, { url, socket, username, password }) {
  if (isMissing(url)) {
    const node = nodeAt(context, { ...socket, family: undefined }, { username, password });
    return { node, tls: socket?.tls === true, socket };
  }
  const { node, tls } = nodeOfUrl(context, "rootNodes[].url", url);
  return { node, tls: tls || socket?.tls === true, socket };
}

/**
 * @param {any} options of a cluster, or of sentinels
 * @returns {"replica" | undefined} whether the client reads from replicas
 */
function readFrom({ useReplicas, replicaPoolSize }) {
  return useReplicas === true || replicaPoolSize > 0 ? "replica" : undefined;
}

/**
 * The options that a client would give to its duplicate. They are private, and a cluster or a
 * sentinel that is not connected has no inner clients that would show them.
 *
 * @param {any} client
 * @returns {any} undefined if the client has none
 */
function capturedOptions(client) {
  if (typeof client.duplicate !== "function") {
    return undefined;
  }
  /** @type {any} */
  let captured;
  const capturing = {
    constructor: {
      value: function (/** @type {any} */ options) {
        captured = options;
      },
    },
  };
  try {
    // `duplicate` calls the constructor of its prototype.
    Object.create(Object.create(client, capturing)).duplicate();
    return captured;
  } catch {
    // In version 4 `duplicate` works only on the client itself. It gets another prototype for a moment.
  }
  const prototype = Object.getPrototypeOf(client);
  try {
    Object.setPrototypeOf(client, Object.create(prototype, capturing));
    client.duplicate();
  } catch {
    return undefined;
  } finally {
    Object.setPrototypeOf(client, prototype);
  }
  return captured;
}

module.exports = { nodeRedisClusterSettings, nodeRedisPoolSettings, nodeRedisSentinelSettings };
