// Connections to Redis that are cut or stall while packets are on their way: nothing is lost,
// nothing is doubled, one order on every node.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { startCluster, useRedis } = require("../helpers/cluster");
const { startNode } = require("../helpers/node");
const { connectClient } = require("../helpers/socket-client");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { random, seed } = require("./random");
const { Traffic } = require("./traffic");
const {
  LATE,
  writerCutter,
  emitUntil,
  startUpstreamReader,
  packetsInStream,
} = require("./writer-cuts");
require("./warnings"); // each cut is warned of

/** @typedef {import("../helpers/cluster").Cluster} Cluster */
/** @typedef {import("../helpers/tcp-proxy").Inspect} Inspect */

const CUTS = 20;
/** ms between two packets of a node */
const RATE = 4;

// Trimming is another matter.
const OPTIONS = { maxLen: 100_000 };

const context = useRedis();

/** @param {any} io @returns {any} */
const statsOf = (io) => io.of("/").adapter.stats();

/**
 * Asserts that requests reach all nodes, without a second try.
 *
 * @param {Cluster} cluster
 */
async function assertRequestsWork(cluster) {
  const { nodes, clients } = cluster;
  const sockets = await cluster.io(0).fetchSockets();
  assert.equal(sockets.length, clients.length, "fetchSockets");
  const answers = await /** @type {any} */ (cluster.io(1)).serverSideEmitWithAck("ask");
  const others = nodes.map(({ index }) => index).filter((index) => index !== 1);
  assert.deepEqual(answers.sort(), others, "serverSideEmit");
  assert.equal(await cluster.adapter(2).serverCount(), nodes.length);
}

describe("CLIENT KILL while three nodes emit: nothing is lost or doubled, and requests work at once", () => {
  /**
   * What is killed, and how many connections of each node that is.
   *
   * @type {Record<string, { connections: number, kill: () => Promise<unknown> }>}
   */
  const KILLS = {
    "TYPE normal (the reader and the writer)": {
      connections: 2,
      kill: () => context.admin.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    },
    "TYPE pubsub": {
      connections: 1,
      kill: () => context.admin.command("CLIENT", "KILL", "TYPE", "pubsub"),
    },
    "ID of every connection": {
      connections: 3,
      async kill() {
        const own = await context.admin.command("CLIENT", "ID");
        const list = await context.admin.command("CLIENT", "LIST");
        const ids = [...list.matchAll(/^id=(\d+)/gm)].map(([, id]) => id);
        await Promise.all(
          ids
            .filter((id) => id !== String(own))
            .map((id) => context.admin.command("CLIENT", "KILL", "ID", id)),
        );
      },
    },
  };

  // Breaks when the reader resumes at another place than where it stopped ("$" loses what came
  // meanwhile), when a batch whose reply was lost is dropped or sent again unseen, and when
  // subscriptions are not made again. Upstream loses packets with node-redis and doubles them with
  // ioredis.
  for (const [what, { connections, kill }] of Object.entries(KILLS)) {
    test(`${what}, ${CUTS} times`, async (t) => {
      const cluster = await startCluster(context, {
        adapterOptions: OPTIONS,
        // @ts-ignore sent by other servers
        setup: (io, index) => io.on("ask", (answer) => answer(index)),
      });
      defer(t, () => cluster.close());
      const ios = cluster.nodes.map(({ io }) => io);
      const traffic = new Traffic(ios, cluster.clients);
      traffic.start(RATE);
      defer(t, () => traffic.stop());
      await traffic.flows(); // the writers are connected

      for (let cut = 0; cut < CUTS; cut++) {
        const before = ios.map((io) => statsOf(io).reconnects);
        await kill();
        const made = () => ios.map((io, i) => statsOf(io).reconnects - before[i]);
        await waitFor(() => made().every((count) => count >= connections), {
          what: () => `${connections} connections of each node to be made again, not ${made()}`,
        });
        await waitFor(
          async () => (await context.admin.command("PUBSUB", "NUMSUB", "socket.io#/#"))[1] === 3,
          { what: "all nodes to have subscribed again" },
        );
        await traffic.flows();
        await assertRequestsWork(cluster);
      }
      traffic.stop();
      await traffic.assertComplete();
      for (const io of ios) {
        const { doubtful, failed, malformed } = statsOf(io);
        assert.deepEqual({ doubtful, failed, malformed }, { doubtful: 0, failed: 0, malformed: 0 });
      }
    });
  }
});

/**
 * Two nodes with a client each: node 0 behind a proxy, node 1 not.
 *
 * @param {import("node:test").TestContext} t
 * @param {Inspect} inspect
 * @param {{ user?: string, adapterOptions?: Record<string, unknown> }} [options] `user` is the
 *   `name:password` of node 0
 */
