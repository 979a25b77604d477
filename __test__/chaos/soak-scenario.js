// A soak: steady load on two nodes, while clients drop and come back, leave and are replaced, rooms and
// namespaces come and go. Now and then everything rests, and what the nodes' processes have is looked
// at: it must not grow.

"use strict";

const { io: connectTo } = require("socket.io-client");
const { createAdmin } = require("../helpers/clients");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { once, waitFor } = require("../helpers/wait");
const { random } = require("../faults/random");
const { startAgent } = require("./agent");
const { HELLO } = require("./churn");
const { LedgerClient } = require("./client");
const { growthOf } = require("./growth");
const { Tally } = require("./ledger");
const { TruthReader } = require("./packets");

/**
 * @typedef {import("./agent").Agent} Agent
 * @typedef {import("./agent-extension").Usage} Usage
 * @typedef {import("./packets").Truth} Truth
 *
 * @typedef {object} SoakReport
 * @property {import("./ledger").Tally} tally
 * @property {number} published
 * @property {number} recoveries
 * @property {number} freshStarts of clients that should have been recovered
 * @property {number} left clients that left for good
 * @property {number} namespaces how many came and went
 * @property {Usage[][]} samples of each node
 * @property {import("./growth").Growth[]} growth what grew too much
 * @property {any[]} stats of each node at the end
 * @property {string[]} faults
 */

const NODES = 2;
const CLIENTS = 30;
const ROOMS = Array.from({ length: 10 }, (_, i) => `room ${i}`);
/** ms between two packets of a node. */
const INTERVAL = 4;
/** One in so many drops is for good: another client takes the place. */
const LEAVES = 0.1;
/** Rounds of which nothing is held against anybody: caches fill, and code is compiled. */
const WARM_UP = 0.4;
const SETTLED = 20_000;

// All that is bounded is small, so that it is full when the warm-up is over.
const OPTIONS = { maxLen: 5_000, historyBytes: 500_000 };

class Soak {
  /** @param {number} seed */
  constructor(seed) {
    this.seed = seed;
    this.chance = random(seed);
    /** @type {Agent[]} */
    this.nodes = [];
    /** @type {LedgerClient[]} */
    this.clients = [];
    /** Those that have left. @type {LedgerClient[]} */
    this.gone = [];
    this.freshStarts = 0;
    this.namespaces = 0;
    /** Ends with the last reading of the stream. @type {Promise<Truth | undefined>} */
    this.reading = Promise.resolve(undefined);
  }

  async start() {
    this.redis = await startRedis();
    this.admin = await createAdmin(this.redis);
    const options = {
      redis: this.redis,
      adapterOptions: OPTIONS,
      serverOptions: {
        cleanupEmptyChildNamespaces: true,
        connectionStateRecovery: { maxDisconnectionDuration: 60_000 },
      },
      execArgv: ["--expose-gc"],
    };
    for (let sender = 0; sender < NODES; sender++) {
      this.nodes.push(await startAgent({ ...options, kind: "native", sender }));
    }
    this.truth = new TruthReader(this.admin);
    await Promise.all(Array.from({ length: CLIENTS }, () => this.#newClient()));
    return this;
  }

  #anyUrl() {
    return this.nodes[Math.floor(this.chance() * NODES)].url;
  }

  /** A client in the next place. @param {number} [place] */
  async #newClient(place = this.clients.length) {
    const rooms = [0, 1, 2].map((i) => ROOMS[(place + i * 3) % ROOMS.length]);
    const client = new LedgerClient(String(this.clients.length + this.gone.length), rooms);
    this.clients[place] = client;
    await client.connect(this.#anyUrl());
  }

  /** Load and churn for some time, then rest. @param {number} ms */
  async round(ms) {
    const end = Date.now() + ms;
    await Promise.all(
      this.nodes.map(async (node, i) => {
        await node.startTraffic({ interval: INTERVAL, rooms: ROOMS, seed: this.seed + i });
        await node.call("startChurn");
      }),
    );
    const reading = setInterval(() => this.#readTruth(), 1_000);
    await Promise.all([
      ...this.clients.map((_, place) => this.#comeAndGo(place, end)),
      this.#askForNamespaces(end),
    ]);
    clearInterval(reading);
    await Promise.all(
      this.nodes.map(async (node) => {
        await node.stopTraffic();
        await node.call("stopChurn");
      }),
    );
    await this.#rest();
  }

  /** One reading at a time. */
  #readTruth() {
    this.reading = this.reading.then(() => this.truth?.read());
    return this.reading;
  }

  /** @param {number} place @param {number} end */
  async #comeAndGo(place, end) {
    const { chance } = this;
    for (;;) {
      await sleep(200 + chance() * 1_500);
      const client = this.clients[place];
      if (Date.now() > end) {
        return;
      }
      if (client.offset === undefined) {
        continue;
      }
      if (chance() < LEAVES) {
        this.#leave(client);
        await this.#newClient(place);
        continue;
      }
      client.cut();
      await waitFor(() => this.#isSaved(client), { what: "the session to be saved" });
      await sleep(chance() * 200);
      await client.connect(this.#anyUrl());
      if (!client.socket.recovered) {
        this.freshStarts++;
      }
    }
  }

  /** @param {LedgerClient} client */
  #leave(client) {
    client.disconnect();
    if (client.ledger) {
      client.ledger.isOpen = false;
    }
    this.gone.push(client);
  }

  /** @param {LedgerClient} client */
  async #isSaved(client) {
    const key = SESSION_KEY_PREFIX + client.pid;
    return (await this.admin?.command("EXISTS", key)) === 1;
  }

  /** One namespace after another that is there for one client. @param {number} end */
  async #askForNamespaces(end) {
    while (Date.now() < end) {
      const socket = connectTo(`${this.#anyUrl()}/dynamic ${this.namespaces++}`, {
        forceNew: true,
        transports: ["websocket"],
      });
      await once(socket, HELLO);
      socket.disconnect();
    }
  }

