// One order: every client sees one sequence, a request does not overtake what its node issued
// before it, and a stalled event loop neither loses nor disorders anything unsaid.

"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const net = require("node:net");
const { describe, test } = require("node:test");
const { useCluster, useRedis } = require("../helpers/cluster");
const { connectClient } = require("../helpers/socket-client");
const { ANSWER_TIMEOUT, settle, waitFor } = require("../helpers/wait");
const { decodeData, entriesAfter } = require("../helpers/wire");
const { defer } = require("../faults/defer");
const { random, seed } = require("../faults/random");
const { startAgent } = require("./agent");
const { EVENT } = require("./packets");

const STREAM = "socket.io";
const TIMES = 100;

describe("three nodes that emit at once", () => {
  const context = useCluster({ clientsPerNode: 2 });

  // Breaks when a node delivers its own packets when XADD replies and not where they stand, when two
  // batches of one node may overtake each other, or when completions go ahead of entries.
  test("all clients see the sequence of the stream", async (t) => {
    const { admin, cluster } = context;
    const start = seed();
    t.diagnostic(`SEED=${start}`);
    const chance = random(start);
    const counts = cluster.nodes.map(() => 0);
    await waitFor(
      async () => {
        for (const { index, io } of cluster.nodes) {
          for (let burst = Math.floor(chance() * 30); burst > 0; burst--) {
            io.emit(EVENT, index, counts[index]++);
          }
        }
        return counts.every((count) => count > 1_000);
      },
      { interval: 1 },
    );
    const total = counts.reduce((sum, count) => sum + count);
    await Promise.all(cluster.clients.map((client) => client.receives(EVENT, total)));

    const entries = (await entriesAfter(admin, STREAM))
      .map(({ id, fields }) => ({ id, data: decodeData(fields.data ?? "{}") }))
      .filter(({ data }) => data.packet?.data?.[0] === EVENT)
      .map(({ data }) => data.packet.data.slice(1));
    assert.equal(entries.length, total);
    for (const client of cluster.clients) {
      assert.deepEqual(client.received(EVENT), entries);
    }
    for (const [index, count] of counts.entries()) {
      const own = entries.filter(([sender]) => sender === index).map(([, seq]) => seq);
      assert.deepEqual(
        own,
        Array.from({ length: count }, (_, seq) => seq),
        `node ${index}`,
      );
    }
  });
});

