// A loss is never silent: what XREAD does not show is said by the adapter's event `loss` and by its
// counters, on every node, once. After it new packets flow. And nothing is said where nothing was
// lost.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { startCluster } = require("../helpers/cluster");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { settle, waitFor } = require("../helpers/wait");
const { lastEntryId } = require("../helpers/wire");
const { defer } = require("../faults/defer");
const { EVENT } = require("./packets");
const { startAgent } = require("./agent");
require("../faults/warnings"); // a stream that is replaced is warned of

/** @typedef {import("../../index").Loss} Loss */
/** @typedef {import("../helpers/cluster").Cluster} Cluster */

const STREAM = "socket.io";
/** Far more than the second or so within which a loss is to be noticed. */
const NOTICED = 6_000;
/** Enough for another two looks at the stream. */
const TWO_LOOKS = 2_300;
/** Most of the time the tests wait to see whether something is said: they can do so together. */
const TOGETHER = { concurrency: 4 };
/** The number that packets written by hand carry as their sender. */
const BY_HAND = 99;

// Adds ARGV[1] packets in one go, trimmed to exactly ARGV[2], numbered from ARGV[3] on, by the
// writer ID ARGV[4] if that is not empty: nobody can read in between.
const ADD = `
  for i = ARGV[3], ARGV[3] + ARGV[1] - 1 do
    local n = string.format("%d", i)
    local entry = { "uid", "byhand", "nsp", "/", "type", "3", "data",
      '{"opts":{"rooms":[],"except":[],"flags":{}},"packet":{"type":2,"nsp":"/","data":["${EVENT}",${BY_HAND},' .. n .. ']}}' }
    if ARGV[4] ~= "" then
      for _, field in ipairs({ "origin", "1:" .. ARGV[4] .. ":" .. n }) do entry[#entry + 1] = field end
    end
    redis.call("XADD", KEYS[1], "MAXLEN", ARGV[2], "*", unpack(entry))
  end`;

/** Two nodes with a client each, whose losses are recorded. */
class Watched {
  /** @param {Cluster} cluster @param {Loss[][]} losses */
  constructor(cluster, losses) {
    this.cluster = cluster;
    this.losses = losses;
    this.next = 0;
  }

  /** @returns {any[]} the counters of each node */
  get stats() {
    return this.cluster.nodes.map(({ index }) => this.cluster.adapter(index).stats());
  }

  /**
   * @param {number} count
   * @param {{ maxLen: number, from?: number, writer?: string }} options
   */
  addByHand(count, { maxLen, from = 0, writer = "" }) {
    return this.cluster.admin.command("EVAL", ADD, 1, STREAM, count, maxLen, from, writer);
  }

  /** What each client has got of the packets written by hand. */
  byHand() {
    return this.cluster.clients.map((client) =>
      client
        .received(EVENT)
        .filter(([sender]) => sender === BY_HAND)
        .map(([, seq]) => seq),
    );
  }

  /** Emits from both nodes, and waits until both clients have got all of it, once and in order. */
  async assertFlow() {
    const { clients, nodes } = this.cluster;
    const event = `flow ${this.next++}`;
    const count = 20;
    for (let i = 0; i < count; i++) {
      nodes.forEach(({ io, index }) => io.emit(event, index, i));
    }
    await Promise.all(clients.map((client) => client.receives(event, count * nodes.length)));
    for (const client of clients) {
      for (const { index } of nodes) {
        const own = client.received(event).filter(([sender]) => sender === index);
        assert.deepEqual(
          own.map(([, i]) => i),
          Array.from({ length: count }, (_, i) => i),
          `packets of node ${index}`,
        );
      }
    }
  }

  /**
   * Waits until every node has said a loss.
   *
   * @param {number} [count] how many in all
   */
  async said(count = 1) {
    await waitFor(() => this.losses.every((losses) => losses.length >= count), {
      timeout: NOTICED,
      what: () => `each node to say ${count} losses, which said ${JSON.stringify(this.losses)}`,
    });
  }

  /**
   * Asserts what has been said, now and for the next two looks at the stream.
   *
   * @param {Loss[]} expected by each node
   */
  async assertSaid(expected) {
    const all = this.losses.map(() => expected);
    assert.deepEqual(this.losses, all);
    await settle(TWO_LOOKS);
    assert.deepEqual(this.losses, all, "once");
  }
}

/**
 * A Redis server for one test.
 *
 * @param {import("node:test").TestContext} t
 */
async function ownRedis(t) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const admin = await createAdmin(redis);
  defer(t, () => admin.close());
  return { redis, admin };
}

/**
 * @param {import("node:test").TestContext} t
 * @param {Record<string, unknown>} [adapterOptions]
 */