  /** Waits until all is delivered and nothing is left of what came and went. */
  async #rest() {
    await waitFor(
      async () => {
        const truth = await this.#readTruth();
        return truth && this.clients.every((client) => client.isComplete(truth));
      },
      { timeout: SETTLED, interval: 100 },
    ).catch(() => {}); // the tally tells
    for (const node of this.nodes) {
      await waitFor(async () => isIdle(await node.call("stats")), {
        timeout: SETTLED,
        interval: 50,
        what: "a node to be idle",
      });
    }
  }

  /** What each node's process has. @returns {Promise<Usage[]>} */
  sample() {
    return Promise.all(this.nodes.map((node) => node.call("usage")));
  }

  async judge() {
    const truth = await this.#readTruth();
    const tally = new Tally();
    const all = [...this.clients, ...this.gone];
    all.forEach((client) => truth && client.judge(truth, tally));
    const findings = await Promise.all(this.nodes.map((node) => node.findings()));
    return {
      tally,
      published: truth?.packets.length ?? 0,
      recoveries: all.reduce((sum, client) => sum + client.recovered, 0),
      freshStarts: this.freshStarts,
      left: this.gone.length,
      namespaces: this.namespaces,
      stats: findings.map(({ stats }) => stats),
      faults: findings.flatMap(({ faults, losses }) => [
        ...faults,
        ...losses.map((loss) => `loss: ${JSON.stringify(loss)}`),
      ]),
    };
  }

  async close() {
    [...this.clients, ...this.gone].forEach((client) => client.disconnect());
    await Promise.all(this.nodes.map((node) => node.kill()));
    await this.admin?.close();
    await this.redis?.stop();
  }
}

/** @param {any} stats */
function isIdle({ queueLength, queueBytes, inboxLength, inboxBytes }) {
  return queueLength + queueBytes + inboxLength + inboxBytes === 0;
}

/** @param {number} ms @returns {Promise<void>} */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * @param {object} options
 * @param {number} options.length ms
 * @param {number} options.rounds after each of which memory is looked at
 * @param {number} options.seed
 * @param {(samples: Usage[], round: number) => void} [options.onSample]
 * @returns {Promise<SoakReport>}
 */
async function runSoak({ length, rounds, seed, onSample = () => {} }) {
  const soak = new Soak(seed);
  try {
    await soak.start();
    /** @type {Usage[][]} */
    const rows = [];
    for (let round = 0; round < rounds; round++) {
      await soak.round(length / rounds);
      const row = await soak.sample();
      rows.push(row);
      onSample(row, round);
    }
    const samples = soak.nodes.map((_, node) => rows.map((row) => row[node]));
    const kept = samples.map((each) => each.slice(Math.ceil(rounds * WARM_UP)));
    const growth = kept.flatMap((each, node) => growthOf(each, node));
    return { ...(await soak.judge()), samples, growth };
  } finally {
    await soak.close();
  }
}

module.exports = { runSoak };
