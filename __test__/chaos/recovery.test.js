// Connection state recovery under load: each packet once, in order, or a fresh start that says so.

"use strict";

const assert = require("node:assert/strict");
const { fork } = require("node:child_process");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { Cluster, useRedis } = require("../helpers/cluster");
const { guard } = require("../helpers/guard");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { settle, waitFor } = require("../helpers/wait");
const { lastEntryId } = require("../helpers/wire");
const { defer } = require("../faults/defer");
const { random, seed } = require("../faults/random");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { ECHO, greet } = require("./greeting");
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
    /** Restores and middlewares under way. */
    this.underWay = 0;
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

  /** Waits until nothing is left of attempts to connect that were cut off. */
  async settled() {
    const ios = this.cluster.nodes.map(({ io }) => io);
    await waitFor(
      () => this.underWay === 0 && ios.every(({ engine }) => engine.clientsCount === 0),
      { what: "the nodes to be done with the attempt" },
    );
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
  /** @template T @param {Promise<T>} work */
  const underWay = (work) => {
    const change = (/** @type {number} */ by) => load && (load.underWay += by);
    change(1);
    const done = () => change(-1);
    work.then(done, done);
    return work;
  };
  const cluster = new Cluster(context.redis, context.admin, {
    nodes,
    clientsPerNode: 0,
    adapterOptions: { ...OPTIONS, ...adapterOptions },
    serverOptions: {
      connectionStateRecovery: { maxDisconnectionDuration: 60_000, ...recovery },
    },
    setup(io, index) {
      greet(io, index);
      const adapter = /** @type {any} */ (io.of("/").adapter);
      const { restoreSession } = adapter;
      adapter.restoreSession = (/** @type {string[]} */ ...args) => {
        const restoring = restoreSession.apply(adapter, args);
        return underWay(restoring);
      };
      if (middleware) {
        const use = middleware(() => /** @type {Load} */ (load));
        io.use((socket, next) => {
          const done = new Promise((resolve) => use(socket, (error) => resolve(next(error))));
          underWay(done);
        });
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
          await load.settled();
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

describe("sessions go back and forth between upstream nodes and ours", () => {
  // Breaks when a session of upstream's, which has fewer fields, is taken for damaged, and when ours
  // has something in it that upstream trips over. Upstream's own restores lose and double what comes
  // meanwhile, so nothing comes meanwhile there.
  test("from upstream under load, to upstream in a pause", async (t) => {
    await context.admin.command("FLUSHALL");
    const serverOptions = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };
    const kinds = /** @type {const} */ (["native", "native", "upstream"]);
    const [ours, emitter, upstream] = await Promise.all(
      kinds.map((kind, sender) =>
        startAgent({
          redis: context.redis,
          kind,
          sender,
          adapterOptions: OPTIONS,
          serverOptions,
        }),
      ),
    );
    defer(t, () => Promise.all([ours, emitter, upstream].map((agent) => agent.close())));
    const client = new LedgerClient("0", ["a", "b"]);
    defer(t, () => client.disconnect());
    const isSaved = async () =>
      (await context.admin.command("EXISTS", SESSION_KEY_PREFIX + client.pid)) === 1;
    const plan = { interval: 3, rooms: ROOMS, seed: seed() };
    /** Waits until what was emitted has come. */
    const truth = async () => {
      await emitter.stopTraffic();
      const { emitted } = await emitter.findings();
      let read = await readTruth(context.admin);
      await waitFor(async () => {
        read = await readTruth(context.admin);
        return read.packets.length === emitted;
      });
      return read;
    };

    // Upstream loses entries between two reads until it has read one.
    const witness = new LedgerClient("witness", []);
    defer(t, () => witness.disconnect());
    assert.ok(await witness.connect(upstream.url));
    await waitFor(
      async () => {
        await emitter.burst(1);
        return witness.offset !== undefined;
      },
      { interval: 20, what: "upstream to read" },
    );
    await emitter.startTraffic(plan);
    assert.ok(await client.connect(upstream.url));
    await waitFor(() => client.offset !== undefined);
    for (let round = 0; round < 10; round++) {
      client.cut();
      await waitFor(isSaved, { what: "upstream to save the session" });
      assert.ok(await client.connect(ours.url));
      assert.ok(client.socket.recovered, "from upstream to ours");
      const before = client.ledger?.received.length ?? 0;
      await waitFor(() => (client.ledger?.received.length ?? 0) > before + 10);

      client.cut();
      await waitFor(isSaved, { what: "our node to save the session" });
      await truth();
      assert.ok(await client.connect(upstream.url));
      assert.ok(client.socket.recovered, "from ours to upstream");
      const all = await truth();
      await waitFor(() => client.isComplete(all), { what: "all that it missed" });
      await emitter.startTraffic({ ...plan, seed: plan.seed + round });
    }
    const all = await truth();
    await waitFor(() => client.isComplete(all));
    const tally = new Tally();
    client.judge(all, tally);
    assert.deepEqual(tally.samples, []);
    assert.equal(client.recovered, 20);
    assert.ok(tally.received > 100, `${tally.received} packets`);
  });
});

describe("hostile clients", () => {
  const ATTEMPTS = 10_000;
  const CLIENTS = 10;
  /** ms between two echoes of a client */
  const EVERY = 20;
  /** The p99 may be so many times as high as with as many new clients that are not hostile. */
  const RATIO = 10;
  /** ms; below, ratios say nothing on a machine that others use as well. */
  const FLOOR = 30;

  /** @param {number[]} times @param {number} part */
  const quantile = (times, part) =>
    times.sort((a, b) => a - b)[Math.floor(part * (times.length - 1))];

  /**
   * @param {LedgerClient[]} clients
   * @param {() => Promise<unknown>} during
   * @returns {Promise<number[]>} ms that echoes took
   */
  async function echoes(clients, during) {
    /** @type {number[]} */
    const times = [];
    /** @type {Map<string, number>} */
    const open = new Map();
    let next = 0;
    clients.forEach(({ socket }, place) => {
      socket.on(ECHO, (number) => {
        const key = `${place} ${number}`;
        times.push(performance.now() - (open.get(key) ?? NaN));
        open.delete(key);
      });
    });
    const timer = setInterval(() => {
      const number = next++;
      clients.forEach(({ socket }, place) => {
        open.set(`${place} ${number}`, performance.now());
        socket.emit(ECHO, number);
      });
    }, EVERY);
    await during();
    clearInterval(timer);
    await waitFor(() => open.size === 0, { timeout: 20_000, what: () => `${open.size} echoes` });
    clients.forEach(({ socket }) => socket.off(ECHO));
    return times;
  }

  /**
   * @param {import("./attack-main").Attack} attack
   * @returns {Promise<import("./attack-main").Outcome>}
   */
  function run(attack) {
    const child = fork(join(__dirname, "attack-main.js"), [JSON.stringify(attack)]);
    const release = guard(child);
    return new Promise((resolve, reject) => {
      child.once("message", (outcome) => resolve(/** @type {any} */ (outcome)));
      child.once("exit", (code) => {
        release();
        reject(new Error(`the attack ended with ${code}`));
      });
      child.ref();
    });
  }

  /** @param {import("node:test").TestContext} t */
  async function startTarget(t) {
    await context.admin.command("FLUSHALL");
    const target = await startAgent({
      redis: context.redis,
      adapterOptions: OPTIONS,
      serverOptions: { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
    });
    defer(t, () => target.close());
    return target;
  }

  // Breaks when made-up sessions cost more than a look for a key that is not there: when offsets are
  // not checked before anything is read by them, or restores wait for each other.
  test(`${ATTEMPTS} restores with made-up sessions do not slow the others`, async (t) => {
    const target = await startTarget(t);
    const clients = Array.from({ length: CLIENTS }, (_, i) => new LedgerClient(String(i), []));
    defer(t, () => clients.forEach((client) => client.disconnect()));
    for (const client of clients) {
      assert.ok(await client.connect(target.url));
    }
    // Something to be read, for a node that would.
    await target.burst(10_000);
    await waitFor(() => clients.every(({ ledger }) => ledger?.received.length === 10_000));
    const [[oldest]] = await context.admin.command("XRANGE", "socket.io", "-", "+", "COUNT", 1);
    const start = seed();
    t.diagnostic(`SEED=${start}`);
    const offsets = [oldest, await lastEntryId(context.admin, "socket.io")];
    const attack = { url: target.url, attempts: ATTEMPTS, seed: start, offsets };

    const quiet = await echoes(clients, () => settle(1_500));
    const plain = await echoes(clients, async () => {
      const attempts = ATTEMPTS / 5;
      const outcome = await run({ ...attack, kind: "plain", attempts });
      assert.deepEqual(outcome, { fresh: attempts, restored: 0, refused: 0 });
    });
    const hostile = await echoes(clients, async () => {
      const outcome = await run({ ...attack, kind: "hostile" });
      assert.deepEqual(outcome, { fresh: ATTEMPTS, restored: 0, refused: 0 });
    });
    for (const [what, times] of Object.entries({ quiet, plain, hostile })) {
      const [p50, p99] = [0.5, 0.99].map((part) => quantile(times, part).toFixed(1));
      t.diagnostic(`${what}: ${times.length} echoes, p50 ${p50} ms, p99 ${p99} ms`);
    }
    const bound = RATIO * Math.max(FLOOR, quantile(quiet, 0.99), quantile(plain, 0.99));
    assert.ok(quantile(hostile, 0.99) < bound, `p99 below ${bound} ms`);
    assert.deepEqual((await target.findings()).faults, []);
  });

  // Breaks when a restore that waits for the reader to reach the client's offset, which no reader
  // ever will, keeps others waiting.
  test("offsets from the future hold up nobody", async (t) => {
    const target = await startTarget(t);
    const isSaved = async (/** @type {LedgerClient} */ client) =>
      (await context.admin.command("EXISTS", SESSION_KEY_PREFIX + client.pid)) === 1;
    /** @type {LedgerClient[]} */
    const hostile = [];
    const honest = new LedgerClient("honest", []);
    defer(t, () => [honest, ...hostile].forEach((client) => client.disconnect()));
    assert.ok(await honest.connect(target.url));
    for (let i = 0; i < 100; i++) {
      const client = new LedgerClient(`hostile ${i}`, []);
      assert.ok(await client.connect(target.url));
      hostile.push(client);
    }
    await target.burst(1);
    await waitFor(() => [honest, ...hostile].every(({ offset }) => offset !== undefined));

    /** How long it takes the honest one to come back, ms. */
    const timeBack = async () => {
      const begin = performance.now();
      assert.ok(await honest.connect(target.url));
      assert.ok(honest.socket.recovered);
      return performance.now() - begin;
    };
    const drop = async (/** @type {LedgerClient[]} */ clients) => {
      clients.forEach((client) => client.cut());
      for (const client of clients) {
        await waitFor(() => isSaved(client), { what: "the session to be saved" });
      }
    };
    await drop([honest]);
    const alone = await timeBack();
    await drop([honest, ...hostile]);
    const attempts = hostile.map((client) => {
      Object.assign(client.socket, { _lastOffset: "9999999999999-0" });
      return client.connect(target.url);
    });
    const time = await timeBack();
    t.diagnostic(`back after ${alone.toFixed()} ms alone, after ${time.toFixed()} ms among them`);
    assert.ok(time < 1_000 + 10 * alone, `back after ${time} ms`);
    assert.ok((await Promise.all(attempts)).every(Boolean));
    assert.ok(hostile.every(({ socket }) => !socket.recovered));
  });
});
