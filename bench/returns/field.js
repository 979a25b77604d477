"use strict";
// The field of a measurement of `npm run returns`: Redis, nodes in processes of their own behind a
// random balancer, and real clients that come back whenever they lose their connection.

const { setTimeout: sleep } = require("node:timers/promises");

const { startAgent } = require("../../__test__/chaos/agent");
const { LedgerClient } = require("../../__test__/chaos/client");
const { Ledger } = require("../../__test__/chaos/ledger");
const { Truth, TruthReader, packetId } = require("../../__test__/chaos/packets");
const { createAdmin } = require("../../__test__/helpers/clients");
const { startRedis } = require("../../__test__/helpers/redis-server");
const { startProxy } = require("../../__test__/helpers/tcp-proxy");
const { waitFor } = require("../../__test__/helpers/wait");

/**
 * @typedef {import("../../__test__/chaos/agent").Agent} Agent
 * @typedef {import("../../__test__/chaos/agent-extension").Watched} Watched
 * @typedef {import("../../__test__/helpers/tcp-proxy").TcpProxy} TcpProxy
 * @typedef {"in-memory" | "upstream" | "native"} Kind
 *
 * @typedef {object} Settings
 * @property {Kind} kind
 * @property {number} clients
 * @property {number} [interval] ms between two packets of a node, default 20
 * @property {Record<string, unknown>} [adapterOptions]
 *
 * @typedef {object} Place a node, or where one was
 * @property {Agent} agent
 * @property {TcpProxy} proxy between the balancer and the node
 * @property {boolean} isOpen
 *
 * @typedef {object} Verdict on all clients together
 * @property {number} returns how often a client came back
 * @property {number} recovered how often into its session
 * @property {number} expected packets, from the first that a client got on
 * @property {number} lost
 * @property {number} doubled
 * @property {number} disordered
 * @property {number[]} replays time from a client's attempt to connect to its last missed packet, of
 *   those that were recovered, ms, sorted
 * @property {string[]} samples what was wrong, for people
 * @property {Watched & { closing: number }} [nodes] the most that a node took while it was there, and the
 *   longest time that `io.close()` took, ms
 */

/** Half of the packets go to one of them. */
const ROOMS = Array.from({ length: 20 }, (_, i) => `room ${i}`);
/** ms between two packets of a node, if nothing else is given. */
const INTERVAL = 20;
/** How long clients are away, ms. */
const AWAY = [1_000, 2_000];
/** Clients that connect at a time at the start. */
const AT_A_TIME = 50;
const LIMIT = 120_000;
/** Short, so that a node notices within seconds that a client has gone without a word. */
const PINGS = { pingInterval: 3_000, pingTimeout: 4_000 };

class Field {
  /** @param {Settings} settings */
  constructor({ kind, clients, interval = INTERVAL, adapterOptions }) {
    this.kind = kind;
    this.interval = interval;
    this.adapterOptions = adapterOptions;
    /** @type {Place[]} */
    this.places = [];
    this.clients = Array.from({ length: clients }, (_, i) => {
      return new LedgerClient(String(i), [ROOMS[i % ROOMS.length]]);
    });
    this.senders = 0;
    this.returns = 0;
    /** @type {number[]} */
    this.replays = [];
    /** What was emitted. */
    this.truth = new Truth();
    /** Clients come back only after this. @type {Promise<void> | undefined} */
    this.mayReturn = undefined;
    /** Whether clients have to get what was emitted before their first packet, too. */
    this.fromStart = false;
    this.isTrafficOn = false;
    /** Clients that are on their way back. @type {Map<LedgerClient, Promise<void>>} */
    this.travels = new Map();
    this.isClosing = false;
    this.isWatching = false;
    /** What nodes took. @type {Watched[]} */
    this.watched = [];
    /** How long nodes took to close, ms. @type {number[]} */
    this.closings = [];
  }

