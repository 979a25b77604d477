// `io.adapter()` while clients are there already, and a second time.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../../index");
const { useRedis } = require("../helpers/cluster");
const { liveKeyOf } = require("../helpers/recovery");
const { connectClient } = require("../helpers/socket-client");
const { once, waitFor } = require("../helpers/wait");

const context = useRedis();

/** How many connections Redis has, without the one that asks. */
async function connections() {
  return (
    String(await context.admin.command("CLIENT", "LIST"))
      .trim()
      .split("\n").length - 1
  );
}

/** @param {import("node:test").TestContext} t @param {Record<string, any>} [options] */
async function server(t, options) {
  const io = new Server(0, options);
  io.on("connection", (socket) => {
    socket.join("news");
    socket.on("later", () => socket.join("sports"));
  });
  t.after(() => io.close());
  const { port } = /** @type {any} */ (io).httpServer.address();
  const connect = async () => {
    const client = await connectClient(`http://127.0.0.1:${port}`);
    t.after(() => client.disconnect());
    return client;
  };
  return { io, connect };
}

/** @param {Server} io @param {import("../helpers/socket-client").SocketClient} client @param {string} tag */
async function assertReached(io, client, tag) {
  const socket = /** @type {any} */ (io.sockets.sockets.get(client.id));
  client.socket.emit("later");
  await waitFor(() => socket.rooms.has("sports"), { what: "the join" });
  const events = ["all", "news", "own", "sports"].map((name) => `${name} ${tag}`);
  io.emit(events[0]);
  io.to("news").emit(events[1]);
  io.to(client.id).emit(events[2]);
  io.to("sports").emit(events[3]);
  await Promise.all(events.map((event) => client.receives(event)));
  assert.equal((await io.in("news").fetchSockets()).length, 1);
}

test("called late, it takes over the clients with their rooms", async (t) => {
  const { io, connect } = await server(t);
  const client = await connect();
  io.adapter(createAdapter(context.redis.url));
  await assertReached(io, client, "late");
  client.disconnect();
  await waitFor(() => io.sockets.adapter.sids.size === 0, { what: "the adapter to let it go" });
});

// Socket.IO calls init() since 4.8.2.
test("called late, it does not need somebody to call init()", async (t) => {
  const { io, connect } = await server(t);
  const client = await connect();
  const Adapter = /** @type {any} */ (createAdapter(context.redis.url));
  io.sockets.adapter = new Adapter(io.sockets);
  await assertReached(io, client, "without init()");
});

// Breaks when a socket stays with the adapter that the namespace had when it came.
for (const [name, isTold] of /** @type {const} */ ([
  ["called", true],
  ["called in Socket.IO before 4.8, which does not tell who they are,", false],
])) {
  test(`${name} while a client's middleware runs, it takes over that client`, async (t) => {
    const { io, connect } = await server(t);
    if (!isTold) {
      Object.assign(io.sockets, { _preConnectSockets: new Map() });
    }
    /** @type {() => void} */
    let go = () => {};
    io.use((socket, next) => {
      socket.join("from a middleware");
      go = next;
    });
    const connecting = connect();
    await waitFor(() => io.sockets.adapter.sids.size > 0, { what: "the middleware" });
    io.adapter(createAdapter(context.redis.url));
    go();
    const client = await connecting;
    await assertReached(io, client, "late");
    io.to("from a middleware").emit("joined");
    await client.receives("joined");
  });
}

test("called again and again, it leaves no connection open", async (t) => {
  const { io, connect } = await server(t);
  const client = await connect();
  const before = await connections();
  io.adapter(createAdapter(context.redis.url));
  await assertReached(io, client, "first");
  const once = (await connections()) - before;
  for (let i = 0; i < 5; i++) {
    io.adapter(createAdapter(context.redis.url));
  }
  const again = createAdapter(context.redis.url);
  io.adapter(again);
  io.adapter(again);
  await assertReached(io, client, "last");
  await waitFor(async () => (await connections()) - before <= once, {
    what: "the connections of the adapters before to be closed",
  });
});

