// A chaos run: nodes that emit, clients that drop and come back, and everything that can go wrong
// with connections, Redis and nodes meanwhile. Then every client is checked packet by packet.

"use strict";

const { createAdmin } = require("../helpers/clients");
const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { startRedis } = require("../helpers/redis-server");
const { startProxy } = require("../helpers/tcp-proxy");
const { settle, waitFor } = require("../helpers/wait");
const { random } = require("../faults/random");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { Tally } = require("./ledger");
const { Publishing, readTruth } = require("./packets");
const { Returns, Traveller, Trouble } = require("./returns");

/**
 * @typedef {import("./agent").Agent} Agent
 * @typedef {import("./greeting").Welcome} Welcome
 * @typedef {import("./schedule").ChaosEvent} ChaosEvent
 * @typedef {import("./schedule").Schedule} Schedule
 * @typedef {import("../helpers/adapters").Kind} Kind
 *
 * @typedef {object} Report
 * @property {Tally} tally what was wrong with what the clients got
 * @property {Publishing} publishing what was wrong with what is in the stream
 * @property {number} recoveries
 * @property {Record<string, number>} fresh how often a client had to start anew, by reason
 * @property {string[]} unjustified those of them that must not be
 * @property {string[]} faults of nodes: uncaught errors, false losses, what did not end
 * @property {Record<string, number>} events how often each thing happened
 * @property {Record<string, number>} counters of the nodes at the end, added up
 * @property {boolean} passed
 */

const ROOMS = Array.from({ length: 10 }, (_, i) => `room ${i}`);
const ROOMS_PER_CLIENT = 3;
/** ms between two packets of a node. */
const INTERVAL = 20;
/** One in so many packets brings others along. */
const BURSTS = 0.02;
/** What distinguishes the nodes: one restores from memory, one from the stream, one takes its time. */
const ODDITIES = [{}, { adapterOptions: { historyBytes: 20_000 } }, { delay: 30 }];
/** Nothing is ever trimmed: the stream is the truth at the end. */
const MAX_LEN = 10_000_000;
/** ms; longer than a run: a session that nobody came for is still there at the end. */
const SESSIONS_LIVE = 60 * 60_000;
/** ms in which everything has to be well again after the last fault. */
const QUIET_LIMIT = 40_000;
/** ms until a client tries the next node. */
const RETRY = 50;
/** ms that a patient client waits for its session to be saved. */
const PATIENCE = 3_000;

/** A node with its proxy: killed and started again, it is another sender. */
class Place {
  /**
   * @param {import("../helpers/tcp-proxy").TcpProxy} proxy
   * @param {Promise<unknown>} queue
   */
  constructor(proxy, queue) {
    this.proxy = proxy;
    /** What is done to it, one thing after another. */
    this.queue = queue;
    /** @type {Agent | undefined} */
    this.agent = undefined;
    this.sender = -1;
    this.trouble = new Trouble();
  }
}

class Scenario {
  /**
   * @param {Schedule} schedule
   * @param {Kind} kind
   */
  constructor(schedule, kind) {
    this.schedule = schedule;
    this.kind = kind;
    this.chance = random(schedule.seed + 1);
    /** @type {Place[]} */
    this.places = [];
    /** @type {Traveller[]} */
    this.travellers = [];
    /** Packets emitted, by sender; unknown for those that were killed. @type {Map<number, number>} */
    this.emitted = new Map();
    this.senders = 0;
    /** When which sender was killed. @type {Map<number, number>} */
    this.killed = new Map();
    /** What is done to Redis, one thing after another. @type {Promise<unknown>} */
    this.redisQueue = Promise.resolve();
    this.redisTrouble = new Trouble();
    this.isOver = false;
    this.returns = new Returns();
    /** @type {string[]} */
    this.faults = [];
    /** @type {Record<string, number>} */
    this.events = {};
  }