async function startBehindProxy(t, inspect, { user, adapterOptions } = {}) {
  await context.admin.command("FLUSHALL");
  const proxy = await startProxy(context.redis.port, inspect);
  defer(t, () => proxy.close());
  const options = { ...OPTIONS, ...adapterOptions };
  const url = proxy.url.replace("//", user ? `//${user}@` : "//");
  const redises = [Object.assign(Object.create(context.redis), { behind: url }), context.redis];
  Object.defineProperty(redises[0], "url", { value: url });
  const nodes = [];
  for (const [index, redis] of redises.entries()) {
    const node = await startNode({ redis, index, client: "url", adapterOptions: options });
    defer(t, () => node.close());
    nodes.push(node);
  }
  const [behind, direct] = nodes.map(({ io }) => io);
  const adapters = [behind, direct].map((io) => /** @type {any} */ (io.of("/").adapter));
  await waitFor(
    async () => (await Promise.all(adapters.map((a) => a.serverCount()))).join() === "2,2",
    { what: "the two nodes to see each other" },
  );
  const clients = await Promise.all(nodes.map((node) => connectClient(node.url)));
  defer(t, () => clients.forEach((client) => client.disconnect()));
  return { proxy, behind, direct, traffic: new Traffic([behind, direct], clients) };
}

describe("a proxy that cuts in the middle of a packet", () => {
  const CUTS_PER_MODE = 12;
  /**
   * Cuts every fifth reply of the reader that holds something.
   *
   * @param {() => number} chance
   */
  function readerCutter(chance) {
    const cuts = { read: 0 };
    /** @type {Inspect} */
    const inspect = ({ notes }, direction, chunk) => {
      notes.isReader ||= chunk.includes("\r\nXREAD\r\n");
      const isEntries = notes.isReader && direction === "down" && chunk.length > 100;
      if (!isEntries || chance() > 0.2) {
        return undefined;
      }
      cuts.read++;
      return { pass: Math.floor(chance() * chunk.length) };
    };
    return { inspect, cuts };
  }

  // Breaks when a batch in doubt is sent again without looking (doubled in the stream), when it is
  // taken for written (lost), when it is not one transaction (a part is there), and when the old
  // connection is not ended first (late arrival: doubled). An upstream node would deliver the doubles.
  test("each packet is published exactly once", async (t) => {
    const start = seed();
    t.diagnostic(`SEED=${start}`);
    const chance = random(start);
    const { inspect, cuts } = writerCutter(chance, ["request", "reply", "late"]);
    const { behind, direct, traffic } = await startBehindProxy(t, inspect);
    traffic.clients.push(await startUpstreamReader(t, context, direct, OPTIONS));
    await emitUntil(traffic, chance, cuts, ["request", "reply", "late"], CUTS_PER_MODE);
    await traffic.assertComplete({ timeout: 15_000 });
    await settle(LATE + 100); // nothing may come late
    await traffic.assertComplete();
    const packets = await packetsInStream(context.admin);
    assert.equal(packets.length, traffic.total, "no packet is in the stream twice");
    assert.equal(new Set(packets).size, traffic.total);
    const { doubtful, published, reconnects } = statsOf(behind);
    assert.deepEqual({ doubtful, published }, { doubtful: 0, published: traffic.counts[0] });
    assert.ok(reconnects >= 3 * CUTS_PER_MODE);
    t.diagnostic(`${traffic.total} packets, cuts: ${JSON.stringify(cuts)}`);
  });

  // Breaks when half a reply is handed on, or when reading resumes too early or too late.
  test("each packet is read exactly once", async (t) => {
    const start = seed();
    t.diagnostic(`SEED=${start}`);
    const chance = random(start);
    const { inspect, cuts } = readerCutter(chance);
    const { traffic } = await startBehindProxy(t, inspect);
    await emitUntil(traffic, chance, cuts, ["read"], 2 * CUTS_PER_MODE);
    await traffic.assertComplete({ timeout: 15_000 });
    t.diagnostic(`${traffic.total} packets, cuts: ${JSON.stringify(cuts)}`);
  });

  // Breaks when the sequences by which readers know doubles are not there or not looked at. And it
  // shows that the test above does what it says: here the late arrivals do arrive.
  test("where CLIENT KILL is forbidden, doubles are dropped and the doubt is counted", async (t) => {
    await context.admin.command(
      ...["ACL", "SETUSER", "careful", "on", ">pw", "~*", "&*", "+@all", "-client", "+client|info"],
    );
    const start = seed();
    t.diagnostic(`SEED=${start}`);
    const chance = random(start);
    const { inspect, cuts } = writerCutter(chance, ["late"]);
    const { behind, direct, traffic } = await startBehindProxy(t, inspect, { user: "careful:pw" });
    await emitUntil(traffic, chance, cuts, ["late"], 3);
    await traffic.assertComplete({ timeout: 15_000 });
    await waitFor(() => [behind, direct].every((io) => statsOf(io).doubled > 0), {
      what: "doubles to arrive and be dropped",
    });
    await settle(LATE);
    await traffic.assertComplete();
    assert.ok(statsOf(behind).doubtful > 0);
    assert.ok((await packetsInStream(context.admin)).length > traffic.total);
  });
});

