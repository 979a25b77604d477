// Clients that do not read: what waits for them has a bound (`clientBufferBytes`), and with connection
// state recovery they come back to everything.

"use strict";

const assert = require("node:assert/strict");
const channels = require("node:diagnostics_channel");
const { once } = require("node:events");
const net = require("node:net");
const { describe, test } = require("node:test");
const { setImmediate: turn } = require("node:timers/promises");
const { RawPolling } = require("../fast-path/raw-client");
const { startCluster, useRedis } = require("../helpers/cluster");
const { hasSession, pidOf } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");

/** @typedef {import("node:test").TestContext} TestContext */
/** @typedef {import("../helpers/cluster").Cluster} Cluster */
/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

const MIB = 2 ** 20;
const LIMIT = MIB / 4;
const LOAD = "x".repeat(8 * 1024);
/** What the adapter delivers between two turns of the event loop at most: it judges after a turn. */
const SLICE = 256 * 3 * LOAD.length;
/** More than the kernel's buffers of a connection and the bound hold. */
const MOST = 6_000;
const RECOVERY = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };

const context = useRedis();

/**
 * @param {TestContext} t
 * @param {Record<string, any>} [serverOptions]
 * @param {Record<string, any>} [adapterOptions]
 */
async function startBounded(t, serverOptions, adapterOptions = { clientBufferBytes: LIMIT }) {
  const cluster = await startCluster(context, {
    nodes: 1,
    clientsPerNode: 0,
    serverOptions,
    adapterOptions: { maxLen: 100_000, ...adapterOptions },
  });
  defer(t, () => cluster.close());
  return cluster;
}

/** @param {Cluster} cluster @returns {number} */
const slowClients = (cluster) => cluster.adapter(0).stats().slowClients;

/** Messages about slow clients. @param {TestContext} t */
function listen(t) {
  /** @type {any[]} */
  const messages = [];
  const onMessage = (/** @type {unknown} */ message) => messages.push(message);
  channels.subscribe("socket.io-redis-streams:slow-client", onMessage);
  defer(t, () => channels.unsubscribe("socket.io-redis-streams:slow-client", onMessage));
  return messages;
}

/** The TCP connection of a client over WebSocket. @param {SocketClient} client */
function tcpOf(client) {
  return /** @type {net.Socket} */ (
    /** @type {any} */ (client.socket.io.engine).transport.ws._socket
  );
}

/**
 * Emits until a connection was ended.
 *
 * @param {Cluster} cluster
 * @param {(i: number) => void} emit
 * @returns {Promise<number>} how many packets were emitted
 */
async function emitUntilEnded(cluster, emit) {
  for (let i = 0; i < MOST; i++) {
    emit(i);
    await turn();
    if (slowClients(cluster) > 0) {
      return i + 1;
    }
  }
  throw new Error(`after ${MOST} packets no connection was ended`);
}

/** Emits packets without a turn of the event loop in between. @param {Cluster} cluster @param {number} bytes */
function emitLocally(cluster, bytes) {
  for (let sent = 0; sent < bytes; sent += LOAD.length * 8) {
    cluster.io(0).local.emit("packet", 0, LOAD.repeat(8));
  }
}

/** @param {SocketClient} client */
const numbersOf = (client) => client.received("packet").map(([i]) => i);

/** @param {number} count */
const upTo = (count) => Array.from({ length: count }, (_, i) => i);

