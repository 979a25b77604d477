"use strict";
// Code for all clients of several servers: lists of nodes, maps of addresses, and the common TLS.

const { settingError } = require("./errors.js");
const { parseUrl } = require("./url.js");
const { definedOnly, endpoint, isMissing, login, typeName } = require("./values.js");

/** @typedef {import("./errors.js").Context} Context */
/** @typedef {import("./index.js").NodeSettings} NodeSettings */

/**
 * @param {Context} context
 * @param {string} name of the setting
 * @param {unknown} nodes
 * @returns {any[]}
 */
function nodeList(context, name, nodes) {
  if (!Array.isArray(nodes) || nodes.length === 0) {
    throw settingError(context, name, "must be an array of at least one node");
  }
  return nodes;
}

/**
 * One of several nodes, with its login if it has its own.
 *
 * @param {Context} context
 * @param {any} node
 * @param {{ username?: unknown, password?: unknown }} [access]
 * @returns {NodeSettings}
 */
function nodeAt(context, node, access = {}) {
  const { path, host, port } = endpoint(context, node);
  if (path !== undefined) {
    throw settingError(context, "path", "is a unix socket, which a node of several cannot have");
  }
  const { username, password } = login(context, access.username, access.password);
  return /** @type {NodeSettings} */ (definedOnly({ host, port, username, password }));
}

/**
 * A node given by a URL.
 *
 * @param {Context} context
 * @param {string} name of the setting
 * @param {string} url
 * @param {number} [defaultPort]
 * @returns {{ node: NodeSettings, tls: boolean }}
 */
function nodeOfUrl(context, name, url, defaultPort) {
  const parts = parseUrl(context, name, url);
  return { node: nodeAt(context, withPort(parts, defaultPort), parts), tls: parts.tls };
}

/**
 * @template {{ port?: unknown }} T
 * @param {T} node
 * @param {number} [port] if the node has none
 * @returns {T}
 */
function withPort(node, port) {
  return isMissing(node.port) ? { ...node, port } : node;
}

/**
 * Checks that all nodes use TLS or none does. Servers report each other's addresses, but not whether
 * to use TLS.
 *
 * @param {Context} context
 * @param {string} name of the list of nodes
 * @param {boolean[]} tls of each node
 * @returns {boolean}
 */
function oneTlsForAll(context, name, tls) {
  if (tls.some((one) => one !== tls[0])) {
    throw settingError(
      context,
      name,
      "reach some nodes with TLS and some without: use one for all",
    );
  }
  return tls[0];
}

/**
 * @param {Context} context
 * @param {string} name
 * @param {any} map by "host:port" as the servers report it, the address that this machine can reach
 * @param {(to: unknown) => NodeSettings | undefined} [read] one of these addresses; undefined if the
 *   map has none
 * @returns {Record<string, NodeSettings> | undefined}
 */
function addressMap(context, name, map, read = (to) => mappedByClient(context, name, to)) {
  if (isMissing(map)) {
    return undefined;
  }
  if (typeof map !== "object") {
    throw settingError(
      context,
      name,
      `must be an object such as { "10.0.0.1:6379": { host, port } } to be carried over to the ` +
        `adapter's own connections, not ${typeName(map)}`,
    );
  }
  const entries = Object.entries(map)
    .map(([from, to]) => [from, read(to)])
    .filter(([, to]) => to !== undefined);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/**
 * @param {Context} context
 * @param {string} name of the map
 * @param {unknown} to
 * @returns {NodeSettings | undefined} undefined if it is missing: clients then use the address that
 *   the servers report
 */
function mappedByClient(context, name, to) {
  if (isMissing(to)) {
    return undefined;
  }
  if (typeof to !== "object") {
    throw settingError(context, name, `must hold objects { host, port }, not ${typeName(to)}`);
  }
  return nodeAt(context, to);
}

module.exports = { addressMap, nodeAt, nodeList, nodeOfUrl, oneTlsForAll, withPort };
