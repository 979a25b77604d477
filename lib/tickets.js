"use strict";
// Keeps a value for each open ticket. Tickets are numbered in sequence and complete nearly in that
// order, up to some 100,000 per second. At that rate a Map is copied again and again, and the old
// copies keep removed values alive until the next full garbage collection. So each ticket has a place
// in an array, and goes into a Map only if the place is taken.

/** A power of two: a ticket's place is its number modulo this. */
const PLACES = 8_192;

/** @template T */
class Tickets {
  /** @type {(T | undefined)[]} */
  #waiting = new Array(PLACES).fill(undefined);
  /** The ticket in each place that is taken. */
  #tickets = new Uint32Array(PLACES);
  /** @type {Map<number, T>} */
  #others = new Map();
  #size = 0;
  #newest = 0;

  /** The number of open tickets. */
  get size() {
    return this.#size;
  }

  /**
   * @param {number} ticket an unsigned 32-bit integer that is not open
   * @param {T} who
   */
  add(ticket, who) {
    const place = ticket & (PLACES - 1);
    if (this.#waiting[place] === undefined) {
      this.#waiting[place] = who;
      this.#tickets[place] = ticket;
    } else {
      this.#others.set(ticket, who);
    }
    this.#size++;
    this.#newest = ticket;
  }

  /** The ticket that was added last. */
  get newest() {
    return this.#newest;
  }

  /** The values of all open tickets, in the order of the tickets. @returns {T[]} */
  open() {
    const open = [...this.#others];
    this.#waiting.forEach((who, place) => {
      if (who !== undefined) {
        open.push([this.#tickets[place], who]);
      }
    });
    // The numbers begin again at 0.
    return open.sort(([a], [b]) => (a - b) | 0).map(([, who]) => who);
  }

  /** Of those that were added behind a ticket. @param {number} ticket @returns {T[]} */
  openBehind(ticket) {
    const open = [];
    while (ticket !== this.#newest) {
      ticket = (ticket + 1) >>> 0;
      const place = ticket & (PLACES - 1);
      const isInPlace = this.#tickets[place] === ticket && this.#waiting[place] !== undefined;
      const who = isInPlace ? this.#waiting[place] : this.#others.get(ticket);
      if (who !== undefined) {
        open.push(who);
      }
    }
    return open;
  }

  /**
   * @param {number} ticket
   * @returns {T | undefined} its value, which is removed
   */
  take(ticket) {
    const place = ticket & (PLACES - 1);
    let who;
    if (this.#tickets[place] === ticket && this.#waiting[place] !== undefined) {
      who = this.#waiting[place];
      this.#waiting[place] = undefined;
    } else {
      who = this.#others.get(ticket);
      this.#others.delete(ticket);
    }
    if (who !== undefined) {
      this.#size--;
    }
    return who;
  }
}

module.exports = { Tickets };
