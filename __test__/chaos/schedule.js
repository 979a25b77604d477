// What happens in a chaos run, and when: a function of the seed and the length alone, so that a run
// can be repeated as far as the machine allows.

"use strict";

const { random } = require("../faults/random");

/**
 * @typedef {object} ChaosEvent
 * @property {number} at ms from the start
 * @property {string} what
 * @property {number} [client] index
 * @property {number} [node] index
 * @property {number} [ms] how long it lasts
 * @property {"up" | "down"} [direction]
 * @property {number} [bytes]
 * @property {string} [type] of connections
 * @property {NodeJS.Signals} [signal]
 *
 * @typedef {object} Schedule
 * @property {number} seed
 * @property {number} length ms
 * @property {number} nodes
 * @property {number} clients
 * @property {ChaosEvent[]} events in order of time
 */

/** ms between two faults of the nodes and of Redis, on average. */
const FAULT_EVERY = 700;
/** ms between two drops of one client, on average. */
const DROP_EVERY = 4_000;
/** The last faults come so long before the end, so that nothing is cut short. */
const MARGIN = 1_000;

/**
 * The faults, each with its particulars.
 *
 * @type {((chance: () => number, node: number) => Omit<ChaosEvent, "at">)[]}
 */
const FAULTS = [
  (chance) => ({ what: "connections killed", type: chance() < 0.5 ? "normal" : "pubsub" }),
  () => ({ what: "connections killed", type: "all" }),
  (chance) => ({ what: "redis stopped", ms: between(chance, 100, 2_000) }),
  () => ({ what: "redis restarted", signal: "SIGTERM" }),
  () => ({ what: "redis restarted", signal: "SIGKILL" }),
  (chance, node) => ({ what: "proxy stalled", node, ms: between(chance, 100, 1_500) }),
  (chance, node) => ({
    what: "proxy cut",
    node,
    direction: chance() < 0.5 ? "up" : "down",
    // Anywhere from the first byte of a reply to the last one of many.
    bytes: Math.floor(10 ** (chance() * 4)),
  }),
  (chance, node) => ({ what: "event loop blocked", node, ms: between(chance, 50, 1_000) }),
  (chance, node) => ({ what: "node killed", node, ms: between(chance, 50, 1_000) }),
];

/** @param {() => number} chance @param {number} low @param {number} high */
function between(chance, low, high) {
  return Math.floor(low + chance() * (high - low));
}

/**
 * @template T
 * @param {() => number} chance
 * @param {T[]} list
 */
function shuffled(chance, list) {
  const rest = [...list];
  return list.map(() => rest.splice(Math.floor(chance() * rest.length), 1)[0]);
}

/**
 * @param {object} options
 * @param {number} options.seed
 * @param {number} options.length ms
 * @param {number} [options.nodes]
 * @param {number} [options.clients]
 * @returns {Schedule}
 */
function makeSchedule({ seed, length, nodes = 3, clients = 50 }) {
  const chance = random(seed);
  /** @type {ChaosEvent[]} */
  const events = [];
  /** Each kind comes once before one comes again. @type {typeof FAULTS} */
  let bag = [];
  for (let at = 0; ;) {
    at += between(chance, 0.5 * FAULT_EVERY, 1.5 * FAULT_EVERY);
    if (at > length - MARGIN) {
      break;
    }
    bag = bag.length > 0 ? bag : shuffled(chance, FAULTS);
    const fault = /** @type {(typeof FAULTS)[number]} */ (bag.pop());
    events.push({ at, ...fault(chance, Math.floor(chance() * nodes)) });
  }
  for (let client = 0; client < clients; client++) {
    for (let at = chance() * DROP_EVERY; at < length; at += 2 * chance() * DROP_EVERY) {
      events.push({ at: Math.floor(at), what: "client dropped", client });
    }
  }
  events.sort((a, b) => a.at - b.at);
  return { seed, length, nodes, clients, events };
}

module.exports = { makeSchedule };
