// Sessions that are too much for Redis or for the link to it: one that is too large stands in the way of
// no other, and a slow link is waited for.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startNodeOn } = require("../helpers/node");
const { sessionsIn } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { OUTAGE } = require("./refused-pair");
const { takeWarnings } = require("./warnings");

const TOO_LARGE = "ERR_SIO_REDIS_TOO_LARGE";
const REFUSED = "ERR_SIO_REDIS_REFUSED";
const MB = 1_000_000;

/**
 * A node behind a proxy.
 *
 * @param {import("node:test").TestContext} t
 * @param {string[]} [args] of redis-server
 */
async function start(t, args) {
  takeWarnings();
  const redis = await startRedis({ args });
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const proxy = await startProxy(redis.port);
  defer(t, () => proxy.close());
  const settings = { host: redis.host, port: proxy.port };
  const node = await startNodeOn(
    { adapterArgument: settings, close: async () => {} },
    { serverOptions: { connectionStateRecovery: {} } },
  );
  defer(t, () => node.close());
  const adapter = /** @type {any} */ (node.io.of("/").adapter);
  await waitFor(() => adapter.stats().connected, { what: "the connections" });
  const saved = async () => (await sessionsIn(admin)).length;
  return { admin, proxy, node, adapter, saved };
}

describe("a session that is larger than proto-max-bulk-len", () => {
  const CLIENTS = 20;

  for (const delay of [0, 40]) {
    // Breaks when a session over which Redis ends the connection is sent again for ever, with the
    // others: none is saved then.
    test(`is not saved, and all others are, ${2 * delay} ms away from Redis`, async (t) => {
      const { proxy, node, saved } = await start(t, ["--proto-max-bulk-len", "1mb"]);
      const clients = await Promise.all(
        Array.from({ length: CLIENTS }, () => connectClient(node.url)),
      );
      defer(t, () => clients.forEach((client) => client.disconnect()));
      node.io.emit("first");
      await Promise.all(clients.map((client) => client.receives("first")));
      proxy.delay(delay);
      const [large, ...others] = clients;
      const socket = /** @type {any} */ (node.io.sockets.sockets.get(large.id));
      socket.data.load = "x".repeat(3 * MB);
      await socket.join("a room"); // its session is written again
      clients.forEach((client) => client.cut());
      await waitFor(async () => (await saved()) === CLIENTS - 1, {
        timeout: 20_000,
        what: "the others' sessions to be saved",
      });
      for (const client of others) {
        await client.reconnect(node.url);
        assert.equal(client.socket.recovered, true);
      }
      await large.reconnect(node.url, 20_000);
      assert.equal(large.socket.recovered, false);
      const said = takeWarnings().filter(({ code }) => code !== OUTAGE);
      assert.equal(said.length, 1, JSON.stringify(said));
      const [{ code, message }] = said;
      assert.ok([TOO_LARGE, REFUSED].includes(code), code);
      assert.match(message, code === TOO_LARGE ? /proto-max-bulk-len/ : /Protocol error/);
    });
  }
});

// Breaks when a time limit is for all that is sent, and not for silence.
test("over a slow link, sessions are saved on the first connection", async (t) => {
  const SESSIONS = 400;
  const { admin, proxy, adapter, saved } = await start(t);
  adapter.persistSession({ sid: "s", pid: "pid-first", rooms: ["s"], data: {} });
  await waitFor(async () => (await saved()) === 1, { what: "a session to be saved" });
  const connected = async () => {
    const info = String(await admin.command("INFO", "stats"));
    return Number(/total_connections_received:(\d+)/.exec(info)?.[1]);
  };
  const before = await connected();
  proxy.limit(64_000, "up");
  for (let i = 0; i < SESSIONS; i++) {
    const data = { load: "x".repeat(1_000) };
    adapter.persistSession({ sid: `s${i}`, pid: `pid-${i}`, rooms: [`s${i}`], data });
  }
  await waitFor(async () => (await saved()) === SESSIONS + 1, {
    timeout: 30_000,
    what: "the sessions to be saved",
  });
  assert.equal(await connected(), before, "connections");
  assert.deepEqual(takeWarnings(), []);
});
