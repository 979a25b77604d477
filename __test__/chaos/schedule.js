// What happens in a chaos run, and when: a function of its options alone, so that a run can be
// repeated as far as the machine allows.

"use strict";

const { random } = require("../faults/random");
const { between, shuffled } = require("./chances");
const { NODE_FAULTS } = require("./node-faults");
const { REDIS_FAULTS } = require("./redis-faults");

/**
 * @typedef {import("./redis").RedisKind} RedisKind
 *
 * @typedef {object} ChaosEvent
 * @property {number} at ms from the start
 * @property {string} what
 * @property {number} [client] index of the client that drops
 * @property {number} [node] index of the node that it happens to
 * @property {Record<string, any>} [particulars] of a fault
 *
 * @typedef {object} Schedule
 * @property {RedisKind} redis
 * @property {number} seed
 * @property {number} length ms
 * @property {number} nodes
 * @property {number} clients
 * @property {ChaosEvent[]} events in order of time
 */

/** ms between two faults of nodes, and of Redis, on average. */
const NODE_FAULT_EVERY = 1_000;
const REDIS_FAULT_EVERY = 1_500;
/** How much of that the time between two may differ from it. */
const JITTER = 0.3;
/** ms between two drops of one client, on average. */
const DROP_EVERY = 4_000;
/** The last faults come so long before the end, so that nothing is cut short. */
const MARGIN = 1_000;

/** @param {RedisKind} redis */
function faultsOf(redis) {
  const onRedis = Object.entries(REDIS_FAULTS).filter(
    ([, { only }]) => only?.includes(redis) ?? true,
  );
  return { node: Object.keys(NODE_FAULTS), redis: onRedis.map(([what]) => what) };
}

/**
 * Times at which one of the kinds happens, each kind once before one comes again.
 *
 * @param {() => number} chance
 * @param {string[]} kinds
 * @param {number} every ms
 * @param {number} length ms
 */
function* drawn(chance, kinds, every, length) {
  /** @type {string[]} */
  let bag = [];
  for (let at = 0; kinds.length > 0;) {
    at += between(chance, (1 - JITTER) * every, (1 + JITTER) * every);
    if (at > length - MARGIN) {
      return;
    }
    bag = bag.length > 0 ? bag : shuffled(chance, kinds);
    yield { at, what: /** @type {string} */ (bag.pop()) };
  }
}

/**
 * @param {object} options
 * @param {number} options.seed
 * @param {number} options.length ms
 * @param {RedisKind} [options.redis]
 * @param {string[]} [options.faults] these only
 * @param {number} [options.nodes]
 * @param {number} [options.clients]
 * @returns {Schedule}
 */
function makeSchedule({ seed, length, redis = "single", faults, nodes = 3, clients = 50 }) {
  const chance = random(seed);
  /** @type {ChaosEvent[]} */
  const events = [];
  const all = faultsOf(redis);
  const wanted = (/** @type {string} */ what) => faults?.includes(what) ?? true;
  for (const { at, what } of drawn(chance, all.node.filter(wanted), NODE_FAULT_EVERY, length)) {
    const node = Math.floor(chance() * nodes);
    events.push({ at, what, node, particulars: NODE_FAULTS[what].draw(chance) });
  }
  for (const { at, what } of drawn(chance, all.redis.filter(wanted), REDIS_FAULT_EVERY, length)) {
    events.push({ at, what, particulars: REDIS_FAULTS[what].draw(chance) });
  }
  for (let client = 0; client < clients; client++) {
    for (let at = chance() * DROP_EVERY; at < length; at += 2 * chance() * DROP_EVERY) {
      events.push({ at: Math.floor(at), what: "client dropped", client });
    }
  }
  events.sort((a, b) => a.at - b.at);
  return { redis, seed, length, nodes, clients, events };
}

module.exports = { faultsOf, makeSchedule };
