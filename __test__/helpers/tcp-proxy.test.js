// The proxy that the tests of faults stand on: what each of its conditions does to a connection.

"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const net = require("node:net");
const { describe, test } = require("node:test");
const { defer } = require("../faults/defer");
const { startProxy } = require("./tcp-proxy");
const { settle, waitFor } = require("./wait");

/** @typedef {import("node:test").TestContext} TestContext */

/** Collects what a socket receives. @param {net.Socket} socket */
function collect(socket) {
  const side = { socket, text: "", hasEnded: false };
  socket.setNoDelay();
  socket.on("data", (chunk) => (side.text += chunk));
  socket.on("error", () => {});
  socket.on("close", () => (side.hasEnded = true));
  return side;
}

/** A server that keeps its connections. @param {TestContext} t */
async function startServer(t) {
  /** @type {ReturnType<typeof collect>[]} */
  const connections = [];
  const server = net.createServer((socket) => connections.push(collect(socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(t, () => {
    connections.forEach(({ socket }) => socket.destroy());
    server.close();
  });
  return { port: /** @type {net.AddressInfo} */ (server.address()).port, connections };
}

/**
 * @param {TestContext} t
 * @param {import("./tcp-proxy").Inspect} [inspect]
 */
async function start(t, inspect) {
  const server = await startServer(t);
  const proxy = await startProxy(server.port, inspect);
  defer(t, () => proxy.close());
  /** @param {{ connections: ReturnType<typeof collect>[] }} [to] */
  const connect = async ({ connections } = server) => {
    const count = connections.length;
    const client = collect(net.connect(proxy.port, "127.0.0.1"));
    defer(t, () => client.socket.destroy());
    await waitFor(() => connections.length > count, { what: "the server to be reached" });
    return { client, server: connections[count] };
  };
  return { proxy, connect };
}

/** @param {ReturnType<typeof collect>} side @param {string} text */
const receives = (side, text) =>
  waitFor(() => side.text === text, { what: () => `"${text}", not "${side.text}"` });

describe("the TCP proxy", () => {
  test("passes both directions on, and the end of either side", async (t) => {
    const { connect } = await start(t);
    const [first, second] = [await connect(), await connect()];
    first.client.socket.write("to the server");
    first.server.socket.write("to the client");
    await receives(first.server, "to the server");
    await receives(first.client, "to the client");
    first.client.socket.end("last");
    await waitFor(() => first.server.hasEnded);
    assert.equal(first.server.text, "to the serverlast");
    second.server.socket.end("last");
    await waitFor(() => second.client.hasEnded);
    assert.equal(second.client.text, "last");
  });

  test("cuts in the middle of a chunk, on all links that there are", async (t) => {
    const { proxy, connect } = await start(t);
    const pair = await connect();
    proxy.cutAfter("up", 3);
    pair.client.socket.write("abcdef");
    await waitFor(() => pair.client.hasEnded && pair.server.hasEnded);
    assert.equal(pair.server.text, "abc");
    const next = await connect();
    next.client.socket.write("abcdef");
    await receives(next.server, "abcdef");
  });

  test("stalls one direction while the other passes, and then passes what it held", async (t) => {
    const { proxy, connect } = await start(t);
    const pair = await connect();
    proxy.stall("up");
    const later = await connect();
    for (const { client, server } of [pair, later]) {
      client.socket.write("held");
      server.socket.write("passes");
      await receives(client, "passes");
      await settle(30);
      assert.equal(server.text, "");
    }
    proxy.resume("up");
    await receives(pair.server, "held");
    await receives(later.server, "held");
  });

  test("stalled, hides the end of one side from the other", async (t) => {
    const { proxy, connect } = await start(t);
    const [spoke, silent] = [await connect(), await connect()];
    proxy.stall();
    spoke.client.socket.end("held");
    silent.client.socket.end();
    await settle(50);
    assert.deepEqual([spoke.server.text, spoke.server.hasEnded], ["", false]);
    assert.equal(silent.server.hasEnded, false);
    proxy.resume();
    await waitFor(() => spoke.server.hasEnded && silent.server.hasEnded);
    assert.equal(spoke.server.text, "held");
  });

  test("holds no more than a network does: a sender is stopped in time", async (t) => {
    const { proxy, connect } = await start(t);
    const { client, server } = await connect();
    proxy.stall();
    const size = 24 << 20;
    client.socket.write(Buffer.alloc(size));
    const [link] = proxy.links;
    await waitFor(() => link.client.isPaused(), { what: "the proxy to stop reading" });
    assert.ok(client.socket.writableNeedDrain, "most of it still waits at the sender");
    let received = 0;
    server.socket.on("data", (chunk) => (received += chunk.length));
    proxy.resume();
    await waitFor(() => received === size, { what: () => `all bytes, not ${received}` });
  });

  test("delays each direction by so much, in order", async (t) => {
    const { proxy, connect } = await start(t);
    const { client, server } = await connect();
    proxy.delay(100, "down");
    const begin = Date.now();
    client.socket.write("at once");
    await receives(server, "at once");
    server.socket.write("a");
    await settle(20);
    server.socket.write("b");
    await receives(client, "ab");
    assert.ok(Date.now() - begin >= 99, "it took its time");
  });

  test("limits the bandwidth", async (t) => {
    const { proxy, connect } = await start(t);
    const { client, server } = await connect();
    proxy.limit(100_000, "up");
    const begin = Date.now();
    client.socket.write("x".repeat(30_000));
    await waitFor(() => server.text.length === 30_000);
    const took = Date.now() - begin;
    assert.ok(took >= 280, `30 kB at 100 kB/s do not take ${took} ms`);
  });

  test("leads elsewhere while old connections live on", async (t) => {
    const { proxy, connect } = await start(t);
    const other = await startServer(t);
    const old = await connect();
    proxy.target = other.port;
    const next = await connect(other);
    next.client.socket.write("new");
    old.client.socket.write("old");
    await receives(next.server, "new");
    await receives(old.server, "old");
    proxy.moveTo(other.port);
    await waitFor(() => old.client.hasEnded && next.client.hasEnded);
  });

  test("lets a test change a chunk, cut it, and deliver the rest late", async (t) => {
    const { connect } = await start(t, (link, direction, chunk) => {
      switch (String(chunk)) {
        case "change":
          return { instead: Buffer.from("changed") };
        case "cut":
          return { pass: 1 };
        case "late":
          return { late: 50 };
      }
    });
    const [changed, cut, late] = [await connect(), await connect(), await connect()];
    changed.client.socket.write("change");
    await receives(changed.server, "changed");
    cut.client.socket.write("cut");
    await waitFor(() => cut.client.hasEnded && cut.server.hasEnded);
    assert.equal(cut.server.text, "c");
    late.client.socket.write("late");
    await waitFor(() => late.client.hasEnded);
    assert.equal(late.server.text, "");
    await waitFor(() => late.server.hasEnded);
    assert.equal(late.server.text, "late");
  });
});
