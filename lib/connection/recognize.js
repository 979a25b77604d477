"use strict";
// Recognizes Redis clients by their methods and properties. Their constructors have no distinctive
// names, and a client may come from another copy of its package than this file could load.

/**
 * @typedef {"node-redis" | "node-redis cluster" | "node-redis sentinel" | "node-redis pool" |
 *   "ioredis" | "ioredis cluster" | "ioredis sentinel"} ClientKind
 */

/**
 * @param {any} client
 * @returns {ClientKind | undefined} undefined if it is none of them
 */
function clientKind(client) {
  if (typeof client !== "object" || client === null) {
    return undefined;
  }
  return nodeRedisKind(client) ?? ioredisKind(client);
}

/**
 * @param {any} client
 * @returns {ClientKind | undefined}
 */
function nodeRedisKind(client) {
  if (typeof client.sSubscribe !== "function") {
    const isPool = typeof client.execute === "function" && typeof client.totalClients === "number";
    return isPool ? "node-redis pool" : undefined;
  }
  if (typeof client.getSentinelNode === "function") {
    return "node-redis sentinel";
  }
  if (typeof client.nodeClient === "function" || Array.isArray(client.masters)) {
    return "node-redis cluster";
  }
  return "node-redis";
}

/**
 * @param {any} client
 * @returns {ClientKind | undefined}
 */
function ioredisKind(client) {
  if (client.isCluster === true && client.startupNodes) {
    return "ioredis cluster";
  }
  if (!looksLikeIoredis(client) || isMock(client)) {
    return undefined;
  }
  return client.options.sentinels ? "ioredis sentinel" : "ioredis";
}

/** @param {any} client */
function looksLikeIoredis(client) {
  return (
    typeof client.xread === "function" &&
    typeof client.duplicate === "function" &&
    typeof client.options === "object" &&
    client.options !== null
  );
}

/**
 * Whether it plays an ioredis client without a server, as ioredis-mock does: a client always has a
 * status. The settings of a mock would lead to a real Redis.
 *
 * @param {any} client
 */
function isMock(client) {
  return looksLikeIoredis(client ?? {}) && typeof client.status !== "string";
}

module.exports = { clientKind, isMock };
