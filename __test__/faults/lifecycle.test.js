// Starting and closing: nothing is left behind, nothing that was accepted is dropped, and nobody is
// kept waiting.

"use strict";

const assert = require("node:assert/strict");
const { readdirSync } = require("node:fs");
const { createServer } = require("node:http");
const { createServer: createListener } = require("node:net");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { setFlagsFromString } = require("node:v8");
const { runInNewContext } = require("node:vm");
const { Server } = require("socket.io");
const { createAdapterOf } = require("../helpers/adapters");
const { startCluster, useRedis } = require("../helpers/cluster");
const { startNode } = require("../helpers/node");
const { freePort, RedisServer, startRedis } = require("../helpers/redis-server");
const { startWorkerNode } = require("../helpers/remote-node");
const { connectClient } = require("../helpers/socket-client");
const { once, settle, waitFor, within } = require("../helpers/wait");
const { entriesAfter } = require("../helpers/wire");
const { defer } = require("./defer");
const { Run } = require("./run");
const { Traffic } = require("./traffic");
require("./warnings"); // outages are warned of

/** How long the engine flushes at its end, at most (ms), and something for a slow machine. */
const FLUSH_LIMIT = 5_000 + 2_000;

const createAdapter = createAdapterOf(0);
const context = useRedis();

/** @returns {Promise<string[]>} the connections of everyone but the tests' own client */
async function connections() {
  const own = await context.admin.command("CLIENT", "ID");
  const list = await context.admin.command("CLIENT", "LIST");
  return list
    .split("\n")
    .filter((/** @type {string} */ line) => line !== "" && !line.startsWith(`id=${own} `));
}

async function noConnections() {
  /** @type {string[]} */
  let left = [];
  await waitFor(async () => (left = await connections()).length === 0, {
    what: () => `all connections to be closed:\n${left.join("\n")}`,
  });
}

/** How many of each kind of thing keep this process alive or open. */
function resources() {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const kind of process.getActiveResourcesInfo()) {
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  // The polling of the tests themselves.
  delete counts.Timeout;
  delete counts.Immediate;
  return counts;
}

/** @param {"fd" | "task"} what descriptors or threads */
const countOf = (what) => readdirSync(`/proc/self/${what}`).length;

/**
 * Collects garbage until a condition holds: the engine's runtime goes with the last engine's object.
 *
 * @param {() => boolean} condition
 * @param {() => string} what
 */
async function collectUntil(condition, what) {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc");
  await waitFor(
    () => {
      gc();
      return condition();
    },
    { interval: 50, what },
  );
}

const linux = process.platform === "linux" ? false : "counts in /proc";

/** A server without a port, whose adapter's engine is all that is there. @param {any} redis */
function startBare(redis = context.redis.url, options = {}) {
  const adapter = createAdapter(redis, { blockTimeInMs: 60_000, ...options });
  return new Server(createServer(), { adapter });
}

/** @param {Server} io @returns {any} */
const adapterOf = (io, nsp = "/") => io.of(nsp).adapter;