  async start() {
    const { nodes, clients, seed } = this.schedule;
    this.redis = await startRedis({ appendOnly: true });
    this.admin = await createAdmin(this.redis);
    for (let i = 0; i < nodes; i++) {
      this.places.push(new Place(await startProxy(this.redis.port), Promise.resolve()));
    }
    await Promise.all(this.places.map((place) => this.#startNode(place)));
    for (let i = 0; i < clients; i++) {
      const chance = random(seed + 1_000 + i);
      const rooms = Array.from(
        { length: ROOMS_PER_CLIENT },
        (_, k) => ROOMS[(i + k * (1 + (i % 3))) % ROOMS.length],
      );
      const client = new LedgerClient(String(i), [...new Set(rooms)]);
      const traveller = new Traveller(client, chance);
      client.onWelcome = (welcome) => this.#onWelcome(traveller, welcome);
      client.socket.on("disconnect", () => this.#comeBack(traveller));
      this.travellers.push(traveller);
      this.#comeBack(traveller);
    }
    await waitFor(() => this.travellers.every(({ client }) => client.offset !== undefined), {
      timeout: QUIET_LIMIT,
      what: "all clients to have received something",
    });
    return this;
  }

  /** @param {Place} place */
  async #startNode(place) {
    const sender = this.senders++;
    const index = this.places.indexOf(place);
    const agent = await startAgent({
      redis: place.proxy.redis,
      kind: this.kind,
      sender,
      adapterOptions: { maxLen: MAX_LEN, ...ODDITIES[index % ODDITIES.length].adapterOptions },
      serverOptions: {
        connectionStateRecovery: {
          maxDisconnectionDuration: SESSIONS_LIVE,
          skipMiddlewares: false,
        },
      },
      delay: ODDITIES[index % ODDITIES.length].delay,
    });
    Object.assign(place, { agent, sender });
    await agent.startTraffic({
      interval: INTERVAL,
      rooms: ROOMS,
      bursts: BURSTS,
      seed: this.schedule.seed + 2_000 + sender,
    });
  }

  // Clients

  /** @param {Traveller} traveller */
  async #comeBack(traveller) {
    if (traveller.isComingBack) {
      return;
    }
    const { client, chance } = traveller;
    traveller.isComingBack = true;
    traveller.begin();
    traveller.sawSession = traveller.isPatient && (await this.#seesSession(traveller));
    await sleep(chance() * 300);
    while (!client.isConnected && !this.isOver) {
      const living = this.places.filter(({ agent }) => agent);
      if (living.length > 0) {
        const { agent, sender } = living[Math.floor(chance() * living.length)];
        traveller.attempts.push({ sender, at: Date.now() });
        await client.connect(/** @type {Agent} */ (agent).url);
      }
      await sleep(client.isConnected ? 0 : RETRY);
    }
    traveller.isComingBack = false;
  }

  /** @param {Traveller} traveller */
  async #seesSession({ client, home }) {
    const deadline = Date.now() + PATIENCE;
    while (client.pid && !this.killed.has(home) && Date.now() < deadline && !this.isOver) {
      const exists = await this.#command("EXISTS", SESSION_KEY_PREFIX + client.pid);
      if (exists === 1) {
        return true;
      }
      await sleep(20);
    }
    return false;
  }

  /**
   * A command that may fail: Redis is not always there.
   *
   * @param {...(string | number)} args
   */
  async #command(...args) {
    const { command } = /** @type {import("../helpers/clients").Admin} */ (this.admin);
    return Promise.race([command(...args), sleep(1_000)]).catch(() => undefined);
  }

  /**
   * @param {Traveller} traveller
   * @param {Welcome} welcome
   */
  #onWelcome(traveller, { recovered, sender, reason }) {
    const { client, home, droppedAt, attempts, pid, sawSession } = traveller;
    const isFirst = client.ledgers.length === 1 && !recovered;
    traveller.home = sender;
    if (recovered || isFirst) {
      return;
    }
    this.returns.add({
      who: `client ${client.name}, from node ${home} to ${attempts.map((each) => each.sender)}`,
      pid,
      reason,
      sawSession,
      ...{ home, droppedAt },
      wasInTrouble: attempts.some((attempt) => this.#wasInTrouble(attempt.sender, attempt.at)),
    });
  }

