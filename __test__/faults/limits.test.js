// What is too much for Redis or for the link to it: packets above a limit of the server, replies above
// an output buffer limit, slow links, a host that vanishes. Nothing is tried in the same way for ever.

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
const { EVENT, Traffic } = require("./traffic");
const { OPTIONS } = require("./two-nodes");
const { takeWarnings, warnings } = require("./warnings");

const TOO_LARGE = "ERR_SIO_REDIS_TOO_LARGE";
const REFUSED = "ERR_SIO_REDIS_REFUSED";
const MB = 1_000_000;

/**
 * Node 0 behind a proxy, node 1 directly at the server, with a client each.
 *
 * @param {import("node:test").TestContext} t
 * @param {string[]} [args] of redis-server
 * @param {Record<string, unknown>} [adapterOptions]
 */
async function start(t, args, adapterOptions) {
  takeWarnings();
  const redis = await startRedis({ args });
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const swallow = { next: false };
  const proxy = await startProxy(redis.port, (_, direction, chunk) => {
    if (swallow.next && direction === "up" && chunk.includes("\r\nXADD\r\n")) {
      swallow.next = false;
      proxy.stall();
      return { pass: 0 };
    }
  });
  defer(t, () => proxy.close());
  const nodes = [];
  for (const port of [proxy.port, redis.port]) {
    const handle = { adapterArgument: { host: redis.host, port }, close: async () => {} };
    const node = await startNodeOn(handle, {
      adapterOptions: { ...OPTIONS, ...adapterOptions },
      serverOptions: { connectionStateRecovery: {} },
    });
    defer(t, () => node.close());
    nodes.push(node);
  }
  const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
  defer(t, () => clients.forEach((client) => client.disconnect()));
  const ios = nodes.map(({ io }) => io);
  const traffic = new Traffic(ios, clients);
  // Both write and read.
  traffic.emit(0);
  traffic.emit(1);
  await traffic.assertComplete();
  /** @param {number} index @returns {any} */
  const stats = (index) => /** @type {any} */ (ios[index].of("/").adapter).stats();
  return { admin, proxy, swallow, nodes, ios, clients, traffic, stats };
}

/**
 * Swallows the next batch of node 0: it is sent, does not arrive, and then its connections are cut.
 * The proxy carries nothing until it is resumed.
 *
 * @param {Awaited<ReturnType<typeof start>>} of
 */
async function leaveInDoubt({ proxy, swallow, traffic }) {
  swallow.next = true;
  traffic.emit(0);
  await waitFor(() => !swallow.next, { what: "a batch to be sent" });
  proxy.cut();
}

describe("a packet that is larger than", () => {
  const LIMITS = {
    "proto-max-bulk-len": ["--proto-max-bulk-len", "1mb"],
    "client-query-buffer-limit": ["--client-query-buffer-limit", "1mb"],
  };
  for (const [name, args] of Object.entries(LIMITS)) {
    for (const delay of [0, 40]) {
      // Breaks when a packet over which Redis ends the connection is sent again for ever: nothing
      // behind it leaves the node then. Whether the node gets Redis's error depends on the delay.
      test(`${name} fails alone, ${2 * delay} ms away from Redis`, async (t) => {
        const { proxy, ios, clients, stats } = await start(t, args);
        proxy.delay(delay);
        const [local, remote] = clients;
        ios[0].emit("e", "before");
        ios[0].emit("e", "large", "x".repeat(3 * MB));
        ios[0].emit("e", "after");
        const names = (/** @type {typeof local} */ client) =>
          client.received("e").map(([packet]) => packet);
        await waitFor(() => names(remote).includes("after"), {
          timeout: 20_000,
          what: "what is behind it to reach the other node",
        });
        await local.receives("e", 3);
        assert.deepEqual(names(local), ["before", "large", "after"]);
        assert.deepEqual(names(remote), ["before", "after"]);
        assert.deepEqual([stats(0).failed, stats(0).queueLength], [1, 0]);
        const said = takeWarnings().filter(({ code }) => code !== OUTAGE);
        assert.equal(said.length, 1, JSON.stringify(said));
        const [{ code, message }] = said;
        assert.ok([TOO_LARGE, REFUSED].includes(code), code);
        assert.match(message, code === TOO_LARGE ? new RegExp(name) : /Protocol error/);
      });
    }
  }
});