async function watch(t, adapterOptions) {
  const context = await ownRedis(t);
  /** @type {Loss[][]} */
  const losses = [[], []];
  const cluster = await startCluster(context, {
    nodes: 2,
    adapterOptions,
    serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
    setup: (io, index) => io.of("/").adapter.on("loss", (loss) => losses[index].push(loss)),
  });
  defer(t, () => cluster.close());
  const watched = new Watched(cluster, losses);
  await watched.assertFlow();
  // A look with something in the stream: what is gone later was there.
  await settle(TWO_LOOKS / 2);
  return watched;
}

/**
 * Nodes in processes of their own, and a client of the last one.
 *
 * @param {import("node:test").TestContext} t
 * @param {number} count
 * @param {Record<string, unknown>} adapterOptions
 */
async function startAgents(t, count, adapterOptions) {
  const { redis, admin } = await ownRedis(t);
  const agents = await Promise.all(
    Array.from({ length: count }, (_, sender) => startAgent({ redis, sender, adapterOptions })),
  );
  defer(t, () => Promise.all(agents.map((agent) => agent.close())));
  const client = await connectClient(agents[count - 1].url);
  defer(t, () => client.disconnect());
  return { admin, agents, client };
}

/** @param {string} reason @returns {any} a loss of unknown size */
const unknown = (reason) => ({ reason, entries: undefined });

describe("the stream is not what it was: each node reports it and goes on", TOGETHER, () => {
  // Each breaks when XREAD alone is trusted: it shows none of these, and where IDs start lower than
  // before it shows nothing any more.

  for (const [what, destroy] of /** @type {[string, string[]][]} */ ([
    ["deleted", ["DEL", STREAM]],
    ["deleted with everything else (FLUSHALL)", ["FLUSHALL"]],
  ])) {
    test(what, async (t) => {
      const watched = await watch(t);
      await watched.cluster.admin.command(...destroy);
      await watched.said();
      await watched.assertFlow();
      await watched.assertSaid([unknown("deleted")]);
      assert.deepEqual(
        watched.stats.map(({ resets }) => resets),
        [1, 1],
      );
    });
  }

  for (const [what, destroy] of /** @type {[string, string[]][]} */ ([
    ["deleted", ["DEL", STREAM]],
    ["deleted with everything else (FLUSHALL)", ["FLUSHALL"]],
  ])) {
    test(`${what}, and written again at once`, async (t) => {
      const watched = await watch(t);
      await watched.cluster.admin.command(...destroy);
      await watched.assertFlow();
      await watched.said();
      await watched.assertFlow();
      await watched.assertSaid([unknown("deleted")]);
    });

    // Breaks when a stream passes for the old one because it is longer. More than one read takes, or
    // less: nothing but the deletion may show then.
    for (const count of [90, 500]) {
      test(`${what}, and at once written again with ${count} entries`, async (t) => {
        const watched = await watch(t);
        const { admin } = watched.cluster;
        assert.ok((await admin.command("XLEN", STREAM)) < count, "shorter than it will be");
        await admin.client
          .multi()
          .addCommand(destroy)
          .addCommand(["EVAL", ADD, "1", STREAM, String(count), "10000", "0", ""])
          .exec();
        await waitFor(() => watched.byHand().every(({ length }) => length === count));
        await watched.said();
        await watched.assertFlow();
        const reasons = () => watched.losses.map((losses) => losses.map(({ reason }) => reason));
        await waitFor(() => reasons().every((all) => all.includes("deleted")), {
          what: () => `the deletion to be said, not ${JSON.stringify(reasons())}`,
        });
        for (const all of reasons()) {
          // Who reads a whole page sees that its place is gone, before it is looked why.
          const others = all.filter((reason) => reason !== "deleted");
          assert.deepEqual(others, count > 100 && others.length > 0 ? ["trimmed"] : []);
          assert.equal(all.length - others.length, 1, "said once");
        }
      });
    }
  }

  // Large entries are asked for less often.
  for (const bytes of [0, 20_000]) {
    test(`deleted, and begun again with lower IDs and entries of ${bytes} bytes`, async (t) => {
      const watched = await watch(t);
      const { admin } = watched.cluster;
      const fields = (/** @type {number} */ n) => {
        const data = [EVENT, BY_HAND, n, "x".repeat(bytes)];
        const packet = { type: 2, nsp: "/", data };
        const encoded = JSON.stringify({ opts: { rooms: [], except: [], flags: {} }, packet });
        return ["uid", "byhand", "nsp", "/", "type", "3", "data", encoded];
      };
      if (bytes > 0) {
        await admin.command("XADD", STREAM, "*", ...fields(0));
        await settle(TWO_LOOKS);
      }
      await admin.client
        .multi()
        .del(STREAM)
        .addCommand(["XADD", STREAM, "1-1", ...fields(1)])
        .exec();
      await watched.said();
      for (let n = 2; n < 20; n++) {
        await admin.command("XADD", STREAM, `1-${n}`, ...fields(n));
      }
      const expected = Array.from({ length: 18 }, (_, i) => i + 2);
      await waitFor(() => watched.byHand().every((numbers) => numbers.at(-1) === 19), {
        timeout: NOTICED,
        what: () => `the packets with low IDs, not ${JSON.stringify(watched.byHand())}`,
      });
      // The first one may belong to what was read before, for all that anybody can tell.
      assert.deepEqual(
        watched.byHand().map((numbers) => numbers.filter((n) => n > 1)),
        [expected, expected],
      );
      await watched.assertFlow();
      await watched.assertSaid([unknown("fellBack")]);
    });
  }

  test("replaced by something else, which is deleted then", async (t) => {
    const watched = await watch(t);
    await watched.cluster.admin.command("SET", STREAM, "no stream");
    await watched.said();
    assert.deepEqual(
      watched.losses.map(([loss]) => loss),
      [unknown("wrongType"), unknown("wrongType")],
    );
    await settle(TWO_LOOKS);
    assert.deepEqual(
      watched.losses.map(({ length }) => length),
      [1, 1],
      "said once",
    );
    await watched.cluster.admin.command("DEL", STREAM);
    await flowsAgain(watched);
    await watched.assertFlow();
  });

  test("Redis is started again with nothing in it", async (t) => {
    const watched = await watch(t);
    await watched.cluster.redis.restart({ signal: "SIGKILL" });
    await flowsAgain(watched);
    await watched.said();
    await watched.assertFlow();
    await settle(TWO_LOOKS);
    assert.deepEqual(
      watched.losses.map((losses) => losses.map(({ reason }) => reason)),
      [["deleted"], ["deleted"]],
    );
  });
});