describe("a request right after what its node issued runs behind it", () => {
  // Node 2 emits all the time, so that the readers always have something to do.
  const context = useCluster();

  /** @param {import("node:test").TestContext} t */
  function traffic(t) {
    const timer = setInterval(() => {
      for (let i = 0; i < 10; i++) {
        context.cluster.io(2).emit("traffic", i);
      }
    }, 5);
    defer(t, () => clearInterval(timer));
  }

  const idsOf = (/** @type {{ id: string }[]} */ sockets) => sockets.map(({ id }) => id).sort();

  // These break when a request goes out before the publishes ahead of it are written, when it is
  // acted upon before the reader has come as far as its sender had written, and, on the node itself,
  // when its local half does not wait for the joins that are on their way through the stream.
  for (const { what, pick } of [
    {
      what: "on the other nodes",
      pick: (/** @type {number} */ own) => [0, 1, 2].filter((i) => i !== own),
    },
    { what: "on the node itself", pick: (/** @type {number} */ own) => [own] },
  ]) {
    /** @param {number} own index of the node that asks */
    const targets = (own) =>
      pick(own)
        .map((index) => context.cluster.clients[index].id)
        .sort();

    test(`fetchSockets sees the joins and the leaves ${what}, ${TIMES} times`, async (t) => {
      traffic(t);
      for (let i = 0; i < TIMES; i++) {
        const io = context.cluster.io(i % 3);
        const ids = targets(i % 3);
        const room = `fetch ${i} ${what}`;
        io.in(ids).socketsJoin(room);
        assert.deepEqual(idsOf(await io.in(room).fetchSockets()), ids, `join ${i}`);
        io.in(ids).socketsLeave(room);
        assert.deepEqual(await io.in(room).fetchSockets(), [], `leave ${i}`);
      }
    });

    test(`an emit with acknowledgements reaches who just joined ${what}, ${TIMES} times`, async (t) => {
      traffic(t);
      const { clients } = context.cluster;
      clients.forEach((client) => client.socket.on("ask", (answer) => answer(client.id)));
      defer(t, () => clients.forEach((client) => client.socket.off("ask")));
      for (let i = 0; i < TIMES; i++) {
        const io = context.cluster.io(i % 3);
        const ids = targets(i % 3);
        const room = `ask ${i} ${what}`;
        io.in(ids).socketsJoin(room);
        // @ts-ignore its types want the events declared
        const answers = await io.to(room).timeout(ANSWER_TIMEOUT).emitWithAck("ask");
        assert.deepEqual(answers.sort(), ids, `ask ${i}`);
      }
    });
  }

  test(`an emit with acknowledgements comes behind what its node emitted before, ${TIMES} times`, async (t) => {
    traffic(t);
    const { cluster } = context;
    const numbers = cluster.clients.map(({ socket }) => {
      /** @type {number[]} */
      const met = [];
      socket.on("number", (number, answer) => {
        met.push(number);
        answer?.();
      });
      defer(t, () => socket.off("number"));
      return met;
    });
    for (let i = 0; i < TIMES; i++) {
      const io = cluster.io(i % 3);
      io.emit("number", 3 * i);
      io.emit("number", 3 * i + 1);
      // @ts-ignore its types want the events declared
      await io.timeout(ANSWER_TIMEOUT).emitWithAck("number", 3 * i + 2);
    }
    const expected = Array.from({ length: 3 * TIMES }, (_, number) => number);
    for (const [index, met] of numbers.entries()) {
      assert.deepEqual(met, expected, `the client of node ${index}`);
    }
  });

  test(`serverSideEmit finds the packet delivered that went out before it, ${TIMES} times`, async (t) => {
    traffic(t);
    const { cluster } = context;
    /** For each node the numbers of packets and of requests, in the order in which it met them. */
    const met = cluster.nodes.map(() => /** @type {string[]} */ ([]));
    for (const [index, client] of cluster.clients.entries()) {
      const onOutgoing = (/** @type {string} */ event, /** @type {number} */ number) => {
        if (event === "before") {
          met[index].push(`packet ${number}`);
        }
      };
      const onRequest = (/** @type {number} */ number) => met[index].push(`request ${number}`);
      const socket = cluster.serverSocket(client);
      socket.onAnyOutgoing(onOutgoing);
      // @ts-ignore sent by other servers
      cluster.io(index).on("request", onRequest);
      defer(t, () => {
        socket.offAnyOutgoing(onOutgoing);
        cluster.io(index).removeListener("request", onRequest);
      });
    }
    for (let i = 0; i < TIMES; i++) {
      cluster.io(0).emit("before", i);
      // @ts-ignore
      cluster.io(0).serverSideEmit("request", i);
    }
    const expected = Array.from({ length: TIMES }, (_, i) => [
      `packet ${i}`,
      `request ${i}`,
    ]).flat();
    for (const index of [1, 2]) {
      await waitFor(() => met[index].length >= expected.length, {
        what: () => `${expected.length} things at node ${index}, not ${met[index].length}`,
      });
      for (let i = 0; i < TIMES; i++) {
        const packet = met[index].indexOf(`packet ${i}`);
        const request = met[index].indexOf(`request ${i}`);
        assert.ok(packet >= 0 && packet < request, `request ${i} at node ${index}`);
      }
      const requests = met[index].filter((what) => what.startsWith("request"));
      assert.deepEqual(
        requests,
        expected.filter((what) => what.startsWith("request")),
        "requests keep their order",
      );
    }
  });
});