// `client-output-buffer-limit normal` is off by default, and on at managed services.
describe("with an output buffer limit of 2 MB", () => {
  const LIMIT = ["--client-output-buffer-limit", "normal 2mb 0 0"];
  const LOAD = "x".repeat(100_000);
  const PACKETS = 60;

  // Breaks when the reader asks for the same page again after Redis has ended the connection.
  test("a node that was cut off reads what it has missed", async (t) => {
    const { proxy, traffic } = await start(t, LIMIT);
    proxy.stall();
    for (let i = 0; i < PACKETS; i++) {
      traffic.emit(1, LOAD);
    }
    await waitFor(() => traffic.clients[1].received(EVENT).length === traffic.total);
    proxy.resume();
    await traffic.assertComplete();
  });

  // Breaks when a batch in doubt is looked for in pages that Redis does not let pass.
  test("a batch in doubt is settled", async (t) => {
    const parts = await start(t, LIMIT);
    const { proxy, traffic, stats } = parts;
    await leaveInDoubt(parts);
    for (let i = 0; i < PACKETS; i++) {
      traffic.emit(1, LOAD);
    }
    await waitFor(() => traffic.clients[1].received(EVENT).length === traffic.total - 1);
    proxy.resume();
    await traffic.assertComplete();
    assert.equal(stats(0).doubtful, 0, "doubtful");
  });

  // Breaks when what a client has missed is read in pages that Redis does not let pass.
  test("a client that comes back gets what it has missed", async (t) => {
    const { admin, nodes, traffic, stats } = await start(t, LIMIT, { historyBytes: 1_000 });
    const [client] = traffic.clients;
    client.cut();
    await waitFor(async () => (await sessionsIn(admin)).length === 1, {
      what: "its session to be saved",
    });
    for (let i = 0; i < PACKETS; i++) {
      traffic.emit(1, LOAD);
    }
    await waitFor(() => stats(0).position === stats(1).position);
    await client.reconnect(nodes[0].url);
    assert.equal(client.socket.recovered, true);
    await traffic.assertComplete();
  });
});

describe("over a slow link", () => {
  // Breaks when the search for a batch in doubt begins at what this node has written last, and reads
  // everything since, within the time limit for an answer.
  test("a batch in doubt is settled, whatever others have written before it", async (t) => {
    const parts = await start(t);
    const { proxy, traffic, stats } = parts;
    for (let i = 0; i < 700; i++) {
      traffic.emit(1, "x".repeat(20_000));
    }
    await traffic.assertComplete();
    await leaveInDoubt(parts);
    proxy.limit(2 * MB, "down");
    proxy.resume();
    await traffic.assertComplete();
    assert.equal(stats(0).doubtful, 0, "doubtful");
  });

  // Breaks when a time limit is for the whole of what is sent, and not for silence: a batch of small
  // packets is sent again and again then.
  test("a large batch goes out, on the first connection", async (t) => {
    const { proxy, traffic, stats } = await start(t);
    const { reconnects } = stats(0);
    proxy.limit(64_000 / 8, "up");
    for (let i = 0; i < 60; i++) {
      traffic.emit(0, "x".repeat(1_000));
    }
    await traffic.assertComplete({ timeout: 30_000 });
    assert.equal(stats(0).reconnects, reconnects, "reconnects");
    assert.deepEqual(warnings, []);
  });
});

// Breaks when a large packet may take so long that a host which has gone is waited for.
test("a host that vanishes in the middle of a publish of 5 MB is left", async (t) => {
  const { proxy, traffic, stats } = await start(t);
  proxy.limit(5 * MB, "up");
  traffic.emit(0, "x".repeat(5 * MB));
  traffic.emit(0);
  const passed = () => Math.max(...[...proxy.links].map(({ server }) => server.bytesWritten));
  await waitFor(() => passed() > MB, { what: "some of it to be on its way" });
  assert.ok(passed() < 4 * MB, "not all of it has passed");
  proxy.limit(Infinity);
  proxy.links.forEach((link) => link.stall()); // those that replace them carry as ever
  // Twice what it takes, and less than half of what 5 MB may take at 64 KiB/s.
  await traffic.assertComplete({ timeout: 30_000 });
  const { doubtful, failed } = stats(0);
  assert.deepEqual({ doubtful, failed }, { doubtful: 0, failed: 0 });
});
