"use strict";
// Requests that wait for answers of other nodes: each ends as soon as everyone who is alive has
// answered. While one is open, it is looked again and again who is still there.

const { PendingResponders } = require("./pending-responders");
const { clearTimeout, setTimeout } = require("./timers");
const { warnOfHandler } = require("./warnings");

/** First and longest time between two looks, ms. */
const FIRST_DELAY = 50;
const LONGEST_DELAY = 500;

/**
 * @typedef {import("./native-binding").NativeSubscriberCount} SubscriberCount
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
class PendingRequest {
  /** @type {PendingResponders | undefined} */
  responders;
  #waiter;
  /** Answers that came before it was known who is there. @type {[string, any][]} */
  #early = [];

  /** @param {Waiter} waiter */
  constructor(waiter) {
    this.#waiter = waiter;
  }

  /** @param {SubscriberCount} count */
  begin(count) {
    this.responders = new PendingResponders(count);
    this.#waiter.begin(this.responders.expected);
    this.#early.forEach(([uid, response]) => this.#accept(uid, response));
    this.#early = [];
    this.#completeIfSo();
  }

  /**
   * @param {string} uid
   * @param {any} response
   */
  answer(uid, response) {
    if (this.responders === undefined) {
      this.#early.push([uid, response]);
      return;
    }
    this.#accept(uid, response);
    this.#completeIfSo();
  }

  /**
   * @param {SubscriberCount} count
   * @param {Map<string, boolean>} present whether those listen that the count was asked about
   */
  refresh(count, present) {
    if (this.responders === undefined) {
      return;
    }
    const { gone, vacated } = this.responders.refresh(count, present);
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
    if (this.responders?.awaits(uid) && this.#waiter.accept(uid, response)) {
      this.responders.settle(uid);
    }
  }

  #completeIfSo() {
    if (this.responders?.isComplete) {
      this.#waiter.complete();
    }
  }
}

/** The open requests of one namespace. */
class PendingRequests {
  /** @type {Map<string, PendingRequest>} */
  #open = new Map();
  #countSubscribers;
  /** @type {Promise<SubscriberCount> | undefined} */
  #count;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  #delay = FIRST_DELAY;
  #refreshing = false;

  /** @param {(asked: string[]) => Promise<SubscriberCount>} countSubscribers */
  constructor(countSubscribers) {
    this.#countSubscribers = countSubscribers;
  }

  /**
   * Who is there. Calls of one moment share the answer: socket.io asks for the number of servers
   * right after a broadcast with acknowledgements, and waits for exactly as many.
   *
   * @returns {Promise<SubscriberCount>}
   */
  count() {
    this.#count ??= this.#countSubscribers([]).finally(() => (this.#count = undefined));
    return this.#count;
  }

  /**
   * @param {string} requestId
   * @param {Waiter} waiter
   */
  async open(requestId, waiter) {
    const request = new PendingRequest(waiter);
    this.#open.set(requestId, request);
    /** @type {SubscriberCount | undefined} */
    let count;
    while (count === undefined && this.#open.get(requestId) === request) {
      try {
        count = await this.count();
      } catch {
        // The connection broke under the question; the request's own time-out ends this.
        await new Promise((resolve) => setTimeout(resolve, FIRST_DELAY).unref());
      }
    }
    const taken = count;
    if (taken !== undefined && this.#open.get(requestId) === request) {
      guarded(() => request.begin(taken));
      this.#delay = FIRST_DELAY;
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
  async refresh() {
    if (this.#refreshing || this.#open.size === 0) {
      return;
    }
    this.#refreshing = true;
    const pending = [...this.#open].filter(([, request]) => request.responders !== undefined);
    const asked = [...new Set(pending.flatMap(([, request]) => request.responders?.placed ?? []))];
    try {
      const count = await this.#countSubscribers(asked);
      const present = new Map(asked.map((uid, i) => [uid, count.present[i]]));
      for (const [requestId, request] of pending) {
        // It may have ended while the count was taken.
        if (this.#open.get(requestId) === request) {
          guarded(() => request.refresh(count, present));
        }
      }
    } catch {
      // Asked again soon.
    }
    this.#refreshing = false;
    this.#schedule();
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.#open.size > 0) {
      this.#timer = setTimeout(() => this.refresh(), this.#delay).unref();
      this.#delay = Math.min(this.#delay * 1.5, LONGEST_DELAY);
    }
  }
}

module.exports = { PendingRequests };