describe("close", () => {
  // Breaks when a task, a connection or a handle outlives the adapter.
  test("leaves nothing behind", async () => {
    const round = async () => {
      const cluster = await startCluster(context, { nodes: 2, namespaces: ["/", "/chat"] });
      const traffic = new Traffic([cluster.io(0), cluster.io(1)], cluster.clients);
      for (let i = 0; i < 50; i++) {
        traffic.emit(i % 2);
      }
      await traffic.assertComplete();
      await cluster.io(0).fetchSockets();
      await cluster.close();
    };
    await round(); // loads what is loaded once
    await noConnections();
    const before = resources();
    await round();
    await noConnections();
    await waitFor(() => JSON.stringify(resources()) === JSON.stringify(before), {
      what: () => `${JSON.stringify(resources())} to be ${JSON.stringify(before)}`,
    });
  });

  // Breaks when a second close waits for what the first has ended, or rejects.
  test("can be called again, also at once, and io.close() too", async (t) => {
    const node = await startNode({ redis: context.redis, client: "url" });
    defer(t, () => node.close());
    const adapter = adapterOf(node.io);
    await Promise.all([adapter.close(), adapter.close()]);
    await adapter.close();
    await Promise.all([node.io.close(), node.io.close()]);
    await node.io.close();
    await noConnections();
  });

  // Breaks when what is asked of a closed engine is never answered, or throws.
  test("everything can still be called afterwards", async (t) => {
    const node = await startNode({ redis: context.redis, client: "url" });
    defer(t, () => node.close());
    const { io } = node;
    const client = await connectClient(node.url);
    await adapterOf(io).close();
    io.emit("to the local clients");
    await client.receives("to the local clients");
    assert.equal(await adapterOf(io).serverCount(), 1);
    assert.equal((await within(io.fetchSockets(), "fetchSockets")).length, 1);
    io.serverSideEmit("nobody");
    const ended = io.serverSideEmitWithAck("nobody").catch(() => {}); // or no answers; but an end
    await within(ended, "serverSideEmit to end", 2_000);
    io.socketsJoin("room");
    io.to("room").emit("to a room");
    await client.receives("to a room");
    io.socketsLeave("room");
    io.disconnectSockets();
    await waitFor(() => !client.socket.connected, { what: "the client to be disconnected" });
    assert.equal(typeof adapterOf(io).stats().published, "number");
    await node.close();
    await noConnections();
  });

  // Breaks when the end waits for Redis, or rejects when it does not come.
  test("ends within its limit while Redis is away", async (t) => {
    const stopped = await startRedis();
    defer(t, () => stopped.stop());
    const killed = await startRedis();
    defer(t, () => killed.stop());
    const never = { url: `redis://127.0.0.1:${await freePort()}` };
    const mute = createListener(() => {}).listen(0, "127.0.0.1"); // accepts, and never answers
    defer(t, () => mute.close());
    await once(mute, "listening");
    const { port } = /** @type {import("node:net").AddressInfo} */ (mute.address());
    const deaf = { url: `redis://127.0.0.1:${port}` };
    const servers = [stopped, killed, never, deaf].map(({ url }) => startBare(url));
    await Promise.all(servers.slice(0, 2).map((io) => adapterOf(io).serverCount()));
    stopped.pause();
    await killed.kill();
    const idle = startBare(never.url);
    servers.forEach((io) => io.emit("never out"));
    const start = Date.now();
    await within(adapterOf(idle).close(), "an engine with nothing to say to close", 2_000);
    await within(
      Promise.all(servers.map((io) => adapterOf(io).close())),
      "the engines to close",
      FLUSH_LIMIT,
    );
    assert.ok(Date.now() - start > 1_000, "Redis gets a chance to come back");
  });

  // Breaks when what only says that this node is there, which nobody hears now, is waited for.
  test("with requests in the stream, a node with nothing to say ends at once while Redis is away", async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    const [idle, busy] = [0, 1].map(() => startBare(redis.url, { requestsVia: "stream" }));
    await waitFor(async () => (await adapterOf(idle).serverCount()) === 2);
    await redis.kill();
    await waitFor(() => !adapterOf(idle).stats().connected && !adapterOf(busy).stats().connected);
    busy.emit("never out");
    const start = performance.now();
    const [idleMs, busyMs] = await Promise.all(
      [idle, busy].map(async (io) => {
        await adapterOf(io).close();
        return performance.now() - start;
      }),
    );
    assert.ok(idleMs < busyMs / 2, `${idleMs} ms, with something to say ${busyMs} ms`);
  });

  // Breaks when the flush ends before what was accepted is out.
  test("what was emitted just before goes out", async () => {
    await context.admin.command("DEL", "socket.io");
    for (let round = 1; round <= 5; round++) {
      const io = startBare();
      for (let i = 0; i < 1_000; i++) {
        io.emit("packet", i);
      }
      await adapterOf(io).close();
      assert.equal(await context.admin.command("XLEN", "socket.io"), round * 1_000);
    }
    await noConnections();
  });

  // Breaks when a namespace's end takes another one with it, or an ended engine is used again.
  test("a namespace that was closed can be opened again", async (t) => {
    const cluster = await startCluster(context, { namespaces: ["/", "/chat"], clientsPerNode: 0 });
    defer(t, () => cluster.close());
    const io = cluster.io(0);
    const check = async () => {
      await cluster.whole("/chat");
      const clients = await Promise.all([0, 1, 2].map((i) => cluster.connect(i, { nsp: "/chat" })));
      const traffic = new Traffic(
        cluster.nodes.map((node) => node.io.of("/chat")),
        clients,
      );
      [0, 1, 2].forEach((from) => traffic.emit(from));
      await traffic.assertComplete();
      assert.equal((await io.of("/chat").fetchSockets()).length, 3);
      await Promise.all(clients.map((client) => cluster.disconnect(client)));
    };
    await check();
    for (let round = 0; round < 2; round++) {
      await adapterOf(io, "/chat").close();
      io._nsps.delete("/chat"); // as socket.io does with empty child namespaces
      await check();
    }
    for (let round = 0; round < 2; round++) {
      await Promise.all([adapterOf(io).close(), adapterOf(io, "/chat").close()]); // the engine ends
      io.of("/")._initAdapter();
      io._nsps.delete("/chat");
      await check();
      await cluster.whole("/");
    }
  });

  // The same without waiting for the end of the one before: breaks when the late end of the old one
  // closes the new one.
  test("a namespace that is being closed can be opened again", async (t) => {
    const cluster = await startCluster(context, { nodes: 2, namespaces: ["/", "/chat"] });
    defer(t, () => cluster.close());
    const io = cluster.io(0);
    for (let round = 0; round < 5; round++) {
      const closing = adapterOf(io, "/chat").close();
      io._nsps.delete("/chat");
      io.of("/chat");
      await closing;
      await cluster.whole("/chat");
    }
  });
});

