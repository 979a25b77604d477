// Clients that arrive while `io.close()` waits for Redis.

"use strict";

const assert = require("node:assert/strict");
const { createServer } = require("node:http");
const { test } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../../index");
const { startCluster, useRedis } = require("../helpers/cluster");
const { clientWithOffset, cut } = require("../helpers/recovery");
const { SocketClient, connectClient } = require("../helpers/socket-client");
const { cannotBefore } = require("../helpers/socket-io");
const { once, settle, waitFor, within } = require("../helpers/wait");
require("./warnings"); // of the outage

const context = useRedis();
/** A client that comes after the call of `io.close()` is refused there, by TCP. */
const skip = cannotBefore("4.8.0", "`io.close()` ends all connections at once and takes no other");

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

// What Socket.IO did before 4.7.1. Breaks when nobody closes the adapters.
test("a server that closes no adapter leaves nothing open", async (t) => {
  const before = await connections();
  const io = /** @type {any} */ (new Server(0));
  io.close = (/** @type {() => void} */ fn) => {
    io.engine.close();
    io.httpServer.close(fn);
  };
  io.adapter(createAdapter(context.redis.url));
  const { port } = io.httpServer.address();
  const client = await connectClient(`http://127.0.0.1:${port}`);
  t.after(() => client.disconnect());
  await io.of("/other").adapter.serverCount();
  await new Promise((resolve) => io.close(resolve));
  await waitFor(async () => (await connections()) === before, {
    what: "the connections to Redis to be closed",
  });
});

/** @type {Record<string, (io: Server) => Promise<void>>} */
const CLOSES = {
  "its promise resolves": (io) => io.close(),
  "its callback is called": (io) => new Promise((resolve) => void io.close(() => resolve())),
};

// Before 4.8, Socket.IO waits for no adapter. Breaks when nobody else does: a process that exits then
// loses what it has emitted last.
for (const [what, close] of Object.entries(CLOSES)) {
  test(`when a server closes, ${what} after all that was emitted is in Redis`, async (t) => {
    const { io, client } = await startClosing(t);
    await io.sockets.adapter.serverCount();
    context.redis.pause();
    t.after(() => context.redis.resume());
    io.emit("last");
    let isClosed = false;
    const closing = close(io).then(() => (isClosed = true));
    await settle();
    assert.equal(isClosed, false);
    context.redis.resume();
    await within(closing, "the server to close");
    await client.receives("last");
  });
}

