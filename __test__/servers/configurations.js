// The configurations in which the parity suite runs on each server.

"use strict";

/**
 * @typedef {object} Configuration
 * @property {string} name
 * @property {Record<string, string>} env what chooses it, see helpers/configuration.js
 * @property {(server: { name: string, version: string, major: number }) => string | undefined} [cannot]
 *   why it does not apply to a server
 */

const CLUSTER = { REDIS: "cluster" };
const SENTINEL = { REDIS: "sentinel" };

/** @param {{ name: string }} server */
function onlyValkey({ name }) {
  return name === "Valkey" ? undefined : "iovalkey is the client of Valkey";
}

/** @type {Configuration[]} */
const CONFIGURATIONS = [
  { name: "node-redis", env: {} },
  { name: "node-redis, cluster", env: CLUSTER },
  {
    name: "node-redis, cluster, 5 streams",
    env: { ...CLUSTER, ADAPTER_OPTIONS: '{"streamCount":5}' },
  },
  {
    name: "node-redis, cluster, sharded PUB/SUB",
    env: { ...CLUSTER, ADAPTER_OPTIONS: '{"useShardedPubSub":true}' },
    cannot: ({ name, version, major }) =>
      major < 7 ? `${name} ${version} has no sharded PUB/SUB` : undefined,
  },
  { name: "node-redis, sentinels", env: SENTINEL },
  { name: "node-redis, unix socket", env: { REDIS: "unix" } },
  { name: "node-redis, TLS with a client certificate", env: { REDIS: "tls" } },
  { name: "ioredis", env: { REDIS_CLIENT: "ioredis" } },
  {
    name: "ioredis, lazyConnect, no offline queue",
    env: {
      REDIS_CLIENT: "ioredis",
      CLIENT_OPTIONS: '{"lazyConnect":true,"enableOfflineQueue":false}',
    },
  },
  { name: "ioredis, cluster", env: { ...CLUSTER, REDIS_CLIENT: "ioredis" } },
  { name: "ioredis, sentinels", env: { ...SENTINEL, REDIS_CLIENT: "ioredis" } },
  { name: "iovalkey", env: { REDIS_CLIENT: "iovalkey" }, cannot: onlyValkey },
  {
    name: "iovalkey, cluster",
    env: { ...CLUSTER, REDIS_CLIENT: "iovalkey" },
    cannot: onlyValkey,
  },
  // Without a client, which would need rights of its own.
  {
    name: "settings, a user with the documented permissions",
    env: { REDIS: "acl", REDIS_CLIENT: "settings" },
  },
];

/** The packages whose clients are in them. */
const CLIENTS = ["redis", "ioredis", "iovalkey"];

module.exports = { CONFIGURATIONS, CLIENTS };