describe("a client over WebSocket that does not read", () => {
  // Breaks when what was in its way is not among what it missed, or is sent once more.
  test("is ended with a recoverable reason, and comes back to everything", async (t) => {
    const messages = listen(t);
    const cluster = await startBounded(t, RECOVERY);
    const [stalled, healthy] = [await cluster.connect(0), await cluster.connect(0)];
    cluster.io(0).emit("packet", 0);
    await stalled.receives("packet");
    const pid = pidOf(cluster, stalled);
    const socket = cluster.serverSocket(stalled);
    const ended = once(socket, "disconnect");
    const tcp = /** @type {any} */ (socket.conn).transport.socket._socket;
    tcpOf(stalled).pause();

    const count = await emitUntilEnded(cluster, (i) => cluster.io(0).emit("packet", i + 1, LOAD));

    const [reason, details] = await ended;
    assert.equal(reason, "transport error");
    assert.equal(details.code, "ERR_SIO_REDIS_SLOW_CLIENT");
    await waitFor(() => tcp.destroyed && tcp.writableLength === 0, {
      what: "its memory to be free",
    });
    const [{ bytes, ...message }] = messages;
    assert.deepEqual(message, {
      server: cluster.io(0),
      uid: cluster.adapter(0).uid,
      sockets: [{ id: stalled.id, namespace: "/" }],
      transport: "websocket",
    });
    assert.ok(bytes > LIMIT && bytes < LIMIT + SLICE, `${bytes} bytes waited`);
    await healthy.receives("packet", count + 1);
    assert.deepEqual(numbersOf(healthy), upTo(count + 1));

    await waitFor(() => hasSession(cluster, pid), { what: "the session" });
    tcpOf(stalled).resume();
    await waitFor(() => !stalled.socket.connected, { what: "the client to notice" });
    cluster.io(0).emit("packet", count + 1);
    await stalled.reconnect();
    assert.equal(stalled.socket.recovered, true);
    await stalled.receives("packet", count + 2);
    assert.deepEqual(numbersOf(stalled), upTo(count + 2));
    assert.equal(slowClients(cluster), 1);
  });

  test("starts fresh without recovery, and is not missed by others", async (t) => {
    const cluster = await startBounded(t);
    const [stalled, healthy] = [await cluster.connect(0), await cluster.connect(0)];
    const socket = cluster.serverSocket(stalled);
    tcpOf(stalled).pause();
    // Neither through the stream nor through the adapter.
    const count = await emitUntilEnded(cluster, (i) => {
      socket.emit("packet", i, LOAD);
      cluster.io(0).local.emit("local", i);
    });
    await healthy.receives("local", count);
    assert.deepEqual(
      await cluster
        .io(0)
        .local.fetchSockets()
        .then((all) => all.map((s) => s.id)),
      [healthy.id],
    );
    tcpOf(stalled).resume();
    await waitFor(() => !stalled.socket.connected, { what: "the client to notice" });
    await stalled.reconnect();
    assert.ok(!stalled.socket.recovered);
  });

  // Breaks when only engine.io's `writeBuffer` is counted: what was handed to the WebSocket waits too.
  test("is ended over what the WebSocket holds", async (t) => {
    const cluster = await startBounded(t, undefined, { clientBufferBytes: 32 * MIB });
    const stalled = await cluster.connect(0);
    const { conn } = /** @type {any} */ (cluster.serverSocket(stalled));
    tcpOf(stalled).pause();
    emitLocally(cluster, 30 * MIB);
    await waitFor(() => conn.writeBuffer.length === 0, { what: "the WebSocket to have it" });
    await turn();
    const { bufferedAmount } = conn.transport.socket;
    assert.ok(bufferedAmount > 16 * MIB, "the kernel does not take most of it");
    assert.equal(slowClients(cluster), 0);
    emitLocally(cluster, 32 * MIB - bufferedAmount + MIB);
    await waitFor(() => slowClients(cluster) === 1, { what: "the end" });
    tcpOf(stalled).resume();
  });

  test("has its sockets of all namespaces named, once", async (t) => {
    const messages = listen(t);
    const cluster = await startBounded(t);
    cluster.io(0).of("/chat");
    const stalled = await cluster.connect(0);
    const chat = stalled.socket.io.socket("/chat");
    await once(/** @type {any} */ (chat), "connect");
    tcpOf(stalled).pause();
    const names = ["/", "/chat"];
    await emitUntilEnded(cluster, () => names.forEach((n) => cluster.io(0).of(n).emit("p", LOAD)));
    assert.deepEqual(
      messages.map(({ sockets }) => sockets),
      [
        [
          { id: stalled.id, namespace: "/" },
          { id: chat.id, namespace: "/chat" },
        ],
      ],
    );
    tcpOf(stalled).resume();
  });
});

