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
 * @returns {{ node: NodeSettings, tls: boolean }}
 */
function nodeOfUrl(context, name, url) {
  const parts = parseUrl(context, name, url);
  return { node: nodeAt(context, parts, parts), tls: parts.tls };
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
 * @returns {Record<string, NodeSettings> | undefined}
 */
function addressMap(context, name, map) {
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
  const entries = Object.entries(map).map(([from, to]) => {
    const { host, port } = nodeAt(context, to);
    return [from, { host, port }];
  });
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

module.exports = { addressMap, nodeAt, nodeList, nodeOfUrl, oneTlsForAll };
