// A Redis that is restarted, or stands still for a while: nothing that was emitted meanwhile is
// lost, doubled or out of order, and nodes may start before Redis does.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startCluster } = require("../helpers/cluster");
const { startNode } = require("../helpers/node");
const { freePort, RedisServer, startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { decodeData, entriesAfter } = require("../helpers/wire");
const { defer } = require("./defer");
const { EVENT, Traffic } = require("./traffic");
require("./warnings"); // outages are warned of

/** ms between two packets of a node */
const RATE = 5;
/** Trimming is another matter. */
const OPTIONS = { maxLen: 100_000 };
/** ms; an attempt to connect to a Redis that stands still takes its time. */
const RECOVERY = 15_000;

/** @param {any} io @returns {any} */
const statsOf = (io) => io.of("/").adapter.stats();

/**
 * Three nodes with a client each on a server of their own, and traffic between them.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("../helpers/redis-server").RedisServerOptions} options
 */
async function startTraffic(t, options) {
  const redis = await startRedis(options);
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  const cluster = await startCluster({ redis, admin }, { adapterOptions: OPTIONS });
  defer(t, () => cluster.close());
  const traffic = new Traffic(
    cluster.nodes.map(({ io }) => io),
    cluster.clients,
  );
  traffic.start(RATE);
  defer(t, () => traffic.stop());
  await traffic.flows();
  return { redis, admin, cluster, traffic };
}

/**
 * Asserts that the stream holds each packet once.
 *
 * @param {import("../helpers/clients").Admin} admin
 * @param {Traffic} traffic
 */
async function assertPublishedOnce(admin, traffic) {
  const entries = await entriesAfter(admin, "socket.io");
  const packets = entries
    .filter(({ fields }) => fields.type === "3")
    .map(({ fields }) => decodeData(fields.data).packet.data)
    .filter(([event]) => event === EVENT);
  assert.equal(packets.length, traffic.total, "no packet is in the stream twice");
}

/** @param {import("../helpers/cluster").Cluster} cluster */
async function assertRequestsWork(cluster) {
  await waitFor(
    async () => {
      // What is asked before the subscriptions are back is answered in vain.
      const sockets = await cluster
        .io(0)
        .timeout(500)
        .fetchSockets()
        .catch(() => []);
      return sockets.length === 3;
    },
    { timeout: RECOVERY, what: "a request to be answered" },
  );
}

describe("nothing is lost or doubled while Redis with appendfsync always", () => {
  // Breaks when reading resumes anywhere but behind the last entry that was read, when a batch in
  // doubt is dropped or sent again unseen, and when what is emitted meanwhile is not kept.
  for (const signal of /** @type {NodeJS.Signals[]} */ (["SIGTERM", "SIGKILL"])) {
    test(`is restarted, by ${signal}`, async (t) => {
      const { redis, admin, cluster, traffic } = await startTraffic(t, { appendOnly: true });
      for (let round = 0; round < 3; round++) {
        await redis.end(signal);
        const emitted = traffic.total;
        await waitFor(() => traffic.total > emitted + 60, { what: "packets while it is away" });
        await redis.restart();
        await waitFor(
          () =>
            traffic.flows().then(
              () => true,
              () => false,
            ),
          {
            timeout: RECOVERY,
            what: "packets to flow again",
          },
        );
      }
      traffic.stop();
      await traffic.assertComplete({ timeout: RECOVERY });
      await assertPublishedOnce(admin, traffic);
      await assertRequestsWork(cluster);
      for (const { io } of cluster.nodes) {
        const { doubtful, failed } = statsOf(io);
        assert.deepEqual({ doubtful, failed }, { doubtful: 0, failed: 0 });
      }
    });
  }

  // Shorter than the engine waits for an answer, and longer: then connections are given up whose
  // packets Redis still reads when it goes on. Breaks when they are sent again without looking.
  for (const pause of [1_000, 6_500]) {
    test(`stands still for ${pause} ms`, async (t) => {
      const { redis, admin, cluster, traffic } = await startTraffic(t, { appendOnly: true });
      redis.pause();
      const counts = traffic.clients.map((client) => client.received(EVENT).length);
      await settle(pause);
      assert.ok(
        traffic.total - Math.max(...counts) > pause / RATE,
        "packets were emitted meanwhile",
      );
      redis.resume();
      traffic.stop();
      await traffic.assertComplete({ timeout: RECOVERY });
      await assertPublishedOnce(admin, traffic);
      await assertRequestsWork(cluster);
      traffic.emit(1);
      await traffic.assertComplete();
      for (const { io } of cluster.nodes) {
        const { doubtful, failed } = statsOf(io);
        assert.deepEqual({ doubtful, failed }, { doubtful: 0, failed: 0 });
      }
    });
  }
});

describe("packets flow again when Redis without persistence", () => {
  // Breaks when nodes go on waiting behind entries that are gone, or what is emitted while it is
  // away is dropped with the stream.
  test("is restarted, and the stream is gone", async (t) => {
    const { redis, admin, cluster, traffic } = await startTraffic(t, {});
    for (let round = 0; round < 3; round++) {
      traffic.stop();
      await traffic.assertComplete(); // what is gone was read
      await redis.kill();
      traffic.start(RATE);
      const emitted = traffic.total;
      await waitFor(() => traffic.total > emitted + 60, { what: "packets while it is away" });
      await redis.restart();
      await waitFor(
        () =>
          traffic.flows().then(
            () => true,
            () => false,
          ),
        {
          timeout: RECOVERY,
          what: "packets to flow again",
        },
      );
      await assertRequestsWork(cluster);
    }
    traffic.stop();
    await traffic.assertComplete({ timeout: RECOVERY });
    assert.ok((await admin.command("XLEN", "socket.io")) < traffic.total, "the stream was gone");
  });
});

describe("a node that starts before Redis", () => {
  // Breaks when a failed first connection is final, and when what is emitted before is not kept.
  test("comes up when Redis does, and what it has emitted goes out", async (t) => {
    const redis = new RedisServer({});
    redis.port = await freePort();
    defer(t, () => redis.stop());
    /** @type {import("../helpers/node").SocketIoNode[]} */
    const nodes = [];
    for (const index of [0, 1]) {
      const node = await startNode({ redis, index, client: "url" });
      defer(t, () => node.close());
      nodes.push(node);
    }
    const clients = await Promise.all(nodes.map(({ url }) => connectClient(url)));
    defer(t, () => clients.forEach((client) => client.disconnect()));
    const own = clients.map((client, i) => new Traffic([nodes[i].io], [client]));
    for (let i = 0; i < 20; i++) {
      own.forEach((traffic) => traffic.emit());
    }
    await settle();
    assert.ok(own.every(({ clients: [client] }) => client.received(EVENT).length === 0));

    await redis.launch(redis.port);
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    await waitFor(
      async () => {
        const counts = nodes.map(({ io }) => /** @type {any} */ (io.of("/").adapter).serverCount());
        return (await Promise.all(counts)).every((count) => count === 2);
      },
      { what: "the nodes to see each other" },
    );
    await waitFor(async () => (await admin.command("XLEN", "socket.io")) === 40, {
      what: "what was emitted before to be in the stream",
    });
    await Promise.all(clients.map((client) => client.receives(EVENT, 40)));

    nodes.forEach(({ io }, i) => io.emit("after", i));
    await Promise.all(clients.map((client) => client.receives("after", 2)));
    for (const [event, count] of /** @type {const} */ ([
      [EVENT, 40],
      ["after", 2],
    ])) {
      const [first, second] = clients.map((client) => client.received(event));
      assert.equal(first.length, count);
      assert.deepEqual(first, second);
    }
  });

  // Breaks when reading begins where the stream ends once the connection stands: clients are there
  // before that.
  test("reads what others have written since it was started", async (t) => {
    const redis = await startRedis();
    defer(t, () => redis.stop());
    const writer = await startNode({ redis, index: 0 });
    defer(t, () => writer.close());
    writer.io.emit("from before");
    await waitFor(() => statsOf(writer.io).published === 1);
    const port = await freePort();
    const unreachable = Object.create(redis, { url: { value: `redis://127.0.0.1:${port}` } });
    await settle(); // what was emitted before is older than the node by more than Redis's clock shows
    const node = await startNode({ redis: unreachable, index: 1, client: "url" });
    defer(t, () => node.close());
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    for (let number = 0; number < 20; number++) {
      writer.io.emit(EVENT, number);
    }
    await waitFor(() => statsOf(writer.io).published === 21);
    const proxy = await startProxy(redis.port, undefined, { port });
    defer(t, () => proxy.close());
    await client.receives(EVENT, 20);
    assert.deepEqual(
      client.received(EVENT).map(([number]) => number),
      Array.from({ length: 20 }, (_, number) => number),
    );
    assert.deepEqual(client.received("from before"), []);
  });
});