// These break when the parser of replies panics, believes any length, or goes on behind something
// that it did not understand.
describe("a proxy that answers reads itself", () => {
  const NONSENSE = {
    noise: Buffer.from(Array.from({ length: 4_096 }, (_, i) => (i * 2654435761) >>> 24)),
    "another protocol": Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "a number": Buffer.from(":1\r\n"),
    "a broken length": Buffer.from("*-7\r\n"),
    "no stream": Buffer.from("*1\r\n$9\r\nsocket.io\r\n"),
    "an entry without an ID": Buffer.from(
      "*1\r\n*2\r\n$9\r\nsocket.io\r\n*1\r\n*2\r\n$3\r\nabc\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
    ),
    "an entry that is no pair": Buffer.from(
      "*1\r\n*2\r\n$9\r\nsocket.io\r\n*1\r\n*1\r\n$3\r\n1-1\r\n",
    ),
    "arrays without end": Buffer.alloc(400_000, "*1\r\n"),
    "an array of two billion": Buffer.from("*2147483647\r\n"),
    "a string of nine exabytes": Buffer.from("$9223372036854775807\r\nx"),
    "two billion entries": Buffer.from("*1\r\n*2\r\n$9\r\nsocket.io\r\n*2147483647\r\n"),
  };

  /**
   * A node whose first entries are replaced on their way.
   *
   * @param {import("node:test").TestContext} t
   * @param {string} what
   * @param {Buffer} instead
   */
  async function startMisinformed(t, what, instead) {
    let isDone = false;
    const proxy = await startProxy(context.redis.port, ({ notes }, direction, chunk) => {
      notes.isReader ||= chunk.includes("\r\nXREAD\r\n");
      const isEntries = notes.isReader && direction === "down" && chunk.length > 100;
      if (!isEntries || isDone) {
        return undefined;
      }
      isDone = true;
      return { instead };
    });
    defer(t, () => proxy.close());
    const node = await startNode({
      redis: /** @type {any} */ ({ url: proxy.url }),
      client: "url",
      adapterOptions: { ...OPTIONS, streamName: what, channelPrefix: what },
    });
    defer(t, () => node.close());
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
    return { what, io: node.io, traffic: new Traffic([node.io], [client]) };
  }

  test("nonsense ends a connection, and nothing else", async (t) => {
    const misinformed = await Promise.all(
      Object.entries(NONSENSE).map(([what, instead]) => startMisinformed(t, what, instead)),
    );
    const { rss } = process.memoryUsage();
    for (let i = 0; i < 50; i++) {
      misinformed.forEach(({ traffic }) => traffic.emit());
      await settle(5);
    }
    for (const { what, io, traffic } of misinformed) {
      t.diagnostic(what);
      await traffic.assertComplete({ timeout: 15_000 }); // incomplete replies are waited for
      assert.ok(statsOf(io).reconnects >= 1, "the connection was replaced");
    }
    assert.ok(process.memoryUsage().rss - rss < 300 * 2 ** 20, "no length is believed");
  });
});

describe("a proxy that stalls", () => {
  const HEARTBEAT = { heartbeatInterval: 300, heartbeatTimeout: 2_000 };
  /** What the engine allows an answer (5 s), and something for the rest. */
  const NOTICED = 12_000;

  // Breaks when a connection on which nothing comes any more is waited for without end. And when
  // what lay in it is doubled as it comes out after all.
  test("connections that carry nothing any more are replaced", async (t) => {
    const { proxy, behind, direct, traffic } = await startBehindProxy(t, () => {}, {
      adapterOptions: HEARTBEAT,
    });
    traffic.start(20);
    defer(t, () => traffic.stop());
    await traffic.flows();
    const stalled = [...proxy.links];
    stalled.forEach((link) => link.stall()); // those that replace them carry as ever
    await waitFor(() => statsOf(behind).reconnects >= 3, {
      timeout: NOTICED,
      what: () => `three connections to be replaced, not ${statsOf(behind).reconnects}`,
    });
    await traffic.flows();
    stalled.forEach((link) => link.release());
    await traffic.flows();
    traffic.stop();
    await traffic.assertComplete();
    assert.equal(
      (await packetsInStream(context.admin)).length,
      traffic.total,
      "none is there twice",
    );
    const adapters = [behind, direct].map((io) => /** @type {any} */ (io.of("/").adapter));
    await waitFor(
      async () => (await Promise.all(adapters.map((a) => a.serverCount()))).join() === "2,2",
      { what: "the two nodes to see each other again" },
    );
    assert.equal((await behind.fetchSockets()).length, 2);
    assert.equal((await direct.fetchSockets()).length, 2);
    assert.equal(statsOf(behind).doubtful, 0);
  });
});
