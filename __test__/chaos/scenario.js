// A chaos run: nodes that emit, clients that drop and come back, and everything that can go wrong
// with connections, Redis and nodes meanwhile. Then every client is checked packet by packet.

"use strict";

const { SESSION_KEY_PREFIX } = require("../helpers/recovery");
const { settle, waitFor, within } = require("../helpers/wait");
const { random } = require("../faults/random");
const { startAgent } = require("./agent");
const { LedgerClient } = require("./client");
const { Tally } = require("./ledger");
const { NODE_FAULTS } = require("./node-faults");
const { Publishing, readTruth } = require("./packets");
const { startServers } = require("./redis");
const { REDIS_FAULTS } = require("./redis-faults");
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
/** One in so many is large. */
const LARGE = 0.004;
/**
 * What distinguishes the nodes: one restores from memory, one from the stream, one reads from replicas and
 * takes its time.
 */
const ODDITIES = [
  {},
  { adapterOptions: { historyBytes: 20_000 } },
  { adapterOptions: { readFrom: "replica" }, delay: 30 },
];
/** Nothing is ever trimmed: the stream is the truth at the end. */
const MAX_LEN = 10_000_000;
/** ms; longer than a run: a session that nobody came for is still there at the end. */
const SESSIONS_LIVE = 60 * 60_000;
/** ms in which everything has to be well again after the last fault. */
const QUIET_LIMIT = 40_000;
/** ms after which a node may still learn, over a link in trouble, that Redis has refused something. */
const LATE_REFUSAL = 10_000;
/**
 * ms for which a node may have written nothing since it was refused, because its event loop was blocked.
 * Until it writes again, it does not know that it is refused no more.
 */
const UNWRITTEN = 1_000;
/** ms; longer than all waits within one. */
const REDIS_FAULT_LIMIT = 300_000;
/** ms in which a session is in Redis after anything that stood in the way. */
const SAVED = 5_000;
/** ms until a client tries the next node. */
const RETRY = 50;
/** ms that a patient client waits for its session to be saved. */
const PATIENCE = 3_000;

/** A node with its way to Redis: killed and started again, it is another sender. */
class Place {
  /** @param {import("./redis/gate").Gate} gate */
  constructor(gate) {
    this.gate = gate;
    /** What is done to it, one thing after another. @type {Promise<unknown>} */
    this.queue = Promise.resolve();
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
    /** By sender; without a count for those that were killed. @type {Map<number, import("./packets").Emitted>} */
    this.emitted = new Map();
    this.senders = 0;
    /** By sender. @type {Map<number, Place>} */
    this.placeOf = new Map();
    /** When which sender was killed. @type {Map<number, number>} */
    this.killed = new Map();
    /** What is done to Redis, one thing after another. @type {Promise<unknown>} */
    this.redisQueue = Promise.resolve();
    this.redisTrouble = new Trouble();
    /** @type {import("./packets").Refusal[]} */
    this.refusals = [];
    this.isOver = false;
    this.returns = new Returns();
    /** @type {string[]} */
    this.faults = [];
    /** @type {Record<string, number>} */
    this.events = {};
  }