// Breaks when the session of a recovered client begins anew with the adapter: the record from before the
// recovery counts as later.
test("called again, it leaves a client recoverable that was recovered before", async (t) => {
  const adapter = () => createAdapter(context.redis.url);
  const { io, connect } = await server(t, { adapter: adapter(), connectionStateRecovery: {} });
  const client = await connect();
  /** Whether the client is recovered, once the node owns its session. @param {string} event */
  const isRecovered = async (event) => {
    await assertReached(io, client, event);
    const key = liveKeyOf(/** @type {any} */ (client.socket)._pid);
    const { uid } = /** @type {any} */ (io.of("/").adapter);
    await waitFor(
      async () => {
        const records = await context.admin.command("HVALS", key);
        return records.some((/** @type {string} */ one) => one.startsWith(`connected ${uid}`));
      },
      { what: `the record of ${uid}` },
    );
    client.cut();
    client.socket.connect();
    await client.connected();
    return client.socket.recovered;
  };
  assert.ok(await isRecovered("first"));
  for (const event of ["second", "third"]) {
    io.adapter(adapter());
    assert.ok(await isRecovered(event), event);
  }
});

for (const recovery of [undefined, {}]) {
  // Breaks when events on their way belong to the adapter before, or when the engine has to learn the rooms
  // of its namespace again: it leaves broadcasts out meanwhile.
  test(`called again with the same value, it loses nothing${recovery ? ", with recovery" : ""}`, async (t) => {
    const adapter = createAdapter(context.redis.url);
    const { io, connect } = await server(t, { adapter, connectionStateRecovery: recovery });
    const { io: other } = await server(t, { adapter: createAdapter(context.redis.url) });
    const client = await connect();
    await assertReached(io, client, "before");
    await waitFor(async () => (await other.sockets.adapter.serverCount()) === 2, {
      what: "both servers",
    });
    const end = 400 * 20;
    for (let i = 0; i < end; i += 20) {
      for (let n = i; n < i + 20; n++) {
        (n % 2 ? other : other.to("news")).emit("number", n);
      }
      if (i % 400 === 0) {
        io.adapter(adapter);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.receives("number", end);
    assert.deepEqual(
      client.received("number").map(([n]) => n),
      Array.from({ length: end }, (_, n) => n),
    );
    await assertReached(io, client, "after");
  });
}

// Breaks when the socket loses its session: it is with the new adapter, and the one before has the session.
for (const isSame of [true, false]) {
  test(`called again with ${isSame ? "the same" : "another"} value while a recovered client's middleware runs, it keeps its session`, async (t) => {
    const adapter = createAdapter(context.redis.url);
    const { io, connect } = await server(t, {
      adapter,
      connectionStateRecovery: { skipMiddlewares: false },
    });
    const { io: other } = await server(t, { adapter: createAdapter(context.redis.url) });
    /** @type {() => void} */
    let go = () => {};
    let mayPass = true;
    io.use((_socket, next) => (mayPass ? next() : void (go = next)));
    const client = await connect();
    await assertReached(io, client, "first");
    const { id, socket } = client;
    const left = once(io.sockets.sockets.get(id) ?? io, "disconnect");
    mayPass = false;
    client.cut();
    await left;
    socket.connect();
    await waitFor(() => io.sockets.adapter.sids.size > 0, { what: "the middleware" });
    mayPass = true;
    const ended = isSame ? undefined : once(/** @type {any} */ (socket.io), "close");
    const connected = isSame ? client.connected() : undefined;
    io.adapter(isSame ? adapter : createAdapter(context.redis.url));
    other.emit("missed");
    go();
    await ended;
    await (connected ?? client.reconnect());
    assert.deepEqual([socket.recovered, client.id], [true, id]);
    await client.receives("missed");
    await assertReached(io, client, "second");
  });
}
