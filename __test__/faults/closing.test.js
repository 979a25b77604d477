// Clients that arrive while `io.close()` waits for Redis.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../../index");
const { startCluster, useRedis } = require("../helpers/cluster");
const { clientWithOffset, cut } = require("../helpers/recovery");
const { SocketClient, connectClient } = require("../helpers/socket-client");
const { once, waitFor, within } = require("../helpers/wait");
require("./warnings"); // of the outage

const context = useRedis();

/**
 * A server that will close, and a client that has a session at another one.
 *
 * @param {import("node:test").TestContext} t
 * @param {object} [recovery] how the server recovers clients
 */
async function startClosing(t, recovery = {}) {
  const cluster = await startCluster(context, {
    nodes: 1,
    clientsPerNode: 0,
    serverOptions: { connectionStateRecovery: {} },
  });
  t.after(() => cluster.close());
  const io = new Server(0, {
    adapter: createAdapter(context.redis.url),
    connectionStateRecovery: recovery,
  });
  const { port } = /** @type {any} */ (io).httpServer.address();
  return {
    cluster,
    io,
    url: `http://127.0.0.1:${port}`,
    client: await clientWithOffset(cluster, 0),
  };
}

async function connections() {
  const list = String(await context.admin.command("CLIENT", "LIST"));
  return list.trim().split("\n").length - 1;
}

for (const nsp of ["/late", "/"]) {
  // Breaks when nobody closes the adapter of a namespace that was opened meanwhile.
  test(`a client that connects to ${nsp} leaves nothing open`, async (t) => {
    const before = await connections();
    // With recovery, it would be turned away.
    const io = new Server(0, { adapter: createAdapter(context.redis.url) });
    io.of(/^\/late$/);
    const { port } = /** @type {any} */ (io).httpServer.address();
    const client = await connectClient(`http://127.0.0.1:${port}`);
    t.after(() => client.disconnect());
    await io.sockets.adapter.serverCount();
    context.redis.pause();
    t.after(() => context.redis.resume());
    io.emit("never out");
    const closing = io.close();
    const late = client.socket.io.socket(nsp);
    // To "/" the client is connected already, for all it knows.
    late.disconnect();
    late.connect();
    await once(late, "connect");
    assert.ok(await io.of(nsp).local.fetchSockets());
    io.of(nsp).emit("late");
    context.redis.resume();
    await within(closing, "the server to close");
    await waitFor(async () => (await connections()) === before, {
      what: "the connections to Redis to be closed",
    });
  });
}

for (const nsp of ["/late", "/"]) {
  // Breaks when it is connected, and disconnected a moment later: then nobody can recover it.
  test(`with recovery, a client that comes to ${nsp} is turned away at once`, async (t) => {
    const before = await connections();
    const io = new Server(0, {
      adapter: createAdapter(context.redis.url),
      connectionStateRecovery: {},
    });
    io.of(/^\/late$/);
    const { port } = /** @type {any} */ (io).httpServer.address();
    const client = new SocketClient(`http://127.0.0.1:${port}`, { nsp });
    t.after(() => client.disconnect());
    const { socket } = client;
    socket.disconnect();
    await io.sockets.adapter.serverCount();
    context.redis.pause();
    t.after(() => context.redis.resume());
    io.emit("never out");
    let isClosed = false;
    const closing = io.close().then(() => (isClosed = true));
    socket.connect();
    const [reason] = await once(socket, "disconnect");
    assert.deepEqual([reason, isClosed], ["transport close", false]);
    context.redis.resume();
    await within(closing, "the server to close");
    await waitFor(async () => (await connections()) === before, {
      what: "the connections to Redis to be closed",
    });
  });
}

// Breaks when its session goes down with the server, or when it is connected on the last few metres.
test("a recovered client whose middlewares still run takes its session to another server", async (t) => {
  const { cluster, io, url, client } = await startClosing(t, { skipMiddlewares: false });
  const entered = new Promise((resolve) => io.use(() => resolve(undefined)));
  const { id, socket } = client;
  await cut(cluster, client);
  cluster.io(0).emit("missed");
  Object.assign(socket.io, { uri: url });
  socket.connect();
  await entered;
  const left = once(socket, "disconnect");
  await within(io.close(), "the server to close");
  await left;
  await cluster.reconnect(client, 0);
  assert.deepEqual([socket.recovered, client.id], [true, id]);
  await client.receives("missed");
});

/** @type {{ when: string, comesFirst: boolean }[]} */
const RETURNS = [
  { when: "while its adapter waits for Redis", comesFirst: false },
  { when: "right before that, so that its restore is under way", comesFirst: true },
];

for (const { when, comesFirst } of RETURNS) {
  // Breaks when the client gets a new session there, and loses its own, or when nobody puts back what
  // the restore has taken.
  test(`a client that comes back to a closing server ${when} keeps its session`, async (t) => {
    const { cluster, io, url, client } = await startClosing(t);
    const { id } = client;
    await cut(cluster, client);
    cluster.io(0).emit("missed");
    await io.sockets.adapter.serverCount();
    context.redis.pause();
    t.after(() => context.redis.resume());
    io.emit("never out");
    const { socket } = client;
    const come = async () => {
      Object.assign(socket.io, { uri: url });
      const arrived = once(/** @type {any} */ (io.engine), "connection");
      socket.connect();
      const [conn] = /** @type {any[]} */ (await arrived);
      await once(conn, "data"); // its CONNECT
    };
    if (comesFirst) {
      await come();
    }
    const closing = io.close();
    if (!comesFirst) {
      await come();
    }
    const ended = once(/** @type {any} */ (socket.io), "close");
    context.redis.resume();
    await within(closing, "the server to close");
    await ended;
    assert.equal(socket.connected, false);
    await cluster.reconnect(client, 0);
    assert.deepEqual([socket.recovered, client.id], [true, id]);
    await client.receives("missed");
  });
}
