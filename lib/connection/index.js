"use strict";
// Turns the first argument of `createAdapter` or `Emitter` into the settings of the engine's own
// connections. There is one file per kind of argument; values.js and tls.js are shared.

const { clientError } = require("./errors.js");
const { ioredisSettings } = require("./ioredis.js");
const { ioredisClusterSettings, ioredisSentinelSettings } = require("./ioredis-several.js");
const { nodeRedisSettings } = require("./node-redis.js");
const {
  nodeRedisClusterSettings,
  nodeRedisPoolSettings,
  nodeRedisSentinelSettings,
} = require("./node-redis-several.js");
const { clientKind, isMock } = require("./recognize.js");
const { plainSettings, urlSettings } = require("./settings.js");
const { isUrl } = require("./url.js");
const { typeName } = require("./values.js");

/**
 * Passed to the engine unchanged. A property is absent instead of undefined.
 *
 * @typedef {object} ConnectionSettings
 * @property {string} kind "standalone", "cluster" or "sentinel"
 * @property {string} [host] IPv6 without brackets
 * @property {number} [port]
 * @property {string} [path] unix socket, in place of host and port
 * @property {4 | 6} [family] only addresses of this family
 * @property {import("./tls.js").TlsSettings} [tls] present: connections use TLS
 * @property {string} [username] only together with a password, which may be empty
 * @property {string} [password]
 * @property {number} [database] absent: 0
 * @property {string} [clientName]
 * @property {number} [connectTimeout] ms
 * @property {number} [reconnectDelay] ms, a fixed delay between attempts; may be 0
 * @property {string} [keyPrefix] of stream and session keys
 * @property {boolean} [prefixShardedChannels] the key prefix applies to sharded channels too
 * @property {import("./credentials.js").AskCredentials} [credentials] called at each connect;
 *   replaces username and password
 * @property {import("./credentials.js").FollowCredentials} [followCredentials] subscribes to changes
 *   of the credentials
 * @property {NodeSettings[]} [nodes] of a cluster; the engine learns the others from them
 * @property {SentinelSettings} [sentinel] in place of host and port
 * @property {Record<string, NodeSettings>} [natMap] by "host:port" as the servers report it, the
 *   address that this machine can reach
 * @property {"replica"} [readFrom] the client reads from replicas: see the option of this name
 */
/**
 * @typedef {object} NodeSettings
 * @property {string} host
 * @property {number} port
 * @property {string} [username] of this node, in place of the common one
 * @property {string} [password]
 */
/**
 * @typedef {object} SentinelSettings
 * @property {string} name of the master
 * @property {NodeSettings[]} nodes the sentinels
 * @property {import("./tls.js").TlsSettings} [tls] of the sentinels
 * @property {string} [username] of the sentinels
 * @property {string} [password]
 */

const INSTEAD =
  "a client (node-redis 4 to 6, ioredis 5 or 6, iovalkey; of one server, a cluster or sentinels), " +
  'a URL such as "redis://localhost:6379", or a settings object such as { host, port, password }';

/** For each kind of client, its name in messages and the function that reads its settings. */
const CLIENTS = {
  "node-redis": ["the node-redis client", nodeRedisSettings],
  "node-redis cluster": ["the node-redis cluster client", nodeRedisClusterSettings],
  "node-redis sentinel": ["the node-redis sentinel client", nodeRedisSentinelSettings],
  "node-redis pool": ["the node-redis client pool", nodeRedisPoolSettings],
  ioredis: ["the ioredis or iovalkey client", ioredisSettings],
  "ioredis cluster": ["the ioredis or iovalkey cluster client", ioredisClusterSettings],
  "ioredis sentinel": ["the ioredis or iovalkey sentinel client", ioredisSentinelSettings],
};

/**
 * @param {unknown} input a client, a URL or a settings object
 * @param {object} callbacks
 * @param {(code: string, message: string) => void} callbacks.warn called for each of the user's
 *   settings that has no effect on the engine's connections
 * @param {string} [callbacks.caller] messages begin with it
 * @returns {ConnectionSettings}
 * @throws {TypeError} with the code ERR_SIO_REDIS_CLIENT or ERR_SIO_REDIS_SETTING
 */
function connectionSettings(input, { warn, caller = "createAdapter" }) {
  const kind = clientKind(input);
  if (kind === undefined) {
    return withoutClient(input, { warn, caller });
  }
  const [source, settings] =
    /** @type {[string, (client: unknown, context: import("./errors.js").Context) => ConnectionSettings]} */ (
      CLIENTS[kind]
    );
  return settings(input, { source, warn, caller });
}

/**
 * @param {unknown} input
 * @param {Omit<import("./errors.js").Context, "source">} context
 */
function withoutClient(input, context) {
  if (typeof input === "string") {
    return urlSettings(input, { source: "the URL", ...context });
  }
  if (isUrl(input)) {
    return urlSettings(input.href, { source: "the URL", ...context });
  }
  if (isPlainObject(input)) {
    return plainSettings(input, { source: "the settings object", ...context });
  }
  if (typeof (/** @type {any} */ (input)?.then) === "function") {
    throw clientError(context, `a promise was passed: await it first, then pass ${INSTEAD}`);
  }
  if (isMock(input)) {
    throw clientError(
      context,
      "a mock of a Redis client was passed, which leads to no server: test without an adapter, or " +
        `with a real Redis; else pass ${INSTEAD}`,
    );
  }
  const why = input === undefined ? " (from an environment variable that is not set?)" : "";
  throw clientError(context, `${typeName(input)} was passed${why}: pass ${INSTEAD}`);
}

/**
 * `@socket.io/redis-adapter` takes two clients; here options come second.
 *
 * @param {unknown} opts
 * @param {string} caller what messages begin with
 * @throws {TypeError} with the code ERR_SIO_REDIS_CLIENT
 */
function refuseSecondClient(opts, caller) {
  if (clientKind(opts) !== undefined || isMock(opts)) {
    throw clientError(
      { caller },
      "two clients were passed, as to @socket.io/redis-adapter: pass one client, then options; " +
        "the connections for publishing and subscribing are made from its settings",
    );
  }
}

/**
 * @param {unknown} input
 * @returns {input is object} of any realm, as in isUrl
 */
function isPlainObject(input) {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    return false;
  }
  const prototype = Object.getPrototypeOf(input);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

module.exports = { connectionSettings, refuseSecondClient };
