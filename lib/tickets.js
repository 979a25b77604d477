"use strict";
// Who waits for which ticket. Tickets are numbered in turn and come back nearly in that order, by the
// hundred thousand per second. A Map is copied again and again then, and what it was copied from keeps
// alive what was taken out of it, until the next full garbage collection. So each ticket has a place,
// and only one whose place is taken goes into a Map.

/** A power of two: a ticket's place is its number modulo this. */
const PLACES = 8_192;

/** @template T */
class Tickets {
  /** @type {(T | undefined)[]} */
  #waiting = new Array(PLACES).fill(undefined);
  /** Whose place it is, where somebody waits. */
  #tickets = new Uint32Array(PLACES);
  /** @type {Map<number, T>} */
  #others = new Map();
  #size = 0;

  /** How many wait. */
  get size() {
    return this.#size;
  }

  /**
   * @param {number} ticket an unsigned 32-bit integer that nobody waits for
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
  }

  /**
   * @param {number} ticket
   * @returns {T | undefined} who has waited for it
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
