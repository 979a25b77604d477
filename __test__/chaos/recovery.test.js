// Connection state recovery under load: each packet once, in order, or a fresh start that says so.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Cluster, useRedis } = require("../helpers/cluster");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { random, seed } = require("../faults/random");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { greet } = require("./greeting");
const { Tally } = require("./ledger");
const { EVENT, readTruth } = require("./packets");
require("../faults/warnings");

const ROOMS = ["a", "b", "c", "d"];
/** Packets per second, all nodes together. */
const RATE = 500;
const RECOVERIES = 200;
/** So that nothing is trimmed, unless that is what a test is about. */
const OPTIONS = { maxLen: 1_000_000 };

const context = useRedis();

/** @typedef {(socket: import("socket.io").Socket, next: (error?: Error) => void) => void} Middleware */

/** Nodes with packets to all and to rooms, and clients in some of the rooms. */
class Load {
  /**
   * @param {import("node:test").TestContext} t
   * @param {Cluster} cluster
   */
  constructor(t, cluster) {
    const start = seed();
    t.diagnostic(`SEED=${start}`);
    this.chance = random(start);
    this.cluster = cluster;
    /** @type {LedgerClient[]} */
    this.clients = [];
    /** How many packets each node has emitted. */
    this.counts = cluster.nodes.map(() => 0);
    this.emitted = 0;
    /** @type {NodeJS.Timeout | undefined} */
    this.timer = undefined;
    defer(t, () => {
      this.stop();
      this.clients.forEach((client) => client.disconnect());
    });
  }

  /** @param {number} below */
  pick(below) {
    return Math.floor(this.chance() * below);
  }

  url(node = this.pick(this.cluster.nodes.length)) {
    return this.cluster.nodes[node].url;
  }

  /** @param {number} [node] */
  emit(node = this.emitted % this.cluster.nodes.length) {
    const io = this.cluster.io(node);
    const room = this.pick(2 * ROOMS.length);
    const target = room < ROOMS.length ? io.to(ROOMS[room]) : io;
    target.emit(EVENT, node, this.counts[node]++);
    this.emitted++;
  }

  start() {
    const begin = Date.now();
    const before = this.emitted;
    this.timer = setInterval(() => {
      while (this.emitted - before < ((Date.now() - begin) * RATE) / 1_000) {
        this.emit();
      }
    }, 2);
  }

  stop() {
    clearInterval(this.timer);
  }

  /** A client that has received something, so that it has an offset. @param {string} [url] */
  async connect(url = this.url()) {
    const index = this.clients.length;
    const rooms = [ROOMS[index % ROOMS.length], ROOMS[(index + 1) % ROOMS.length]];
    const client = new LedgerClient(String(index), rooms);
    this.clients.push(client);
    assert.ok(await client.connect(url));
    await waitFor(
      () => {
        if (this.timer === undefined) {
          this.emit();
        }
        return client.offset !== undefined;
      },
      { interval: 20, what: "a first packet" },
    );
    return client;
  }

  /** @param {LedgerClient} client */
  async isSaved(client) {
    return (await context.admin.command("EXISTS", SESSION_KEY_PREFIX + client.pid)) === 1;
  }

  /** Cuts a client off, and waits until its session is saved. @param {LedgerClient} client */
  async cut(client) {
    client.cut();
    await waitFor(() => this.isSaved(client), { what: "the session to be saved" });
  }

  /** What is in the stream, once everything is there. */
  async truth() {
    let truth = await readTruth(context.admin);
    await waitFor(
      async () => {
        truth = await readTruth(context.admin);
        return truth.packets.length === this.emitted;
      },
      { interval: 50, what: () => `${this.emitted} packets, not ${truth.packets.length}` },
    );
    return truth;
  }

  /**
   * Waits until all packets have come, and asserts that each client got each of its own once and in
   * order in every session.
   */
  async assertComplete() {
    this.stop();
    const truth = await this.truth();
    await waitFor(() => this.clients.every((client) => client.isComplete(truth)), {
      timeout: 20_000,
      what: "the last packet at each client",
    }).catch(() => {}); // the tally says it better
    const tally = new Tally();
    this.clients.forEach((client) => client.judge(truth, tally));
    const { lost, doubled, disordered, unknown, samples } = tally;
    assert.deepEqual(
      { lost, doubled, disordered, unknown, samples },
      { lost: 0, doubled: 0, disordered: 0, unknown: 0, samples: [] },
    );
    assert.equal(truth.doubled, 0);
    return tally;
  }
}

