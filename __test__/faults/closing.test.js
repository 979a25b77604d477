// Clients that arrive while `io.close()` waits for Redis.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { Server } = require("socket.io");
const { createAdapter } = require("../../index");
const { useRedis } = require("../helpers/cluster");
const { connectClient } = require("../helpers/socket-client");
const { once, waitFor, within } = require("../helpers/wait");
require("./warnings"); // of the outage

const context = useRedis();

async function connections() {
  const list = String(await context.admin.command("CLIENT", "LIST"));
  return list.trim().split("\n").length - 1;
}

for (const nsp of ["/late", "/"]) {
  // Breaks when nobody closes the adapter of a namespace that was opened meanwhile.
  test(`a client that connects to ${nsp} leaves nothing open`, async (t) => {
    const before = await connections();
    const io = new Server(0, {
      adapter: createAdapter(context.redis.url),
      connectionStateRecovery: {},
    });
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
    late.disconnect().connect();
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
