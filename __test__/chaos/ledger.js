// What one client received in one session, and the judgement on it: each packet once, in the
// stream's order, none left out.

"use strict";

const { packetName } = require("./packets");

/**
 * @typedef {object} Judgement packets by what is wrong with them
 * @property {number[]} lost
 * @property {number[]} doubled once for each time too many
 * @property {number[]} disordered came after one that stands behind it
 * @property {number[]} unknown not in the stream, or not for this client
 */

/** Where each packet stands, for lists that many ledgers are judged by. @type {WeakMap<number[], Map<number, number>>} */
const known = new WeakMap();

/** @param {number[]} expected */
function placesIn(expected) {
  const places = known.get(expected) ?? new Map(expected.map((id, place) => [id, place]));
  known.set(expected, places);
  return places;
}

class Ledger {
  constructor() {
    /** @type {number[]} */
    this.received = [];
    /** False once the client has got a new session: what comes later is not this ledger's. */
    this.isOpen = true;
  }

  /** @param {number} id of a packet */
  add(id) {
    this.received.push(id);
  }

  /**
   * A session begins with the first packet that it got, and ends with the last one; while it is open
   * it has to reach the end of the stream.
   *
   * @param {number[]} expected what the stream holds for this client, in order
   * @param {(id: number) => boolean} [wasRefused] whether Redis has refused a packet that is not in the
   *   stream: the clients of its node get it all the same, once
   * @returns {Judgement}
   */
  judge(expected, wasRefused = () => false) {
    const places = placesIn(expected);
    /** @type {Judgement} */
    const judgement = { lost: [], doubled: [], disordered: [], unknown: [] };
    const seen = new Set();
    const refused = new Set();
    let furthest = -1;
    let first = Infinity;
    for (const id of this.received) {
      const place = places.get(id);
      if (place === undefined) {
        if (refused.has(id)) {
          judgement.doubled.push(id);
        } else if (wasRefused(id)) {
          refused.add(id);
        } else {
          judgement.unknown.push(id);
        }
      } else if (seen.has(place)) {
        judgement.doubled.push(id);
      } else {
        if (place < furthest) {
          judgement.disordered.push(id);
        }
        seen.add(place);
        furthest = Math.max(furthest, place);
        first = Math.min(first, place);
      }
    }
    const end = this.isOpen ? expected.length : furthest + 1;
    for (let place = first; place < end; place++) {
      if (!seen.has(place)) {
        judgement.lost.push(expected[place]);
      }
    }
    return judgement;
  }
}

/** Adds up judgements. */
class Tally {
  constructor() {
    this.received = 0;
    this.lost = 0;
    this.doubled = 0;
    this.disordered = 0;
    this.unknown = 0;
    /** What was wrong first, for people. @type {string[]} */
    this.samples = [];
    /** Where clients with faults have been. @type {string[]} */
    this.journeys = [];
  }

  /**
   * @param {string} who
   * @param {Ledger} ledger
   * @param {number[]} expected
   * @param {import("./packets").Truth} [truth] knows more of the packets
   * @param {(id: number) => boolean} [wasRefused] as for {@link Ledger.judge}
   */
  add(who, ledger, expected, truth, wasRefused) {
    const judgement = ledger.judge(expected, wasRefused);
    this.received += ledger.received.length;
    for (const what of /** @type {const} */ (["lost", "doubled", "disordered", "unknown"])) {
      const ids = judgement[what];
      this[what] += ids.length;
      if (ids.length > 0 && this.samples.length < 20) {
        const names = ids.slice(0, 5).map((id) => {
          const place = expected.indexOf(id);
          const neighbour = ledger.received.indexOf(expected[place - 1]);
          const rooms = truth?.roomsOf(id) ?? [];
          const after = neighbour < 0 ? "" : ` (after ${neighbour + 1} packets)`;
          return [packetName(id), ...rooms].join(" to ") + after;
        });
        this.samples.push(`${who}: ${ids.length} ${what}: ${names.join(", ")}`);
      }
    }
  }

  /** How many faults in all. */
  get faults() {
    return this.lost + this.doubled + this.disordered + this.unknown;
  }
}

module.exports = { Ledger, Tally };