  /**
   * Whether something stood between a node and Redis at any moment after this one.
   *
   * @param {number} sender
   * @param {number} time
   */
  #wasInTrouble(sender, time) {
    const place = this.places.find((each) => each.sender === sender);
    return (
      place === undefined ||
      this.redisTrouble.wasSince(time) ||
      place.trouble.wasSince(time) ||
      place.proxy.lastEnd >= time
    );
  }

  // Faults

  /** Does what the schedule says. */
  async play() {
    const begin = Date.now();
    for (const event of this.schedule.events) {
      await sleep(begin + event.at - Date.now());
      this.events[event.what] = (this.events[event.what] ?? 0) + 1;
      this.#happen(event);
    }
    await sleep(begin + this.schedule.length - Date.now());
    await this.redisQueue;
    await Promise.all(this.places.map(({ queue }) => queue));
  }

  /** @param {ChaosEvent} event */
  #happen(event) {
    if (event.client !== undefined) {
      this.travellers[event.client].client.cut();
    } else if (event.node !== undefined) {
      const place = this.places[event.node];
      place.queue = place.queue
        .then(() => place.trouble.during(() => this.#trouble(place, event)))
        .catch(this.#note);
    } else {
      this.redisQueue = this.redisQueue
        .then(() => this.redisTrouble.during(() => this.#troubleRedis(event)))
        .catch(this.#note);
    }
  }

  #note = (/** @type {Error} */ error) => {
    this.faults.push(String(error.stack));
  };

  /**
   * @param {Place} place
   * @param {ChaosEvent} event
   */
  async #trouble(place, { what, ms = 0, direction = "up", bytes = 0 }) {
    const agent = /** @type {Agent} */ (place.agent);
    switch (what) {
      case "proxy stalled":
        place.proxy.stall();
        await sleep(ms);
        return place.proxy.resume();
      case "proxy cut":
        return place.proxy.cutAfter(direction, bytes);
      case "event loop blocked":
        return agent.call("block", ms);
      case "node killed": {
        const { faults } = await agent.findings();
        this.faults.push(...faults);
        place.agent = undefined;
        this.killed.set(place.sender, Date.now());
        await agent.kill();
        await sleep(ms);
        return this.#startNode(place);
      }
      default:
        throw new Error(`nobody knows "${what}"`);
    }
  }

  /** @param {ChaosEvent} event */
  async #troubleRedis({ what, ms = 0, type, signal }) {
    const redis = /** @type {import("../helpers/redis-server").RedisServer} */ (this.redis);
    switch (what) {
      case "connections killed":
        return Promise.all(
          (type === "all" ? ["normal", "pubsub"] : [String(type)]).map((each) =>
            this.#command("CLIENT", "KILL", "TYPE", each, "SKIPME", "yes"),
          ),
        );
      case "redis stopped":
        redis.pause();
        await sleep(ms);
        return redis.resume();
      case "redis restarted":
        return redis.restart({ signal });
      default:
        throw new Error(`nobody knows "${what}"`);
    }
  }

  // The end

  /** Lets everything come to rest, and judges. @returns {Promise<Report>} */
  async judge() {
    const admin = /** @type {import("../helpers/clients").Admin} */ (this.admin);
    // One that could not be started again is among the faults.
    const agents = this.places.flatMap(({ agent }) => agent ?? []);
    await Promise.all(agents.map((agent) => agent.stopTraffic()));
    const rested = async (/** @type {() => unknown} */ condition, /** @type {string} */ what) => {
      await waitFor(condition, { timeout: QUIET_LIMIT, interval: 50, what }).catch(this.#note);
    };
    await rested(
      () => this.travellers.every(({ client }) => client.isConnected),
      "all clients to be back",
    );
    for (const [place, agent] of agents.entries()) {
      await rested(async () => {
        const stats = await agent.call("stats");
        return !stats || stats.queueLength === 0;
      }, `node ${place} to have published everything`);
    }
    await this.#streamRests();
    const truth = await readTruth(admin);
    // The tally says who lacks something; where it never comes, nobody has to wait long for it.
    const timeout = this.kind === "upstream" ? 3_000 : QUIET_LIMIT;
    await waitFor(() => this.travellers.every(({ client }) => client.isComplete(truth)), {
      timeout,
      interval: 50,
    }).catch(() => {});
    await settle(300); // nothing may come late

    /** @type {Record<string, number>} */
    const counters = {};
    for (const { agent, sender } of this.places) {
      if (!agent) {
        continue;
      }
      const { stats, losses, faults, emitted } = await agent.findings();
      this.emitted.set(sender, emitted);
      this.faults.push(...faults);
      if (losses.length > 0) {
        this.faults.push(`node ${sender} says losses: ${JSON.stringify(losses)}`);
      }
      for (const name of ["doubled", "doubtful", "failed", "lost", "malformed", "reconnects"]) {
        counters[name] = (counters[name] ?? 0) + (stats?.[name] ?? 0);
      }
    }
    const tally = new Tally();
    this.travellers.forEach(({ client }) => client.judge(truth, tally));
    const publishing = new Publishing(truth, this.emitted);
    const { faults, events } = this;
    const { fresh, unjustified } = await this.returns.judge(
      async (pid) => (await admin.command("EXISTS", SESSION_KEY_PREFIX + pid)) === 1,
      this.killed,
    );
    const recoveries = this.travellers.reduce((sum, { client }) => sum + client.recovered, 0);
    const passed =
      tally.faults + publishing.faults + faults.length + counters.malformed === 0 &&
      (unjustified.length === 0 || this.kind === "upstream");
    return {
      ...{ tally, publishing, recoveries, fresh, unjustified, faults, events, counters, passed },
    };
  }

  /** Waits until nothing has been added to the stream for a while: upstream does not say it. */
  async #streamRests() {
    let last = "";
    let since = Date.now();
    await waitFor(
      async () => {
        const [entry] = (await this.#command("XREVRANGE", "socket.io", "+", "-", "COUNT", 1)) ?? [];
        if (entry?.[0] !== last) {
          last = entry?.[0];
          since = Date.now();
        }
        return Date.now() - since > 1_000;
      },
      { timeout: QUIET_LIMIT, interval: 100, what: "the stream to rest" },
    );
  }

  async close() {
    this.isOver = true;
    this.travellers.forEach(({ client }) => client.disconnect());
    await this.redisQueue;
    await Promise.all(
      this.places.map(async (place) => {
        await place.queue;
        await place.agent?.kill();
        place.proxy.close();
      }),
    );
    await this.admin?.close();
    await this.redis?.stop();
  }
}

/** @param {number} ms @returns {Promise<void>} */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

/**
 * @param {Schedule} schedule
 * @param {Kind} [kind] which adapter the nodes run
 * @returns {Promise<Report>}
 */
async function runScenario(schedule, kind = "native") {
  const scenario = new Scenario(schedule, kind);
  try {
    await scenario.start();
    await scenario.play();
    return await scenario.judge();
  } finally {
    await scenario.close();
  }
}

module.exports = { runScenario };