/**
 * Waits until a packet of each node has come to the clients of both, within the time in which nodes
 * find back.
 *
 * @param {Watched} watched
 */
async function flowsAgain({ cluster: { clients, nodes } }) {
  const event = `again ${Date.now()}`;
  const missing = () =>
    clients.flatMap((client, place) =>
      nodes
        .filter(({ index }) => !client.received(event).some(([sender]) => sender === index))
        .map(({ index }) => `client ${place} lacks one of node ${index}`),
    );
  await waitFor(
    () => {
      nodes.forEach(({ io, index }) => io.emit(event, index));
      return missing().length === 0;
    },
    { timeout: NOTICED, interval: 50, what: () => missing().join(", ") },
  );
}

describe("entries are trimmed before they were read", TOGETHER, () => {
  const MAX_LEN = 100;

  // Breaks when gaps in a writer's sequences are not counted.
  test("of a writer that is known: said with the exact number", async (t) => {
    const watched = await watch(t, { maxLen: MAX_LEN });
    const writer = "AAAAAAAAAKo";
    await watched.addByHand(1, { maxLen: MAX_LEN, from: 1, writer });
    await waitFor(() => watched.byHand().every(({ length }) => length === 1));
    await watched.addByHand(5 * MAX_LEN, { maxLen: MAX_LEN, from: 2, writer });
    await watched.said();
    const expected = [1, ...Array.from({ length: MAX_LEN }, (_, i) => 2 + 4 * MAX_LEN + i)];
    await waitFor(() => watched.byHand().every(({ length }) => length >= expected.length));
    assert.deepEqual(watched.byHand(), [expected, expected]);
    await watched.assertFlow();
    await watched.assertSaid([{ reason: "trimmed", entries: 4 * MAX_LEN }]);
    assert.deepEqual(
      watched.stats.map(({ lost }) => lost),
      [4 * MAX_LEN, 4 * MAX_LEN],
    );
  });

  // Breaks when sequences alone are looked at: upstream's entries have none. Redis counts what was
  // ever added to the stream.
  test("of a writer without sequences: said with the exact number", async (t) => {
    const watched = await watch(t, { maxLen: MAX_LEN });
    await watched.addByHand(5 * MAX_LEN, { maxLen: MAX_LEN });
    await watched.said();
    await watched.assertFlow();
    await watched.assertSaid([{ reason: "trimmed", entries: 4 * MAX_LEN }]);
  });

  // Breaks when a reader that waits for the event loop does not notice what went past it.
  test("while the event loop is blocked and the inbox is full: said with the exact number", async (t) => {
    const { agents, client } = await startAgents(t, 2, { maxLen: 1_000, inboxBytes: 20_000 });
    const [writer, reader] = agents;
    const numbers = () => client.received(EVENT).map(([, seq]) => seq);
    await writer.burst(1);
    await client.receives(EVENT);
    const blocked = reader.call("block", 1_500);
    await writer.burst(10_000);
    await blocked;
    await waitFor(() => numbers().at(-1) === 10_000, { what: () => `not ${numbers().at(-1)}` });
    const missing = 10_001 - numbers().length;
    assert.ok(missing > 1_000, `${missing} are missing: the test is about more`);
    assert.deepEqual(
      numbers(),
      [...new Set(numbers())].sort((a, b) => a - b),
    );
    const { losses, stats } = await reader.findings();
    assert.equal(stats.lost, missing);
    assert.deepEqual(
      losses.map((/** @type {Loss} */ { reason }) => reason),
      losses.map(() => "trimmed"),
    );
    assert.equal(
      losses.reduce((sum, { entries }) => sum + entries, 0),
      missing,
    );
    assert.deepEqual((await writer.findings()).faults, []);
  });

  // Breaks when a local broadcast waits for an entry that will never be met.
  test("own packets are delivered to the own clients all the same", async (t) => {
    const { agents, client } = await startAgents(t, 1, { maxLen: MAX_LEN, inboxBytes: 20_000 });
    const [agent] = agents;
    await agent.burst(20_000);
    await client.receives(EVENT, 20_000);
    assert.deepEqual(
      client.received(EVENT).map(([, seq]) => seq),
      Array.from({ length: 20_000 }, (_, seq) => seq),
    );
    assert.equal((await agent.call("stats")).queueLength, 0);
  });
});

