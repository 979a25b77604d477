"use strict";
// Requests that wait for answers of other nodes: each ends as soon as everyone who is alive has
// answered. While one is open, it is looked again and again who is still there.

const { RollCall } = require("./roll-call");
const { warnOfHandler } = require("./warnings");

/** First and longest time between two looks, ms. */
const FIRST_LOOK = 50;
const LONGEST_LOOK = 500;

/**
 * @typedef {import("./native-binding").NativeCensus} Census
 *
 * @typedef {object} Waiter the request's side
 * @property {(expected: number) => void} begin how many answers are expected
 * @property {(uid: string, response: any) => boolean} accept true when nothing more is expected
 * from this node
 * @property {(uid?: string) => void} leave a node that was waited for has gone; without a uid one
 * that had said nothing yet
 * @property {() => void} complete nobody is left to be waited for
 */

/**
 * Runs what may end a request, and so call a callback of the user's that throws.
 *
 * @param {() => void} work
 */
function guarded(work) {
  try {
    work();
  } catch (error) {
    warnOfHandler("a callback for the answers of other servers has thrown", error);
  }
}

/** One request. */
class Wait {
  /** @type {RollCall | undefined} */
  rollCall;
  #waiter;
  /** Answers that came before it was known who is there. @type {[string, any][]} */
  #early = [];

  /** @param {Waiter} waiter */
  constructor(waiter) {
    this.#waiter = waiter;
  }

  /** @param {Census} census */
  begin(census) {
    this.rollCall = new RollCall(census);
    this.#waiter.begin(this.rollCall.expected);
    this.#early.forEach(([uid, response]) => this.#accept(uid, response));
    this.#early = [];
    this.#completeIfSo();
  }

  /**
   * @param {string} uid
   * @param {any} response
   */
  answer(uid, response) {
    if (this.rollCall === undefined) {
      this.#early.push([uid, response]);
      return;
    }
    this.#accept(uid, response);
    this.#completeIfSo();
  }

  /**
   * @param {Census} census
   * @param {(uid: string) => boolean} isPresent
   */
  look(census, isPresent) {
    if (this.rollCall === undefined) {
      return;
    }
    const { gone, vacated } = this.rollCall.look(census, isPresent);
    gone.forEach((uid) => this.#waiter.leave(uid));
    for (let i = 0; i < vacated; i++) {
      this.#waiter.leave();
    }
    this.#completeIfSo();
  }

  /**
   * @param {string} uid
   * @param {any} response
   */
  #accept(uid, response) {
    if (this.rollCall?.awaits(uid) && this.#waiter.accept(uid, response)) {
      this.rollCall.settle(uid);
    }
  }

  #completeIfSo() {
    if (this.rollCall?.isComplete) {
      this.#waiter.complete();
    }
  }
}

/** The open requests of one namespace. */
class Waits {
  /** @type {Map<string, Wait>} */
  #open = new Map();
  #takeCensus;
  /** @type {Promise<Census> | undefined} */
  #census;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #delay = FIRST_LOOK;
  #looking = false;

  /** @param {(asked: string[]) => Promise<Census>} takeCensus */
  constructor(takeCensus) {
    this.#takeCensus = takeCensus;
  }

  /**
   * Who is there. Calls of one moment share the answer: socket.io asks for the number of servers
   * right after a broadcast with acknowledgements, and waits for exactly as many.
   *
   * @returns {Promise<Census>}
   */
  census() {
    this.#census ??= this.#takeCensus([]).finally(() => (this.#census = undefined));
    return this.#census;
  }

  /**
   * @param {string} requestId
   * @param {Waiter} waiter
   */
  async open(requestId, waiter) {
    const wait = new Wait(waiter);
    this.#open.set(requestId, wait);
    /** @type {Census | undefined} */
    let census;
    while (census === undefined && this.#open.get(requestId) === wait) {
      try {
        census = await this.census();
      } catch {
        // The connection broke under the question; the request's own time-out ends this.
        await new Promise((resolve) => setTimeout(resolve, FIRST_LOOK).unref());
      }
    }
    const taken = census;
    if (taken !== undefined && this.#open.get(requestId) === wait) {
      guarded(() => wait.begin(taken));
      this.#delay = FIRST_LOOK;
      this.#schedule();
    }
  }

  /**
   * @param {string} requestId
   * @param {string} uid
   * @param {any} response
   */
  answer(requestId, uid, response) {
    this.#open.get(requestId)?.answer(uid, response);
  }

  /** @param {string} requestId */
  close(requestId) {
    this.#open.delete(requestId);
    if (this.#open.size === 0) {
      clearTimeout(this.#timer);
    }
  }

  /** Looks now who is still there. */
  async look() {
    if (this.#looking || this.#open.size === 0) {
      return;
    }
    this.#looking = true;
    const waits = [...this.#open].filter(([, wait]) => wait.rollCall !== undefined);
    const asked = [...new Set(waits.flatMap(([, wait]) => wait.rollCall?.placed ?? []))];
    try {
      const census = await this.#takeCensus(asked);
      const present = new Set(asked.filter((_, i) => census.present[i]));
      for (const [requestId, wait] of waits) {
        // It may have ended while the census was taken.
        if (this.#open.get(requestId) === wait) {
          guarded(() => wait.look(census, (uid) => present.has(uid)));
        }
      }
    } catch {
      // Asked again soon.
    }
    this.#looking = false;
    this.#schedule();
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.#open.size > 0) {
      this.#timer = setTimeout(() => this.look(), this.#delay).unref();
      this.#delay = Math.min(this.#delay * 1.5, LONGEST_LOOK);
    }
  }
}

module.exports = { Waits };