describe("many engines", { skip: linux }, () => {
  // Breaks when an engine leaves a descriptor or a thread behind, or each brings threads of its own.
  test("leave nothing behind, opened and closed 50 times", async () => {
    const round = async (/** @type {number} */ count) => {
      const servers = Array.from({ length: count }, () => startBare());
      await Promise.all(servers.map((io) => adapterOf(io).serverCount()));
      servers.forEach((io) => io.emit("packet"));
      const threads = countOf("task");
      await Promise.all(servers.map((io) => adapterOf(io).close()));
      return threads;
    };
    const threadsOfOne = await round(1);
    await noConnections();
    await collectUntil(
      () => countOf("task") < threadsOfOne,
      () => "the engine's threads to end",
    );
    const before = { fd: countOf("fd"), task: countOf("task") };
    for (let i = 0; i < 5; i++) {
      const threadsOfTen = await round(10);
      assert.ok(threadsOfTen <= threadsOfOne, `${threadsOfTen} threads, one engine has them too`);
    }
    await noConnections();
    await collectUntil(
      () => countOf("fd") <= before.fd && countOf("task") <= before.task,
      () => `${countOf("fd")} fds, ${countOf("task")} threads to be ${JSON.stringify(before)}`,
    );
  });
});

// These break when a connection, a timer or a thread of ours keeps the process alive, or when it
// does not live until what it has emitted is out.
describe("a process of its own", () => {
  /**
   * @param {string} scenario
   * @param {string} url
   * @param {import("../helpers/adapters").Kind} [kind]
   */
  const runScenario = (scenario, url, kind = "native") =>
    new Run(join(__dirname, "exit-scenarios.js"), [scenario, url], { ADAPTER: kind });

  /** @type {Record<string, { entries: number, code?: number, output?: RegExp }>} */
  const EXPECTED = {
    idle: { entries: 0 },
    emit: { entries: 10 },
    emitAndClose: { entries: 10 },
    listenAndClose: { entries: 0 },
    ask: { entries: 0, output: /^0 sockets$/m },
  };

  for (const [scenario, { entries, output = /^$/ }] of Object.entries(EXPECTED)) {
    // With requests in the stream, no heartbeat keeps it alive either.
    for (const kind of /** @type {const} */ (["native", "native-stream"])) {
      test(`ends by itself: ${scenario}, ${kind}`, async (t) => {
        await context.admin.command("DEL", "socket.io");
        const run = runScenario(scenario, context.redis.url, kind).endWith(t);
        await run.assertExits();
        assert.match(run.output, output);
        const written = await entriesAfter(context.admin, "socket.io");
        const messages = written.filter(({ fields }) => fields.type === "3");
        assert.equal(messages.length, entries);
        await noConnections();
      });
    }
  }

  test("can be ended in the middle of everything", async (t) => {
    const run = runScenario("exit", context.redis.url).endWith(t);
    await run.assertExits(7);
    assert.equal(run.output, "");
    await noConnections();
  });

  test("waits for a Redis that is away with what it has emitted, and with nothing else", async (t) => {
    const port = await freePort();
    const url = `redis://127.0.0.1:${port}`;
    await runScenario("idle", url).endWith(t).assertExits();
    const run = runScenario("emit", url).endWith(t);
    await waitFor(() => run.output.includes("no connection to Redis"), { what: "the warning" });
    await settle();
    assert.ok(run.isRunning, "it waits");
    const redis = new RedisServer({});
    defer(t, () => redis.stop());
    await redis.launch(port);
    await run.assertExits();
    const { createAdmin } = require("../helpers/clients");
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    assert.equal(await admin.command("XLEN", "socket.io"), 10);
  });
});

describe("worker_threads", () => {
  // Breaks when the engine of a thread that was ended keeps its connections, calls into what is
  // gone, or takes the runtime of the others with it.
  test("a worker that is terminated with its adapter open leaves the process unharmed", async (t) => {
    const { redis } = context;
    const node = await startNode({ redis, client: "url" });
    defer(t, () => node.close());
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    const counts = async (/** @type {number} */ expected) => {
      await waitFor(async () => (await adapterOf(node.io).serverCount()) === expected, {
        what: `${expected} servers`,
      });
    };
    await counts(1);
    const own = (await connections()).length;
    const traffic = new Traffic([node.io], [client]);
    for (let round = 0; round < 4; round++) {
      const workers = await Promise.all(
        Array.from({ length: 2 }, () => startWorkerNode({ redis, client: "url" })),
      );
      await counts(3);
      traffic.start(1); // the workers are in the middle of something
      await Promise.all(workers.map((worker) => worker.emit("from the worker")));
      await Promise.all(workers.map((worker) => worker.terminate()));
      await counts(1);
      await waitFor(async () => (await connections()).length <= own + 1, {
        what: "the connections of the workers to be closed",
      });
      await traffic.flows();
      traffic.stop();
      await traffic.assertComplete();
    }
  });

  // Breaks when something of ours holds a thread whose adapter is closed.
  test("a worker that closes its adapter ends by itself", async (t) => {
    const worker = await startWorkerNode({ redis: context.redis, client: "url" });
    defer(t, () => worker.terminate());
    assert.equal(await worker.close(), 0);
    await noConnections();
  });
});
