"use strict";
// The nodes that were not there a moment ago, so that not each of their clients has to wait for a look.

const { now } = require("./timers");

/** For how long a node that is not there is not looked for again, ms. */
const DEAD = 5_000;

class DeadNodes {
  #clock;
  /** Until when each node counts as dead, in the order of these times. @type {Map<string, number>} */
  #until = new Map();

  /** @param {() => number} [clock] ms, monotonic */
  constructor(clock = now) {
    this.#clock = clock;
  }

  /** How many nodes are remembered. */
  get size() {
    return this.#until.size;
  }

  /** @param {string} uid of a node */
  has(uid) {
    return (this.#until.get(uid) ?? -Infinity) > this.#clock();
  }

  /** Adds a node, and forgets those whose time is over. @param {string} uid */
  add(uid) {
    const time = this.#clock();
    for (const [other, until] of this.#until) {
      if (until > time) {
        break;
      }
      this.#until.delete(other);
    }
    this.#until.delete(uid);
    this.#until.set(uid, time + DEAD);
  }
}

module.exports = { DeadNodes };
