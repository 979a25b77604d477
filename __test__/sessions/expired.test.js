// Sessions whose client does not come back in time are told once in the cluster (`expiredSessions`).

"use strict";

const assert = require("node:assert/strict");
const channels = require("node:diagnostics_channel");
const { afterEach, describe, test } = require("node:test");
const { startCluster, useCluster, useRedis } = require("../helpers/cluster");
const { cut, liveKeyOf, offsetOf, pidOf } = require("../helpers/recovery");
const { startNodeOn } = require("../helpers/node");
const { startChildNode } = require("../helpers/remote-node");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");

/** @typedef {import("../helpers/socket-client").SocketClient} SocketClient */

/** How long a client may be away, ms. */
const LIFETIME = 1_500;
const OPTIONS = { expiredSessions: true, heartbeatInterval: 200, heartbeatTimeout: 1_000 };
const SERVER = { connectionStateRecovery: { maxDisconnectionDuration: LIFETIME } };
const SOON = { timeout: 30_000 };

describe("a session that expires", () => {
  /** What each node's adapter told. @type {{ node: number, session: any }[]} */
  let told = [];
  const context = useCluster({
    nodes: 2,
    clientsPerNode: 0,
    serverOptions: SERVER,
    adapterOptions: OPTIONS,
    setup: (io, node) => {
      /** @type {any} */ (io.of("/").adapter).on("sessionExpired", (/** @type {any} */ session) =>
        told.push({ node, session }),
      );
      io.on("connection", (socket) => {
        if (!socket.recovered) {
          socket.join("room");
          socket.data.name = "first";
        }
      });
    },
  });

  afterEach(() => (told = []));

  /** @param {SocketClient} client */
  const toldOf = (client) => told.filter(({ session }) => session.sid === client.id);

  /** Waits until each of the clients was told once, and then for a second time. @param {SocketClient[]} clients */
  async function toldOnce(...clients) {
    await waitFor(() => clients.every((client) => toldOf(client).length > 0), {
      ...SOON,
      what: "the sessions to be told",
    });
    // Another one, cut later, is told after all that would be told twice.
    const { cluster } = context;
    const marker = await cluster.connect(1);
    await cut(cluster, marker);
    await waitFor(() => toldOf(marker).length > 0, {
      ...SOON,
      what: "the last session to be told",
    });
    cluster.homes.delete(marker);
    assert.deepEqual(
      clients.map((client) => toldOf(client).length),
      clients.map(() => 1),
    );
  }

  // Breaks when the node that had the client, or none, or each node tells.
  test("is told once, with its rooms and data", async () => {
    const { cluster } = context;
    /** @type {any[]} */
    const messages = [];
    const onMessage = (/** @type {unknown} */ message) => messages.push(message);
    channels.subscribe("socket.io-redis-streams:session-expired", onMessage);
    const clients = await Promise.all([0, 1, 0, 1, 0].map((node) => cluster.connect(node)));
    for (const client of clients) {
      cluster.serverSocket(client).data.last = client.id;
      await cut(cluster, client);
    }
    await toldOnce(...clients);
    channels.unsubscribe("socket.io-redis-streams:session-expired", onMessage);
    for (const client of clients) {
      const [{ node, session }] = toldOf(client);
      const { id: sid } = client;
      const expected = { sid, rooms: [sid, "room"], data: { name: "first", last: sid } };
      assert.deepEqual(session, expected);
      const { server, ...message } = messages.find((message) => message.sid === sid);
      assert.equal(server, cluster.io(node));
      assert.deepEqual(message, { uid: cluster.adapter(node).uid, namespace: "/", ...expected });
      cluster.homes.delete(client);
    }
  });

  // Breaks when a restore does not count.
  test("is not told while its client is back, and tells how it left at last", async () => {
    const { cluster } = context;
    const [back, left] = [await cluster.connect(0), await cluster.connect(0)];
    await cut(cluster, back);
    await cluster.reconnect(back, 1);
    assert.ok(back.socket.recovered);
    cluster.serverSocket(back).join("later");
    await cluster.disconnect(left);
    const gone = await cluster.connect(0);
    await cut(cluster, gone);
    await toldOnce(gone);
    assert.deepEqual([toldOf(back), toldOf(left)], [[], []]);
    await cut(cluster, back);
    await toldOnce(back);
    assert.deepEqual(toldOf(back)[0].session.rooms, [back.id, "room", "later"]);
    cluster.homes.delete(gone);
    cluster.homes.delete(back);
  });

  // Breaks when a session that is refused is deleted without a word.
  test("is told if its client came back and was refused", async () => {
    const { cluster } = context;
    const client = await cluster.connect(0);
    const pid = pidOf(cluster, client);
    await cut(cluster, client);
    const again = await cluster.connect(1, { auth: { pid, offset: "7-7" } });
    assert.equal(again.socket.recovered, false);
    assert.equal(offsetOf(again), undefined);
    await toldOnce(client);
    await cluster.disconnect(again);
    cluster.homes.delete(client);
  });

  // Breaks when nobody takes over what a dead node had to tell.
  test("is told for the clients of a killed node, also those that had gone before", async () => {
    const { cluster } = context;
    const victim = await startChildNode({
      redis: context.redis,
      adapterOptions: OPTIONS,
      serverOptions: SERVER,
      extension: require.resolve("./welcome"),
    });
    const clients = await Promise.all(Array.from({ length: 10 }, () => connectClient(victim.url)));
    for (const { socket } of clients) {
      const key = liveKeyOf(/** @type {any} */ (socket)._pid);
      await waitFor(() => context.admin.command("EXISTS", key), { what: "the record" });
    }
    const [before, back, ...connected] = clients;
    before.cut();
    await waitFor(
      () =>
        context.admin.command("EXISTS", `sio:session:${/** @type {any} */ (before.socket)._pid}`),
      { what: "the session of the client that has gone" },
    );
    await victim.kill();
    await waitFor(() => clients.every(({ socket }) => !socket.connected));
    await cluster.reconnect(back, 0);
    assert.ok(back.socket.recovered);
    await toldOnce(before, ...connected);
    assert.deepEqual(toldOf(back), []);
    for (const { session } of told.filter(({ session }) => session.data.name === "welcome")) {
      assert.deepEqual(session.rooms, [session.sid, "room"]);
    }
    await cluster.disconnect(back);
  });

  // Breaks when a time that passes without Redis is passed over, or when nodes that could not show
  // that they are alive count as dead.
  test("is told after an outage, and those of the clients that stayed are not", async () => {
    const { cluster } = context;
    const stays = await cluster.connect(0);
    const gone = await cluster.connect(0);
    await cut(cluster, gone);
    context.redis.pause();
    const until = Date.now() + LIFETIME + 2 * OPTIONS.heartbeatTimeout;
    await waitFor(() => Date.now() > until, SOON);
    assert.deepEqual(toldOf(gone), []);
    context.redis.resume();
    await toldOnce(gone);
    assert.deepEqual(toldOf(stays), []);
    assert.ok(stays.socket.connected);
    await cluster.disconnect(stays);
    cluster.homes.delete(gone);
  });

  // Breaks when the nodes do not agree which of them tells: Redis answers the looks of both at once.
  test("is told once also if all nodes look at the same moment", async () => {
    const { cluster } = context;
    const clients = await Promise.all(Array.from({ length: 40 }, (_, i) => cluster.connect(i % 2)));
    const pids = clients.map((client) => pidOf(cluster, client));
    await Promise.all(clients.map((client) => cut(cluster, client)));
    const keys = pids.map((pid) => `sio:session:${pid}`);
    await waitFor(async () => (await context.admin.command("EXISTS", ...keys)) === keys.length, {
      what: "the sessions",
    });
    context.redis.pause();
    const until = Date.now() + LIFETIME + 500;
    await waitFor(() => Date.now() > until, SOON);
    context.redis.resume();
    await toldOnce(...clients);
    clients.forEach((client) => cluster.homes.delete(client));
  });

  // Breaks when the client gets a DISCONNECT, after which socket.io-client does not come back.
  test("of a client that is still connected makes it start anew", async (t) => {
    const proxy = await startProxy(context.redis.port);
    t.after(() => proxy.close());
    const settings = { host: context.redis.host, port: proxy.port };
    const node = await startNodeOn(
      { adapterArgument: settings, close: async () => {} },
      { adapterOptions: OPTIONS, serverOptions: SERVER },
    );
    t.after(() => node.close());
    const client = await connectClient(node.url, { reconnection: true, reconnectionDelay: 50 });
    t.after(() => client.disconnect());
    const { id } = client;
    const { _pid: pid } = /** @type {any} */ (client.socket);
    await waitFor(() => context.admin.command("EXISTS", liveKeyOf(pid)), { what: "the record" });
    proxy.stall();
    await waitFor(() => toldOf(client).length > 0, { ...SOON, what: "the session to be told" });
    assert.ok(client.socket.connected && client.socket.id === id, "its node knows of nothing");
    proxy.resume();
    proxy.cut();
    await waitFor(() => client.socket.connected && client.socket.id !== id, {
      ...SOON,
      what: () => `the client to start anew (${client.socket.connected})`,
    });
    assert.equal(client.socket.recovered, false);
  });

  test("leaves nothing in Redis", async () => {
    const { cluster } = context;
    const client = await cluster.connect(0);
    await cut(cluster, client);
    await toldOnce(client);
    cluster.homes.delete(client);
    const left = () => context.admin.command("KEYS", "sio:session:expiry:[do]*");
    await waitFor(async () => (await left()).length === 0, {
      ...SOON,
      what: "no entry to be left",
    });
  });
});

describe("without the option", () => {
  const context = useRedis();

  test("nothing is written for it", async () => {
    const options = { nodes: 1, clientsPerNode: 1, serverOptions: SERVER };
    const cluster = await startCluster(context, options);
    const [client] = cluster.clients;
    await cut(cluster, client);
    await settle();
    assert.deepEqual(await context.admin.command("KEYS", "sio:session:expiry:*"), []);
    cluster.homes.delete(client);
    await cluster.close();
  });
});