  async start() {
    this.redis = await startRedis();
    this.admin = await createAdmin(this.redis);
    const reader = new TruthReader(this.admin);
    let reading = reader.read();
    this.readTruth = () => (reading = reading.catch(() => {}).then(() => reader.read()));
    // Redis trims the stream meanwhile.
    this.following = setInterval(() => this.readTruth?.().catch(() => {}), 100);
    const count = this.kind === "in-memory" ? 1 : 3;
    await Promise.all(Array.from({ length: count }, () => this.addNode()));
    if (count > 1) {
      const { admin } = this;
      // Upstream reads from the stream's end until its first entry, and loses what comes meanwhile.
      await waitFor(
        async () => {
          await admin.command(
            ...["XADD", "socket.io", "*", "uid", "emitter", "nsp", "/", "type", "9"],
            ...["data", JSON.stringify({ packet: ["probe"] })],
          );
          const counts = await Promise.all(this.open.map(({ agent }) => agent.call("serverCount")));
          return counts.every((one) => one === count);
        },
        { timeout: 20_000, interval: 200, what: "the nodes to see each other" },
      );
    }
    for (let i = 0; i < this.clients.length; i += AT_A_TIME) {
      const some = this.clients.slice(i, i + AT_A_TIME);
      await Promise.all(some.map((client) => client.connect(this.pick())));
    }
    for (const client of this.clients) {
      client.socket.on("disconnect", () => this.#comeBack(client));
    }
    return this;
  }

  /** A new node at the given place, by default at a new one. @param {number} [index] */
  async addNode(index) {
    const sender = this.senders++;
    const agent = await startAgent({
      redis: /** @type {any} */ (this.redis),
      kind: this.kind,
      sender,
      adapterOptions: this.adapterOptions,
      serverOptions: {
        ...PINGS,
        connectionStateRecovery: { maxDisconnectionDuration: LIMIT, skipMiddlewares: true },
      },
    });
    const proxy = await startProxy(agent.port);
    const place = { agent, proxy, isOpen: true };
    this.places[index ?? this.places.length] = place;
    if (this.isWatching) {
      await agent.call("watch");
    }
    if (this.isTrafficOn) {
      await this.#startTrafficOf(place, sender);
    }
  }

  /** The nodes that take clients. */
  get open() {
    return this.places.filter(({ isOpen }) => isOpen);
  }

  /** The URL of a random node. */
  pick() {
    const { open } = this;
    const { proxy } = open[Math.floor(Math.random() * open.length)];
    return `http://127.0.0.1:${proxy.port}`;
  }

  /** @param {Place} place @param {number} seed */
  #startTrafficOf({ agent }, seed) {
    return agent.startTraffic({ interval: this.interval, rooms: ROOMS, seed });
  }

  async startTraffic() {
    this.isTrafficOn = true;
    await Promise.all(this.open.map((place, i) => this.#startTrafficOf(place, i)));
  }

  /** Has the nodes watched, those to come too. */
  async watch() {
    this.isWatching = true;
    await Promise.all(this.open.map(({ agent }) => agent.call("watch")));
  }

  /** @param {Place} place that has been watched */
  async #noteWatched({ agent }) {
    if (this.isWatching) {
      this.watched.push(await agent.call("watched"));
    }
  }

  /** Waits until each client has received a packet. */
  async everyoneHasReceived() {
    await waitFor(() => this.clients.every(({ ledger }) => ledger && ledger.received.length > 0), {
      timeout: 20_000,
      what: "a packet for each client",
    });
  }

  /** A client that was dropped is away for a while, and tries until it is back. @param {LedgerClient} client */
  #comeBack(client) {
    // A connection that ends before its CONNECT disconnects the client as well.
    if (this.isClosing || this.travels.has(client)) {
      return;
    }
    const comes = async () => this.open.length > 0 && (await client.connect(this.pick()));
    const travel = (async () => {
      await sleep(AWAY[0] + Math.random() * (AWAY[1] - AWAY[0]));
      await this.mayReturn;
      const { recovered } = client;
      const begin = performance.now();
      // The packet behind its CONNECT may disconnect it again.
      while (!this.isClosing && !((await comes()) && client.isConnected)) {
        await sleep(50 + Math.random() * 100);
      }
      this.returns++;
      if (client.recovered > recovered) {
        this.replays.push(performance.now() - begin);
      }
    })();
    this.travels.set(client, travel);
    travel.finally(() => this.travels.delete(client));
  }