describe("a socket that joins a room while entries wait for the event loop", () => {
  const context = useCluster({ nodes: 1 });

  // Breaks when the rooms of the moment at which entries are read decide who gets them, and not those
  // of the moment at which they are handled: the socket would get a packet to all from before it
  // joined, and not the one to its room that stands behind it.
  test("gets all that is handled after it has joined", async (t) => {
    const { cluster, redis } = context;
    const [client] = cluster.clients;
    const socket = cluster.serverSocket(client);
    const raw = net.connect(redis.port, redis.host);
    defer(t, () => raw.destroy());
    await once(raw, "connect");
    /** @param {string[]} rooms @param {string} what @returns {string} XADD as Redis reads it */
    const add = (rooms, what) => {
      const packet = { type: 2, nsp: "/", data: [EVENT, what] };
      const data = JSON.stringify({ opts: { rooms, except: [], flags: {} }, packet });
      const words = ["XADD", STREAM, "*", "uid", "x", "nsp", "/", "type", "3", "data", data];
      return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}`;
    };
    const expected = Array.from({ length: 10 }, (_, i) => [
      `to all ${i}`,
      `to the room ${i}`,
    ]).flat();
    const before = cluster.adapter(0).stats().read;
    raw.write(expected.map((what, i) => add(i % 2 ? ["joined late"] : [], what)).join(""));
    // The event loop is blocked until the engine has read everything.
    const deadline = Date.now() + 5_000;
    while (cluster.adapter(0).stats().read < before + expected.length && Date.now() < deadline);
    assert.equal(cluster.adapter(0).stats().read, before + expected.length);
    socket.join("joined late");
    cluster.io(0).emit("end");
    await client.receives("end");
    assert.deepEqual(
      client.received(EVENT).map(([what]) => what),
      expected,
    );
  });
});

describe("while an event loop is blocked for 4 s and 30,000 packets pass", () => {
  const context = useRedis();
  const BLOCKED = 4_000;
  const PACKETS = 30_000;
  const TIMEOUT = 30_000;

  /**
   * Has one node emit 30,000 packets while another one is blocked, and gives what the latter's
   * client got.
   *
   * @param {import("node:test").TestContext} t
   * @param {Record<string, unknown>} adapterOptions
   * @param {number} [bursts] in so many parts, spread over that time
   */
  async function stall(t, adapterOptions, bursts = 1) {
    await context.admin.command("FLUSHALL");
    const [writer, reader] = await Promise.all(
      [0, 1].map((sender) => startAgent({ redis: context.redis, sender, adapterOptions })),
    );
    defer(t, () => Promise.all([writer.close(), reader.close()]));
    const client = await connectClient(reader.url);
    defer(t, () => client.disconnect());
    // One packet first: whose sequence is known is missed when it lacks.
    await writer.burst(1);
    await client.receives(EVENT);
    const blocked = reader.call("block", BLOCKED);
    for (let burst = 0; burst < bursts; burst++) {
      await writer.burst(PACKETS / bursts);
      await waitFor(async () => (await writer.call("stats")).queueLength === 0);
      await settle(bursts > 1 ? (0.8 * BLOCKED) / bursts : 0);
    }
    await blocked;
    return { client, reader };
  }

  /** @param {import("../helpers/socket-client").SocketClient} client */
  const numbersOf = (client) => client.received(EVENT).map(([, seq]) => seq);

  // Breaks when what was read is not kept: upstream loses more than half.
  test("with room in the stream nothing is lost", async (t) => {
    const { client, reader } = await stall(t, { maxLen: 100_000 });
    await waitFor(() => numbersOf(client).length > PACKETS, { timeout: TIMEOUT });
    assert.deepEqual(
      numbersOf(client),
      Array.from({ length: PACKETS + 1 }, (_, seq) => seq),
    );
    const { losses, faults, stats } = await reader.findings();
    assert.deepEqual({ losses, faults, lost: stats.lost }, { losses: [], faults: [], lost: 0 });
  });

  // Breaks when the reader waits for JS: three times as many pass as the stream holds.
  test("with the default maxLen nothing is lost of what passes at a pace that can be read", async (t) => {
    const { client, reader } = await stall(t, {}, 60);
    await waitFor(() => numbersOf(client).length > PACKETS, {
      timeout: TIMEOUT,
      what: () => `all packets, not ${numbersOf(client).length}`,
    });
    const { losses, faults, stats } = await reader.findings();
    assert.deepEqual({ losses, faults, lost: stats.lost }, { losses: [], faults: [], lost: 0 });
  });

  // Breaks when what is trimmed past a reader that is outrun goes unnoticed.
  test("with the default maxLen nothing is lost in one go without being said", async (t) => {
    const { client, reader } = await stall(t, {});
    const last = () => numbersOf(client).at(-1);
    await waitFor(() => last() === PACKETS, { timeout: TIMEOUT, what: () => `not ${last()}` });
    const numbers = numbersOf(client);
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
      "in order and once",
    );
    const { losses, stats } = await reader.findings();
    const missing = PACKETS + 1 - numbers.length;
    t.diagnostic(`${missing} missing, said: ${JSON.stringify(losses)}`);
    assert.equal(stats.lost, missing);
    assert.equal(
      losses.reduce((sum, { entries }) => sum + (entries ?? 0), 0),
      missing,
    );
  });
});