describe("a client over HTTP long-polling", () => {
  /** @param {TestContext} t @param {Cluster} cluster @param {object} [auth] */
  async function connectRaw(t, cluster, auth) {
    const client = new RawPolling(cluster.nodes[0].url, "/");
    defer(t, () => client.close());
    await client.connected(auth);
    return client;
  }

  /** @param {RawPolling} client @returns {[number, string][]} number and offset of each packet */
  const packetsOf = (client) =>
    client.packets.map(([{ bytes }]) => {
      const [, number, , offset] = JSON.parse(bytes.toString().slice(1));
      return [number, offset];
    });

  test("that asks for nothing any more is ended, and comes back to everything", async (t) => {
    const messages = listen(t);
    const cluster = await startBounded(t, RECOVERY);
    const client = await connectRaw(t, cluster);
    client.closed = true; // no request follows the one that waits
    cluster.io(0).emit("packet", 0, "");
    await waitFor(() => client.packets.length === 1);
    const [socket] = cluster.io(0).of("/").sockets.values();
    const { pid, conn } = /** @type {any} */ (socket);
    const ended = once(socket, "disconnect");
    const count = await emitUntilEnded(cluster, (i) => cluster.io(0).emit("packet", i + 1, LOAD));
    const [{ bytes, transport }] = messages;
    assert.equal(transport, "polling");
    assert.ok(bytes > LIMIT && bytes < LIMIT + SLICE, `${bytes} bytes waited`);
    assert.equal((await ended)[0], "transport error");
    assert.equal(conn.transport.readyState, "closed", "nothing waits for its next request");
    await waitFor(() => hasSession(cluster, pid), { what: "the session" });
    const [[, offset]] = packetsOf(client);
    const back = await connectRaw(t, cluster, { pid, offset });
    await waitFor(() => back.packets.length >= count, { what: "what it missed" });
    cluster.io(0).emit("packet", count + 1, "");
    await waitFor(() => back.packets.length > count, { what: "the next packet" });
    const numbers = packetsOf(back).map(([number]) => number);
    assert.deepEqual([0, ...numbers], upTo(count + 2));
  });

  // Breaks when only engine.io's `writeBuffer` is counted: each of its requests empties it.
  test("that asks and does not read is ended as well", async (t) => {
    const cluster = await startBounded(t, undefined, { clientBufferBytes: 16 * MIB });
    const { port, io } = cluster.nodes[0];
    const client = await connectRaw(t, cluster);
    client.closed = true; // no request follows the one that waits
    io.local.emit("packet", 0, "");
    await waitFor(() => client.packets.length === 1);
    const [{ conn }] = /** @type {any} */ ([...io.of("/").sockets.values()]);
    /** @type {net.Socket[]} */
    const accepted = [];
    /** @type {any} */ (io).httpServer.on("connection", (/** @type {net.Socket} */ socket) => {
      accepted.push(socket);
    });
    const request = `GET /socket.io/?EIO=4&transport=polling&sid=${client.sid} HTTP/1.1\r\nHost: x\r\n\r\n`;
    for (let i = 0; slowClients(cluster) === 0; i++) {
      assert.ok(i < 30, "it is ended");
      // The kernel takes a part of each response.
      emitLocally(cluster, 10 * MIB);
      const asking = net.connect(port, "127.0.0.1").pause();
      defer(t, () => asking.destroy());
      asking.on("error", () => {});
      asking.write(request);
      await waitFor(() => conn.writeBuffer.length === 0, { what: "the response" });
    }
    await waitFor(
      () => accepted.every(({ destroyed, writableLength }) => destroyed || writableLength === 0),
      { what: "the unread responses to be free" },
    );
  });
});

