// Nodes in this process that emit at a steady rate to all and to rooms, and clients in some of the
// rooms that can be cut off and brought back.

"use strict";

const assert = require("node:assert/strict");
const { Cluster } = require("../helpers/cluster");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { waitFor } = require("../helpers/wait");
const { lastEntryId } = require("../helpers/wire");
const { defer } = require("../faults/defer");
const { random, seed } = require("../faults/random");
const { LedgerClient } = require("./client");
const { greet } = require("./greeting");
const { Tally } = require("./ledger");
const { EVENT, readTruth } = require("./packets");

const ROOMS = ["a", "b", "c", "d"];
/** Packets per second, all nodes together. */
const RATE = 500;
/** So that nothing is trimmed, unless that is what a test is about. */
const OPTIONS = { maxLen: 1_000_000 };

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
    return (await this.cluster.admin.command("EXISTS", SESSION_KEY_PREFIX + client.pid)) === 1;
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
    let truth = await readTruth(this.cluster.admin);
    await waitFor(
      async () => {
        truth = await readTruth(this.cluster.admin);
        return truth.packets.length === this.emitted;
      },
      { interval: 50, what: () => `${this.emitted} packets, not ${truth.packets.length}` },
    );
    return truth;
  }

  /** Waits until each node has read the stream to its end. */
  async isRead() {
    const { admin, nodes } = this.cluster;
    const last = await lastEntryId(admin, "socket.io");
    const positions = () => nodes.map(({ index }) => this.cluster.adapter(index).stats().position);
    await waitFor(() => positions().every((position) => position === last), {
      what: () => `all nodes to have read ${last}, not ${positions()}`,
    });
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
 * @param {{ redis: any, admin: any }} context
 * @param {object} [options]
 * @param {number} [options.nodes]
 * @param {Record<string, unknown>} [options.adapterOptions]
 * @param {Record<string, unknown>} [options.recovery] of `connectionStateRecovery`
 * @param {(load: () => Load) => Middleware} [options.middleware]
 */
async function startLoad(t, context, { nodes = 3, adapterOptions, recovery, middleware } = {}) {
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

module.exports = { startLoad, Load, OPTIONS, RATE, ROOMS };