/**
 * @param {import("node:test").TestContext} t
 * @param {object} [options]
 * @param {number} [options.nodes]
 * @param {Record<string, unknown>} [options.adapterOptions]
 * @param {Record<string, unknown>} [options.recovery] of `connectionStateRecovery`
 * @param {(load: () => Load) => Middleware} [options.middleware]
 */
async function startLoad(t, { nodes = 3, adapterOptions, recovery, middleware } = {}) {
  await context.admin.command("FLUSHALL");
  /** @type {Load | undefined} */
  let load;
  const cluster = new Cluster(context.redis, context.admin, {
    nodes,
    clientsPerNode: 0,
    adapterOptions: { ...OPTIONS, ...adapterOptions },
    serverOptions: {
      connectionStateRecovery: { maxDisconnectionDuration: 60_000, ...recovery },
    },
    setup(io, index) {
      greet(io, index);
      if (middleware) {
        io.use(middleware(() => /** @type {Load} */ (load)));
      }
    },
  });
  defer(t, () => cluster.close());
  await cluster.start();
  load = new Load(t, cluster);
  return load;
}

describe(`${RECOVERIES} recoveries across three nodes, ${RATE} packets per second`, () => {
  const slow = { recovery: { skipMiddlewares: false }, middleware: delays };
  const paged = { adapterOptions: { historyBytes: 10_000 } };
  const CASES = {
    "middlewares skipped": { recovery: { skipMiddlewares: true }, middleware: delays },
    "middlewares that take 0 to 50 ms": slow,
    "a history that holds next to nothing": paged,
    "a history that holds next to nothing, and slow middlewares": { ...slow, ...paged },
  };

  /** @type {(load: () => Load) => Middleware} */
  function delays(load) {
    return (_, next) => {
      const delay = load().chance() * 50;
      if (delay < 5) {
        next();
      } else {
        setTimeout(next, delay);
      }
    };
  }

  // Break when the switch from missed to live is not at one place of the stream (lost or doubled),
  // when what comes while a middleware runs is dropped or overtakes what was missed, and when a page
  // from the stream and the history overlap or leave a gap.
  for (const [what, options] of Object.entries(CASES)) {
    test(what, async (t) => {
      const load = await startLoad(t, options);
      load.start();
      /** @type {LedgerClient[]} */
      const clients = [];
      for (let i = 0; i < 10; i++) {
        clients.push(await load.connect());
      }
      const recovered = () => clients.reduce((sum, client) => sum + client.recovered, 0);
      await Promise.all(
        clients.map(async (client) => {
          while (recovered() < RECOVERIES) {
            await load.cut(client);
            await new Promise((resolve) => setTimeout(resolve, load.pick(100)));
            assert.ok(await client.connect(load.url()), "the client comes back");
            assert.ok(client.socket.recovered, "into its session");
          }
        }),
      );
      const { received } = await load.assertComplete();
      t.diagnostic(`${recovered()} recoveries, ${load.emitted} packets, ${received} received`);
    });
  }
});

