// `io.adapter()` while clients are there already, and a second time.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../../index");
const { useRedis } = require("../helpers/cluster");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");

const context = useRedis();

/** How many connections Redis has, without the one that asks. */
async function connections() {
  return (
    String(await context.admin.command("CLIENT", "LIST"))
      .trim()
      .split("\n").length - 1
  );
}

/** @param {import("node:test").TestContext} t */
async function server(t) {
  const io = new Server(0);
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