describe("no loss is reported", TOGETHER, () => {
  const MAX_LEN = 1_000;

  // Breaks when an entry that was trimmed after it was read counts as lost.
  test("when entries are trimmed that were read", async (t) => {
    const watched = await watch(t, { maxLen: MAX_LEN });
    const { cluster } = watched;
    const counts = cluster.nodes.map(() => 0);
    const total = () => counts.reduce((sum, count) => sum + count);
    const behind = () =>
      total() - Math.min(...cluster.clients.map((client) => client.received(EVENT).length));
    const end = Date.now() + 4_000;
    await waitFor(
      () => {
        // Never so many that one of them could be trimmed unread.
        for (let room = MAX_LEN / 2 - behind(); room > 0; room -= cluster.nodes.length) {
          cluster.nodes.forEach(({ io, index }) => io.emit(EVENT, index, counts[index]++));
        }
        return Date.now() > end && total() > 10 * MAX_LEN;
      },
      { timeout: 20_000, interval: 1 },
    );
    await waitFor(() => behind() === 0);
    await watched.assertSaid([]);
    t.diagnostic(`${total()} packets through a stream of ${MAX_LEN}`);
  });

  // Breaks when a stream without entries is taken for one that was deleted.
  test("when a stream is emptied by XTRIM that was read", async (t) => {
    const watched = await watch(t);
    await watched.cluster.admin.command("XTRIM", STREAM, "MAXLEN", "0");
    await settle(TWO_LOOKS);
    await watched.assertFlow();
    await watched.assertSaid([]);
  });

  // Breaks when an entry of a second ago that is gone is taken for a stream that was deleted: a
  // reader that is nearly as far behind as the stream is long passes through this all the time.
  test("when a reader is far behind, and just fast enough", async (t) => {
    const maxLen = 10_000;
    const { admin, agents, client } = await startAgents(t, 1, { maxLen, inboxBytes: 1_000 });
    const [agent] = agents;
    const watched = new Watched(/** @type {any} */ ({ admin }), []);
    let next = 1;
    const add = async (/** @type {number} */ count) => {
      await watched.addByHand(count, { maxLen, from: next, writer: "00000000000000bb" });
      next += count;
    };
    await add(1);
    await client.receives(EVENT);
    const position = async () => (await agent.call("stats")).position;
    /** How many entries of the stream were read. */
    const kept = async () => {
      const entries = await admin.command("XRANGE", STREAM, "-", await position());
      return entries.length;
    };
    for (let round = 0; round < 12; round++) {
      // Its reader gets a few reads between two rounds, of up to 1,000 entries each. The last 200
      // that were read stay; that of the last look, a second ago, does not.
      const blocked = agent.call("block", 450);
      const length = await admin.command("XLEN", STREAM);
      await add(Math.max(0, maxLen - length + (await kept()) - 200));
      await blocked;
    }
    await waitFor(async () => (await position()) === (await lastEntryId(admin, STREAM)));
    await settle(TWO_LOOKS);
    const { losses, stats } = await agent.findings();
    t.diagnostic(`${next - 1} entries through a stream of ${maxLen}`);
    assert.deepEqual(
      { losses, lost: stats.lost, resets: stats.resets },
      { losses: [], lost: 0, resets: 0 },
    );
  });
});
