// Sessions that Redis refuses for a while, or that cannot be encoded any more: a client is recovered as it
// was when it left, or not at all.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { liveKeyOf } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { takeWarnings, warnings } = require("./warnings");

/** A client that the server has put into the room "secret". @param {import("node:test").TestContext} t */
async function start(t) {
  takeWarnings();
  const redis = await startRedis({ password: "old" });
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const state = { password: "old" };
  const settings = { host: redis.host, port: redis.port, credentials: async () => ({ ...state }) };
  /** @type {import("../helpers/node").SocketIoNode[]} */
  const nodes = [];
  for (const index of [0, 1]) {
    const node = await startNodeOn(
      { adapterArgument: settings, close: async () => {} },
      {
        index,
        adapterOptions: { heartbeatInterval: 300, heartbeatTimeout: 3_000 },
        serverOptions: { connectionStateRecovery: {} },
        setup: (io) =>
          io.on("connection", (socket) => socket.recovered || void socket.join("secret")),
      },
    );
    defer(t, () => node.close());
    nodes.push(node);
  }
  const adapters = nodes.map(({ io }) => /** @type {any} */ (io.of("/").adapter));
  await waitFor(() => adapters.every((adapter) => adapter.stats().connected), {
    what: "the nodes to be connected",
  });
  const client = await connectClient(nodes[0].url);
  defer(t, () => client.disconnect());
  const socketAt = (/** @type {number} */ index) =>
    /** @type {any} */ (nodes[index].io.of("/").sockets.get(client.id));
  const { pid } = socketAt(0);
  /** The record of the connected client. */
  const record = async () => String((await admin.command("HVALS", liveKeyOf(pid)))[0] ?? "");
  const hasRecord = async (/** @type {RegExp} */ pattern) => {
    let seen = "";
    await waitFor(async () => pattern.test((seen = await record())), {
      timeout: 10_000,
      what: () => `a record ${pattern}, not ${JSON.stringify(seen)}`,
    });
  };
  await hasRecord(/secret/);
  return { admin, client, hasRecord, nodes, socketAt, state };
}

/** @typedef {Awaited<ReturnType<typeof start>>} Context */

const FAULTS = {
  "Redis is full": {
    code: "ERR_SIO_REDIS_OOM",
    refuse: (/** @type {Context} */ { admin }) => admin.command("CONFIG", "SET", "maxmemory", 1),
    permit: (/** @type {Context} */ { admin }) => admin.command("CONFIG", "SET", "maxmemory", 0),
  },
  "the password changes, and the nodes learn it later": {
    code: "ERR_SIO_REDIS_AUTH",
    refuse: async (/** @type {Context} */ { admin }) => {
      await admin.command("CONFIG", "SET", "requirepass", "new");
      await admin.command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal");
      await admin.command("CLIENT", "KILL", "TYPE", "pubsub");
    },
    permit: async (/** @type {Context} */ { state }) => void (state.password = "new"),
  },
};

for (const [name, { code, refuse, permit }] of Object.entries(FAULTS)) {
  describe(`${name}:`, () => {
    /** @param {Context} context */
    const changeWhileRefused = async (context) => {
      await refuse(context);
      const socket = context.socketAt(0);
      socket.leave("secret");
      socket.join("other");
      await waitFor(() => warnings.some((warning) => warning.code === code), { what: code });
    };

    // Breaks when a refused session is given up while the record from before stays.
    test("a client that leaves meanwhile is recovered as it was then", async (t) => {
      const context = await start(t);
      const { client, nodes, socketAt } = context;
      await changeWhileRefused(context);
      client.cut();
      await waitFor(() => nodes[0].io.of("/").sockets.size === 0);
      await permit(context);
      await client.reconnect(nodes[1].url, 20_000);
      assert.equal(client.socket.recovered, true, "the cause passed in time");
      assert.deepEqual([...socketAt(1).rooms].sort(), [client.id, "other"].sort());
    });

    // Breaks when nobody writes it again before its next change, or half an hour later.
    test("the record of a client that stays is written afterwards", async (t) => {
      const context = await start(t);
      await changeWhileRefused(context);
      await permit(context);
      await context.hasRecord(/^(?!.*secret).*other/s);
    });
  });
}

// Breaks when the record from before stays, into which its client would be recovered if the node died.
test("a session that cannot be encoded any more has no record until it can", async (t) => {
  const { client, hasRecord, nodes, socketAt } = await start(t);
  const socket = socketAt(0);
  socket.data.self = socket.data;
  socket.leave("secret");
  await hasRecord(/^$/);
  delete socket.data.self;
  socket.join("other");
  await hasRecord(/^(?!.*secret).*other/s);
  client.cut();
  await client.reconnect(nodes[1].url);
  assert.equal(client.socket.recovered, true);
});

// Breaks when a restore waits until the turn of its session comes, a part of all in each interval.
test("a client is not kept waiting while Redis is full, however many sessions wait", async (t) => {
  const { admin, client, nodes } = await start(t);
  await admin.command("CONFIG", "SET", "maxmemory", 1);
  const { engine } = /** @type {any} */ (nodes[0].io.of("/").adapter);
  for (let i = 0; i < 200; i++) {
    engine.sessions.end("/", `other${i}`, 0, Buffer.alloc(100_000, 0xc0), 120_000);
  }
  client.cut();
  await client.reconnect(nodes[0].url, 25_000);
  assert.equal(client.socket.recovered, false);
});