for (const nsp of ["/late", "/"]) {
  // Breaks when nobody closes the adapter of a namespace that was opened meanwhile.
  test(`a client that connects to ${nsp} leaves nothing open`, { skip }, async (t) => {
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

// Breaks when only the first of them is watched.
test("the second server on an HTTP server leaves nothing open", { skip }, async (t) => {
  const before = await connections();
  const http = createServer();
  const [first, io] = ["/first", "/second"].map(
    (path) => new Server(http, { path, adapter: createAdapter(context.redis.url) }),
  );
  io.of(/^\/late$/);
  await new Promise((resolve) => http.listen(0, () => resolve(undefined)));
  const { port } = /** @type {any} */ (http.address());
  const client = await connectClient(`http://127.0.0.1:${port}`, { path: "/second" });
  t.after(() => client.disconnect());
  await Promise.all([first, io].map(({ sockets }) => sockets.adapter.serverCount()));
  context.redis.pause();
  t.after(() => context.redis.resume());
  [first, io].forEach((server) => server.emit("never out"));
  const closing = Promise.all([first.close(), io.close()]);
  await once(client.socket.io.socket("/late"), "connect");
  context.redis.resume();
  await within(closing, "the servers to close");
  await waitFor(async () => (await connections()) === before, {
    what: "the connections to Redis to be closed",
  });
});

for (const recovery of [undefined, {}]) {
  // Breaks when the server still turns clients away, or when nobody tells that its adapter is closed.
  test(`a closed server ${recovery ? "with recovery " : ""}takes clients when it is attached again`, async (t) => {
    const io = new Server({
      adapter: createAdapter(context.redis.url),
      connectionStateRecovery: recovery,
    });
    const attach = async () => {
      const http = createServer();
      await new Promise((resolve) => http.listen(0, () => resolve(undefined)));
      io.attach(http);
      return `http://127.0.0.1:${/** @type {any} */ (http.address()).port}`;
    };
    await attach();
    await io.close();
    /** @type {any[]} */
    const warnings = [];
    const note = (/** @type {any} */ warning) => warnings.push(warning);
    process.on("warning", note);
    t.after(() => void process.off("warning", note));
    const url = await attach();
    for (let i = 0; i < 2; i++) {
      const client = await connectClient(url);
      io.emit("to all");
      await client.receives("to all");
      client.disconnect();
      await waitFor(() => io.sockets.sockets.size === 0, { what: "the client to leave" });
    }
    assert.deepEqual(
      warnings.map(({ code }) => code),
      ["ERR_SIO_REDIS_CLOSED"],
    );
    assert.match(warnings[0].message, /io\.adapter\(createAdapter\(/);

    // As the warning tells.
    await io.close();
    io.adapter(createAdapter(context.redis.url));
    const client = await connectClient(await attach());
    t.after(() => client.disconnect());
    io.emit("to all");
    await client.receives("to all");
    assert.equal(await context.admin.command("EXISTS", "socket.io"), 1);
    await io.close();
    assert.equal(warnings.length, 1);
  });
}

for (const nsp of ["/late", "/"]) {
  // Breaks when it is connected, and disconnected a moment later: then nobody can recover it.
  test(
    `with recovery, a client that comes to ${nsp} is turned away at once`,
    { skip },
    async (t) => {
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
    },
  );
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

/** @type {{ when: string, comesFirst: boolean, skip?: string | false }[]} */
const RETURNS = [
  { when: "while its adapter waits for Redis", comesFirst: false, skip },
  { when: "right before that, so that its restore is under way", comesFirst: true },
];

for (const { when, comesFirst, skip } of RETURNS) {
  // Breaks when the client gets a new session there, and loses its own, or when nobody puts back what
  // the restore has taken.
  test(
    `a client that comes back to a closing server ${when} keeps its session`,
    { skip },
    async (t) => {
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
    },
  );
}

for (const [event, liveSessions] of /** @type {const} */ ([
  ["disconnecting", true],
  ["disconnecting", false],
  ["disconnect", true],
  ["disconnect", false],
])) {
  const when = liveSessions ? "" : " without live sessions";
  // Breaks when Socket.IO stops at the error: then the others are disconnected after the adapter has closed.
  test(`a handler of "${event}" that throws while a server closes keeps no session${when} from being saved`, async (t) => {
    const cluster = await startCluster(context, {
      nodes: 2,
      clientsPerNode: 0,
      namespaces: ["/", "/other"],
      adapterOptions: { liveSessions },
      serverOptions: { connectionStateRecovery: {} },
    });
    t.after(() => cluster.close());
    const clients = [];
    for (const nsp of ["/", "/", "/", "/other", "/other"]) {
      clients.push(await clientWithOffset(cluster, 0, nsp));
    }
    /** @type {any[]} */
    const called = [];
    for (const client of clients) {
      cluster.serverSocket(client).once(event, (reason) => {
        called.push([client.id, reason]);
        throw new Error("a bug in a handler");
      });
    }
    const left = clients.map(({ socket }) => once(socket, "disconnect"));
    await within(cluster.io(0).close(), "the server to close");
    await Promise.all(left);
    for (const client of clients) {
      const { id, nsp } = client;
      cluster.io(1).of(nsp).emit("missed");
      await cluster.reconnect(client, 1);
      assert.deepEqual([client.socket.recovered, client.id], [true, id]);
      await client.receives("missed");
    }
    // Before 4.7.5, Socket.IO has another reason for all namespaces but the main one.
    const inMain = clients.slice(0, 3).map(({ id }) => [id, "server shutting down"]);
    assert.deepEqual(called.slice(0, 3), inMain);
    assert.equal(called.length, clients.length);
  });
}
