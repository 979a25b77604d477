// Starts what the environment variable REDIS names, and says how nodes reach it:
//
//   single    a server
//   cluster   a Redis Cluster, three masters with a replica each, through the package's cluster client
//   sentinel  a master with a replica, through three sentinels
//   unix      a server, through its unix socket
//   tls       a server that asks for a client certificate; where it was built without TLS, a proxy
//             in front of it does
//   acl       a server, as a user with the rights that docs/operations.md lists and no other
//
// What the tests of the parity suite do to a server of theirs can be done to each of these.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { makeCertificates, SERVER_NAME } = require("../connection/certificates");
const { startTlsRedis } = require("../connection/servers");
const { ADAPTER_OPTIONS, REDIS } = require("./configuration");
const { startRedisCluster } = require("./redis-cluster");
const { startRedisSentinel } = require("./redis-sentinel");
const { startRedis } = require("./redis-server");
const { startProxy } = require("./tcp-proxy");
const { waitFor } = require("./wait");

/** @typedef {import("./clients").Admin} Admin */
/** @typedef {import("./clients").Reach} Reach */
/** @typedef {import("./redis-server").RedisServer & { reach?: Reach }} Server */
/** @typedef {import("./redis-server").RedisServerOptions} RedisServerOptions */

/** @type {Record<string, (options?: RedisServerOptions) => Promise<Server>>} */
const START = {
  single: startRedis,
  cluster: async (options) =>
    /** @type {Server} */ (/** @type {unknown} */ (await startRedisCluster(options))),
  sentinel: startWatched,
  unix: startUnix,
  tls: startTls,
  acl: startRedis,
};

/** What takes seconds to start is used again by the same process, emptied, when it is free. */
const REUSED = ["cluster", "sentinel"];
/** @type {Server[]} */
const free = [];

/** @param {RedisServerOptions} [options] */
function isReused(options) {
  return REUSED.includes(REDIS) && options === undefined;
}

/** @param {RedisServerOptions} [options] */
async function startSetup(options) {
  return (isReused(options) && free.pop()) || START[REDIS](options);
}

/**
 * Stops it, or keeps it for the next that asks. One that is kept ends with this process (guard.js).
 *
 * @param {Server} [server]
 * @param {Admin} [admin] closed as well
 * @param {RedisServerOptions} [options]
 */
async function endSetup(server, admin, options) {
  if (server && admin && isReused(options)) {
    try {
      await empty(server, admin);
      free.push(server);
    } finally {
      await admin.close();
    }
  } else {
    await admin?.close();
    await server?.stop();
  }
}

/** @param {Server} server @param {Admin} admin */
async function empty(server, admin) {
  await waitFor(async () => (await server.connectionCount()) === admin.connections, {
    what: "the connections of closed nodes to be gone",
  });
  const keys = () => admin.command("KEYS", "*");
  for (const key of await keys()) {
    await admin.command("DEL", key);
  }
  await waitFor(async () => (await keys()).length === 0, { what: "the replicas to be empty" });
}

/** @returns {Promise<Server>} the master */
async function startWatched() {
  const sentinel = await startRedisSentinel();
  const { name, nodes, servers } = sentinel;
  return Object.assign(servers[0], {
    reach: { sentinel: { name, nodes } },
    stop: () => sentinel.stop(),
  });
}

/** @param {RedisServerOptions} [options] @returns {Promise<Server>} */
async function startUnix(options) {
  const server = await startRedis({ ...options, unixSocket: true });
  return Object.assign(server, { reach: { path: server.socketPath } });
}

/** @param {RedisServerOptions} [options] @returns {Promise<Server>} */
async function startTls(options) {
  const certificates = makeCertificates();
  const { ca, cert, key } = certificates;
  const { server, port, end } =
    (await startWithTls(certificates, options)) ?? (await startBehindProxy(certificates, options));
  const stop = () => Object.getPrototypeOf(server).stop.call(server);
  return Object.assign(server, {
    reach: { tls: { port, ca, cert, key, servername: SERVER_NAME } },
    async stop() {
      end();
      await stop();
      certificates.remove();
    },
  });
}

/**
 * @param {ReturnType<typeof makeCertificates>} certificates
 * @param {RedisServerOptions} [options]
 * @returns {Promise<{ server: Server, port: number, end: () => void } | undefined>} undefined when
 *   the server was built without TLS
 */
async function startWithTls(certificates, options) {
  try {
    const server = await startTlsRedis(certificates, { ...options, clientCertificates: true });
    return { server, port: server.tlsPort, end() {} };
  } catch (error) {
    // 6.2 does not know the directive, later ones know it and miss the implementation
    if (!/tls-port "|Failed finding TLS support/.test(/** @type {Error} */ (error).message)) {
      throw error;
    }
    return undefined;
  }
}

/**
 * @param {ReturnType<typeof makeCertificates>} certificates
 * @param {RedisServerOptions} [options]
 */
async function startBehindProxy(certificates, options) {
  const server = /** @type {Server} */ (await startRedis(options));
  const proxy = await startProxy(server.port, undefined, { certificates });
  return { server, port: proxy.port, end: () => proxy.close() };
}

/** Whether a server was built with TLS. @param {string} binary */
async function hasTls(binary) {
  const certificates = makeCertificates();
  try {
    const started = await startWithTls(certificates, { binary });
    await started?.server.stop();
    return started !== undefined;
  } finally {
    certificates.remove();
  }
}

const OPERATIONS = readFileSync(join(__dirname, "..", "..", "docs", "operations.md"), "utf8");
/** The rights with classic and with sharded PUB/SUB. */
const [CLASSIC, SHARDED] = [...OPERATIONS.matchAll(/^ACL SETUSER chat (.*)$/gm)].map(
  ([, rules]) => rules,
);

/**
 * The server as nodes with these options reach it: with `acl` as a user of their own, whose rights
 * are adapted to their names as docs/operations.md says, elsewhere as it is.
 *
 * @param {Server} server
 * @param {Admin} admin
 * @param {Record<string, any>} [adapterOptions]
 * @returns {Promise<Server>}
 */
async function admit(server, admin, adapterOptions) {
  if (REDIS !== "acl") {
    return server;
  }
  const {
    streamName = "socket.io",
    streamCount = 1,
    channelPrefix = "socket.io",
    sessionKeyPrefix = "sio:session:",
    useShardedPubSub = false,
  } = { ...ADAPTER_OPTIONS, ...adapterOptions };
  const rules = (useShardedPubSub ? SHARDED : CLASSIC)
    .replace("~socket.io", `~${streamName}${streamCount > 1 ? "-*" : ""}`)
    .replace("~sio:session:*", `~${sessionKeyPrefix}*`)
    .replace("&socket.io#*", `&${channelPrefix}#*`);
  const username = `chat-${streamName}-${streamCount}-${channelPrefix}-${useShardedPubSub}`;
  await admin.command("ACL", "SETUSER", username, ...rules.split(" "));
  return Object.assign(Object.create(server), { reach: { username, password: "secret" } });
}

/** With `acl`: fails when something was denied to the users. @param {Admin} admin */
async function assertNothingDenied(admin) {
  if (REDIS === "acl") {
    assert.deepEqual(await admin.command("ACL", "LOG"), [], "nothing was denied");
  }
}

module.exports = { startSetup, endSetup, hasTls, admit, assertNothingDenied };