describe("a client that reads is not ended", () => {
  test("over one packet that is larger than the bound, and what follows it", async (t) => {
    const cluster = await startBounded(t);
    const client = await cluster.connect(0);
    for (let i = 0; i < 5; i++) {
      cluster.io(0).emit("packet", 2 * i, LOAD.repeat(1_000));
      cluster.io(0).emit("packet", 2 * i + 1);
      await client.receives("packet", 2 * (i + 1));
    }
    assert.deepEqual(numbersOf(client), upTo(10));
    assert.equal(slowClients(cluster), 0);
  });

  // Breaks when the packet before still counts as on its way. The client had it long ago.
  test("over several of these, each after it has received the one before", async (t) => {
    const cluster = await startBounded(t);
    const client = await cluster.connect(0);
    for (let i = 0; i < 5; i++) {
      cluster.io(0).emit("packet", i, LOAD.repeat(2_000));
      await client.receives("packet", i + 1);
    }
    assert.deepEqual(numbersOf(client), upTo(5));
    assert.equal(slowClients(cluster), 0);
  });

  // While more waits, slices hold back what they write, for as long as the last writes took. Breaks when
  // a client is judged by what was not offered to the network yet.
  test("over what its node holds back", async (t) => {
    const limit = 16 * 1024;
    const cluster = await startBounded(t, undefined, { clientBufferBytes: limit });
    const client = await cluster.connect(0);
    const { conn } = /** @type {any} */ (cluster.serverSocket(client));
    /** How many packets each write had. @type {number[]} */
    const written = [];
    conn.on("flush", (/** @type {any[]} */ packets) => {
      written.push(packets.length);
      const end = performance.now() + 30;
      while (performance.now() < end); // a slow write
    });
    const count = 300;
    const load = "x".repeat(1_024);
    for (let i = 0; i < count; i++) {
      cluster.io(0).emit("packet", i, load);
    }
    await client.receives("packet", count);
    assert.deepEqual(numbersOf(client), upTo(count));
    const most = Math.max(...written);
    assert.ok(most * load.length > 2 * limit, `${most} packets were held together`);
    assert.equal(slowClients(cluster), 0);
  });

  // Breaks when a client that has missed more than the bound is ended over it each time that it is back.
  test("over what it has missed", async (t) => {
    const cluster = await startBounded(t, RECOVERY);
    const client = await cluster.connect(0);
    cluster.io(0).emit("packet", 0);
    await client.receives("packet");
    const pid = pidOf(cluster, client);
    await cluster.cut(client);
    await waitFor(() => hasSession(cluster, pid), { what: "the session" });
    const count = 2_000;
    for (let i = 1; i <= count; i++) {
      cluster.io(0).emit("packet", i, LOAD);
    }
    await waitFor(() => cluster.adapter(0).stats().published > count);
    await client.reconnect();
    assert.equal(client.socket.recovered, true);
    cluster.io(0).emit("packet", count + 1);
    await client.receives("packet", count + 2);
    assert.deepEqual(numbersOf(client), upTo(count + 2));
    assert.equal(slowClients(cluster), 0);
    // What it gets from here on counts again.
    tcpOf(client).pause();
    await emitUntilEnded(cluster, () => cluster.io(0).emit("packet", 0, LOAD));
    tcpOf(client).resume();
  });
});

test("without the option nothing is bounded, and nothing looks at packets", async (t) => {
  const cluster = await startBounded(t, undefined, {});
  const client = await cluster.connect(0);
  const { conn } = /** @type {any} */ (cluster.serverSocket(client));
  assert.equal(conn.listenerCount("packetCreate"), 0);
  tcpOf(client).pause();
  for (let i = 0; i < 1_000; i++) {
    cluster.io(0).emit("packet", i, LOAD);
    await turn();
  }
  assert.equal(client.socket.connected, true);
  tcpOf(client).resume();
  await client.receives("packet", 1_000);
  assert.deepEqual(numbersOf(client), upTo(1_000));
  assert.equal(slowClients(cluster), 0);
});