  async start() {
    const { nodes, clients, seed, redis } = this.schedule;
    this.redis = await startServers(redis);
    for (let i = 0; i < nodes; i++) {
      this.places.push(new Place(await this.redis.gate()));
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
    this.placeOf.set(sender, place);
    const index = this.places.indexOf(place);
    const agent = await startAgent({
      redis: place.gate.redis,
      // Only settings translate the addresses that sentinels and clusters report.
      client: this.schedule.redis === "single" ? undefined : "settings",
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
      large: LARGE,
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
    await settle(chance() * 300);
    while (!client.isConnected && !this.isOver) {
      const living = this.places.filter(({ agent }) => agent);
      if (living.length > 0) {
        const { agent, sender } = living[Math.floor(chance() * living.length)];
        traveller.attempts.push({ sender, at: Date.now() });
        if (await client.connect(/** @type {Agent} */ (agent).url)) {
          traveller.arrive(sender);
        }
      }
      await settle(client.isConnected ? 0 : RETRY);
    }
    traveller.isComingBack = false;
  }

  /** @param {Traveller} traveller */
  async #seesSession({ client, home }) {
    const deadline = Date.now() + PATIENCE;
    while (client.pid && !this.killed.has(home) && Date.now() < deadline && !this.isOver) {
      const exists = await this.redis?.command("EXISTS", SESSION_KEY_PREFIX + client.pid);
      if (exists === 1) {
        return true;
      }
      await settle(20);
    }
    return false;
  }

  /**
   * @param {Traveller} traveller
   * @param {Welcome} welcome
   */
  #onWelcome(traveller, { recovered, reason }) {
    const { client, attempts, sawSession } = traveller;
    const isFirst = client.ledgers.length === 1 && !recovered;
    if (recovered || isFirst) {
      return;
    }
    const { home, connectedAt, droppedAt, pid, offset } = traveller.before;
    // What it has received last, by Redis's clock.
    const receivedAt = Math.min(connectedAt, Number(offset?.split("-")[0] ?? 0));
    const nodes = [{ sender: home, at: Math.max(connectedAt, droppedAt - SAVED) }, ...attempts];
    const wasInTrouble = nodes.some((each) => this.#wasInTrouble(each.sender, each.at));
    const late = wasInTrouble ? LATE_REFUSAL : UNWRITTEN;
    this.returns.add({
      who: `client ${client.name}, from node ${home} to ${attempts.map((each) => each.sender)}`,
      ...{ pid, reason, sawSession },
      tries: attempts.length,
      connectedFor: droppedAt - connectedAt,
      killedAfter: (this.killed.get(home) ?? Infinity) - droppedAt,
      wasInTrouble,
      wasRefused: this.refusals.some(({ to }) => to + late >= receivedAt),
    });
  }

  /**
   * Whether something stood between a node and Redis at any moment after this one.
   *
   * @param {number} sender
   * @param {number} time
   */
  #wasInTrouble(sender, time) {
    const place = this.placeOf.get(sender);
    // When a node is killed, its connections end.
    const wasCut = place?.sender === sender && place.gate.lastEnd >= time;
    return this.redisTrouble.wasSince(time) || place?.trouble.wasSince(time) || wasCut;
  }

  // Faults

  /** Does what the schedule says. */
  async play() {
    const begin = Date.now();
    for (const event of this.schedule.events) {
      await settle(Math.max(0, begin + event.at - Date.now()));
      this.events[event.what] = (this.events[event.what] ?? 0) + 1;
      this.#happen(event);
    }
    await settle(Math.max(0, begin + this.schedule.length - Date.now()));
    await this.redisQueue;
    await Promise.all(this.places.map(({ queue }) => queue));
  }

  /** @param {ChaosEvent} event */
  #happen({ what, client, node, particulars }) {
    if (client !== undefined) {
      this.travellers[client].client.cut();
    } else if (node !== undefined) {
      const place = this.places[node];
      const { isOfLink, happen } = NODE_FAULTS[what];
      const work = async () => happen(place, particulars, this);
      place.queue = place.queue
        .then(() => (isOfLink ? place.trouble.during(work) : work()))
        .catch(this.#note);
    } else {
      const servers = /** @type {import("./redis/servers").Servers} */ (this.redis);
      const happen = () => REDIS_FAULTS[what].happen(servers, particulars, this);
      this.redisQueue = this.redisQueue
        .then(() =>
          within(this.redisTrouble.during(happen), `"${what}" to be over`, REDIS_FAULT_LIMIT),
        )
        .catch(this.#note);
    }
  }

  #note = (/** @type {Error} */ error) => {
    this.faults.push(String(error.stack));
  };

  /** Kills a node, and starts another one in its place after a while. @param {Place} place @param {number} ms */
  async replaceNode(place, ms) {
    const agent = /** @type {Agent} */ (place.agent);
    place.agent = undefined;
    const { faults, oversized } = await agent.findings();
    this.faults.push(...faults);
    this.emitted.set(place.sender, { oversized });
    this.killed.set(place.sender, Date.now());
    await agent.kill();
    await settle(ms);
    return this.#startNode(place);
  }

  /**
   * Notes that Redis refuses packets while something is done.
   *
   * @param {import("./packets").Refusal["packets"]} packets
   * @param {() => Promise<unknown>} work
   */
  async whileRefusing(packets, work) {
    const refusal = { from: Date.now(), to: Infinity, packets };
    this.refusals.push(refusal);
    try {
      await work();
    } finally {
      refusal.to = Date.now();
    }
  }

  // The end

  /** Lets everything come to rest, and judges. @returns {Promise<Report>} */
  async judge() {
    const servers = /** @type {import("./redis/servers").Servers} */ (this.redis);
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
    const truth = await readTruth(await servers.admin());
    // The tally says who lacks something; where it never comes, nobody has to wait long for it.
    const timeout = this.kind === "upstream" ? 3_000 : QUIET_LIMIT;
    await waitFor(() => this.travellers.every(({ client }) => client.isComplete(truth)), {
      timeout,
      interval: 50,
    }).catch(() => {});
    await settle(300); // nothing may come late

    /** @type {Record<string, number>} */
    const counters = {};
    /** By sender. @type {Map<number, number>} */
    const failed = new Map();
    for (const { agent, sender } of this.places) {
      if (!agent) {
        continue;
      }
      const { stats, losses, faults, emitted, oversized } = await agent.findings();
      this.emitted.set(sender, { count: emitted, oversized });
      failed.set(sender, stats?.failed ?? 0);
      this.faults.push(...faults);
      if (losses.length > 0) {
        this.faults.push(`node ${sender} says losses: ${JSON.stringify(losses)}`);
      }
      for (const name of ["doubled", "doubtful", "failed", "lost", "malformed", "reconnects"]) {
        counters[name] = (counters[name] ?? 0) + (stats?.[name] ?? 0);
      }
    }
    const publishing = new Publishing(truth, this.emitted, this.refusals);
    const wasRefused = (/** @type {number} */ id) => publishing.wasRefused(id);
    const tally = new Tally();
    this.travellers.forEach(({ client }) => client.judge(truth, tally, wasRefused));
    for (const [sender, count] of failed) {
      const refused = publishing.refused.get(sender);
      if (count !== refused && this.kind === "native") {
        this.faults.push(`node ${sender} counts ${count} failed publishes, ${refused} are missing`);
      }
    }
    const { faults, events } = this;
    const { fresh, unjustified } = this.returns;
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
        const [entry] =
          (await this.redis?.command("XREVRANGE", "socket.io", "+", "-", "COUNT", 1)) ?? [];
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
        place.gate.close();
      }),
    );
    await this.redis?.stop();
  }
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

module.exports = { runScenario, Place, Scenario };