describe("a restore that comes to nothing can be tried again", () => {
  // Breaks when a session that was taken out of Redis is not put back, or without what it needs to
  // leave out what the client was not in the room for.
  test("a middleware refuses, twice", async (t) => {
    let refusals = 0;
    const load = await startLoad(t, {
      recovery: { skipMiddlewares: false },
      middleware: () => (socket, next) => {
        const comesBack = socket.handshake.auth.pid !== undefined;
        setTimeout(() => {
          next(comesBack && refusals-- > 0 ? new Error("not now") : undefined);
        }, 10);
      },
    });
    load.start();
    const client = await load.connect();
    for (let round = 0; round < 10; round++) {
      await load.cut(client);
      refusals = 2;
      for (let attempt = 0; attempt < 2; attempt++) {
        assert.equal(await client.connect(load.url()), false, "refused");
        await waitFor(() => load.isSaved(client), { what: "the session to be put back" });
      }
      assert.ok(await client.connect(load.url()));
      assert.ok(client.socket.recovered);
    }
    await load.assertComplete();
    assert.equal(client.ledgers.length, 1);
  });

  for (const [what, middleware] of /** @type {[string, (() => Middleware) | undefined][]} */ ([
    ["without middlewares", undefined],
    ["while a middleware runs", () => (_, next) => setTimeout(next, 15)],
  ])) {
    // Breaks when a session is lost with the connection that it was restored for, and when what was
    // sent on that connection before it was whole is sent again on the next one: socket.io-client
    // keeps what comes before the answer to its CONNECT, over connections.
    test(`the client drops again meanwhile, ${what}`, async (t) => {
      const load = await startLoad(t, { recovery: { skipMiddlewares: false }, middleware });
      load.start();
      const client = await load.connect();
      let drops = 0;
      for (let round = 0; round < 60; round++) {
        await load.cut(client);
        const recovered = client.recovered;
        const back = client.connect(load.url());
        const delay = (round % 20) * 1.5;
        await Promise.race([back, new Promise((resolve) => setTimeout(resolve, delay))]);
        if (!client.isConnected) {
          drops++;
          client.cut();
          await waitFor(() => load.isSaved(client), { what: "the session to be put back" });
          assert.ok(await client.connect(load.url()));
        }
        assert.ok(client.socket.recovered);
        assert.equal(client.recovered, recovered + 1);
      }
      t.diagnostic(`${drops} of 60 dropped before they were back`);
      assert.ok(drops > 5);
      await load.assertComplete();
    });
  }
});

describe("what cannot be proven complete is refused", () => {
  /**
   * Brings a client back and asserts that it starts fresh, and that packets flow.
   *
   * @param {Load} load
   * @param {LedgerClient} client
   * @param {number} node
   */
  async function assertFresh(load, client, node) {
    const sessions = client.ledgers.length;
    assert.ok(await client.connect(load.url(node)));
    assert.equal(client.socket.recovered, false);
    assert.equal(client.ledgers.length, sessions + 1);
    await waitFor(
      () => {
        load.emit();
        return client.ledger && client.ledger.received.length > 0;
      },
      { interval: 20, what: "new packets" },
    );
  }

  // Break when a stream that begins behind the offset counts as whole.
  for (const node of [0, 1, 2]) {
    test(`the stream was trimmed past the offset, back at node ${node}`, async (t) => {
      const load = await startLoad(t, { adapterOptions: { historyBytes: 10_000 } });
      const client = await load.connect(load.url(0));
      await load.cut(client);
      const offset = /** @type {string} */ (client.offset);
      for (let i = 0; i < 300; i++) {
        load.emit();
      }
      await waitFor(async () => {
        await context.admin.command("XTRIM", "socket.io", "MAXLEN", 50);
        const entries = await context.admin.command("XRANGE", "socket.io", offset, offset);
        return entries.length === 0 && load.emitted >= 300;
      });
      await assertFresh(load, client, node);
    });
  }

  // Breaks when an offset is looked for in the stream only: what is in memory is proof enough.
  test("trimmed past the offset, but all of it in memory: restored", async (t) => {
    const load = await startLoad(t);
    const client = await load.connect(load.url(0));
    await load.cut(client);
    for (let i = 0; i < 300; i++) {
      load.emit();
    }
    const witness = await load.connect(load.url(1));
    const truth = await load.truth();
    await waitFor(() => witness.isComplete(truth));
    await context.admin.command("XTRIM", "socket.io", "MAXLEN", 10);
    assert.ok(await client.connect(load.url(1)));
    assert.equal(client.socket.recovered, true);
    await waitFor(() => client.isComplete(truth));
    const tally = new Tally();
    client.judge(truth, tally);
    assert.deepEqual(tally.samples, []);
  });

  // Breaks when the history outlives the stream that it was read from.
  test("the stream was deleted, and that was noticed", async (t) => {
    const load = await startLoad(t);
    const client = await load.connect(load.url(0));
    await load.cut(client);
    const adapters = load.cluster.nodes.map(({ index }) => load.cluster.adapter(index));
    const losses = adapters.map(() => 0);
    adapters.forEach((adapter, index) => adapter.on("loss", () => losses[index]++));
    await context.admin.command("DEL", "socket.io");
    await waitFor(() => losses.every((count) => count > 0), { what: "the loss to be noticed" });
    for (const node of [0, 1, 2]) {
      load.emit(node);
    }
    await assertFresh(load, client, 1);
  });
});