  /** Waits until all clients are back. */
  async everyoneIsBack() {
    await waitFor(
      () => this.travels.size === 0 && this.clients.every(({ isConnected }) => isConnected),
      { timeout: LIMIT, what: "all clients to be back" },
    );
  }

  /** What a node without a stream has emitted. @param {Place} place */
  async record({ agent }) {
    if (this.kind === "in-memory") {
      /** @type {{ sender: number, rooms: (string | undefined)[] }} */
      const { sender, rooms } = await agent.call("emittedTo");
      rooms.forEach((room, seq) => {
        this.truth.packets.push({
          id: packetId(sender, seq),
          rooms: room === undefined ? [] : [room],
        });
      });
    }
  }

  /** Closes a node as a deploy does. @param {Place} place */
  async deploy(place) {
    place.isOpen = false;
    await place.agent.stopTraffic();
    await this.record(place);
    await this.#noteWatched(place);
    const begin = performance.now();
    await place.agent.call("close").catch(() => {}); // it may be gone before its answer
    this.closings.push(performance.now() - begin);
    place.proxy.close();
  }

  /** @param {Place} place */
  async kill(place) {
    await this.record(place);
    place.isOpen = false;
    await place.agent.kill();
    place.proxy.close();
  }

  /** Stops the traffic, waits for what is on its way, and judges all clients. @returns {Promise<Verdict>} */
  async judge() {
    await Promise.all(this.open.map(({ agent }) => agent.stopTraffic()));
    await Promise.all(this.open.map((place) => this.#noteWatched(place)));
    if (this.kind === "in-memory") {
      await this.record(this.open[0]);
    } else {
      this.truth = (await this.readTruth?.()) ?? this.truth;
    }
    await waitFor(() => this.clients.every((client) => client.isComplete(this.truth)), {
      timeout: 10_000,
      interval: 100,
    }).catch(() => {}); // then it is lost
    const verdict = {
      returns: this.returns,
      recovered: this.replays.length,
      ...{ expected: 0, lost: 0, doubled: 0, disordered: 0 },
      replays: this.replays.sort((a, b) => a - b),
      samples: /** @type {string[]} */ ([]),
      ...(this.isWatching && { nodes: this.#most() }),
    };
    for (const client of this.clients) {
      this.#judgeOne(client, verdict);
    }
    return verdict;
  }

  #most() {
    const most = (/** @type {keyof Watched} */ what) =>
      Math.max(...this.watched.map((watched) => watched[what]));
    return {
      cpu: most("cpu"),
      delayP99: most("delayP99"),
      delayMax: most("delayMax"),
      memory: most("memory"),
      closing: Math.max(0, ...this.closings),
    };
  }

  /**
   * A client that started anew has lost what it missed: all its sessions are judged as one.
   *
   * @param {LedgerClient} client
   * @param {Verdict} verdict
   */
  #judgeOne({ name, rooms, ledgers, journey }, verdict) {
    const expected = this.truth.for(rooms);
    const whole = new Ledger();
    whole.received = ledgers.flatMap(({ received }) => received);
    const { lost, doubled, disordered } = whole.judge(expected);
    const first = expected.indexOf(whole.received[0]);
    const before = this.fromStart ? (first < 0 ? expected.length : first) : 0;
    verdict.expected += expected.length - (this.fromStart ? 0 : Math.max(first, 0));
    verdict.lost += lost.length + before;
    verdict.doubled += doubled.length;
    verdict.disordered += disordered.length;
    const faults = lost.length + before + doubled.length + disordered.length;
    if (faults > 0 && verdict.samples.length < 5) {
      verdict.samples.push(`client ${name}, ${faults} faults: ${journey.join("; ")}`);
    }
  }

  async close() {
    this.isClosing = true;
    clearInterval(this.following);
    this.clients.forEach((client) => client.disconnect());
    await Promise.all(
      this.places.map(async ({ agent, proxy }) => {
        await agent.kill();
        proxy.close();
      }),
    );
    await Promise.all(this.travels.values());
    await this.admin?.close();
    await this.redis?.stop();
  }
}

module.exports = { Field, ROOMS };
