// Clients that are cut off and come back, for the tests of connection state recovery.

"use strict";

const assert = require("node:assert/strict");
const { waitFor } = require("./wait");

/** @typedef {import("./cluster").Cluster} Cluster */
/** @typedef {import("./socket-client").SocketClient} SocketClient */

/** The default of the option `sessionKeyPrefix`. */
const SESSION_KEY_PREFIX = "sio:session:";

/** @param {Cluster} cluster @param {string} pid */
async function hasSession({ admin }, pid) {
  return (await admin.command("EXISTS", SESSION_KEY_PREFIX + pid)) === 1;
}

/** The record of a connected client's session. @param {string} pid */
function liveKeyOf(pid) {
  return `${SESSION_KEY_PREFIX}live:{${SESSION_KEY_PREFIX}${pid}}`;
}

/**
 * A pattern of KEYS for the sessions of clients that have gone. Those of connected clients are in
 * `live:…`, the nodes' signs of life in `node:…`.
 */
const ENDED_SESSIONS = `${SESSION_KEY_PREFIX}????[^:]*`;

/** @param {import("./clients").Admin} admin @returns {Promise<string[]>} the keys of those sessions */
async function sessionsIn(admin) {
  return admin.command("KEYS", ENDED_SESSIONS);
}

/** The secret id of a session. @param {Cluster} cluster @param {SocketClient} client */
function pidOf(cluster, client) {
  return /** @type {any} */ (cluster.serverSocket(client)).pid;
}

/** The offset that a client would send. @param {SocketClient} client */
function offsetOf(client) {
  return /** @type {any} */ (client.socket)._lastOffset;
}

/**
 * A client of node `node` that has received a packet, so that it has an offset.
 *
 * @param {Cluster} cluster
 * @param {number} node
 * @param {string} [nsp]
 */
async function clientWithOffset(cluster, node, nsp = "/") {
  const client = await cluster.connect(node, { nsp });
  cluster.io(node).of(nsp).to(client.id).emit("first");
  await client.receives("first");
  return client;
}

/**
 * Cuts a client and waits for its session to be in Redis.
 *
 * @param {Cluster} cluster
 * @param {SocketClient} client
 */
async function cut(cluster, client) {
  const pid = pidOf(cluster, client);
  await cluster.cut(client);
  await waitFor(() => hasSession(cluster, pid), { what: "the session in Redis" });
}

/**
 * The packets a client has received, without the offset at the end of each.
 *
 * @param {SocketClient} client
 * @returns {any[][]}
 */
function packetsOf({ record }) {
  return record.map((packet) => packet.slice(0, -1));
}

/**
 * Brings a client back to a node, lets a last packet follow, and returns what the client received
 * in between.
 *
 * @param {Cluster} cluster
 * @param {SocketClient} client
 * @param {number} node
 */
async function missedBy(cluster, client, node) {
  const start = client.record.length;
  const lasts = client.received("last").length;
  await cluster.reconnect(client, node);
  assert.equal(client.socket.recovered, true, "the client is recovered");
  cluster.io(node).of(client.nsp).to(client.id).emit("last");
  await client.receives("last", lasts + 1);
  return packetsOf(client)
    .slice(start)
    .filter(([event]) => event !== "last");
}

module.exports = {
  ENDED_SESSIONS,
  SESSION_KEY_PREFIX,
  liveKeyOf,
  hasSession,
  sessionsIn,
  pidOf,
  offsetOf,
  clientWithOffset,
  cut,
  packetsOf,
  missedBy,
};
