"use strict";
// Requests that wait for answers of other nodes. Each ends as soon as all living nodes have answered.
// While one is open, this counts the living nodes again and again.

const { PendingResponders } = require("./pending-responders");
const { clearTimeout, now, setImmediate, setTimeout } = require("./timers");
const { warnOfHandler } = require("./warnings");

/** The first and the longest time between two counts, ms. */
const FIRST_DELAY = 50;
const LONGEST_DELAY = 500;

/**
 * @typedef {import("./native-binding").NativeSubscriberCount} SubscriberCount
 *
 * @typedef {object} Waiter the sender of the request
 * @property {(count: SubscriberCount) => void} begin called with the nodes whose answers to expect
 * @property {(uid: string, response: any) => boolean} accept true if no more answers are expected
 * from this node
 * @property {(uid?: string) => void} leave an awaited node is gone; without a uid, one that had not
 * answered yet
 * @property {() => void} complete no more answers are expected
 */

/**
 * Runs code that may end a request. That calls a callback of the user's, which may throw.
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

class PendingRequest {
  /** @type {PendingResponders | undefined} */
  responders;
  #waiter;
  /** Answers that arrived before the first count. @type {[string, any][]} */
  #early = [];

  /** @param {Waiter} waiter */
  constructor(waiter) {
    this.#waiter = waiter;
  }

  /** @param {SubscriberCount} count */
  begin(count) {
    this.responders = new PendingResponders(count);
    this.#waiter.begin(count);
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
   * @param {Map<string, boolean>} present for each uid that the count asked about, whether it listens
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

/** The open requests of one adapter. */
class PendingRequests {
  /** @type {Map<string, PendingRequest>} */
  #open = new Map();
  #all;
  #countSubscribers;
  /** @type {Promise<SubscriberCount> | undefined} */
  #count;
  /** @type {SubscriberCount} */
  #lastCount = { known: [], others: 0, present: [] };
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  /** When it is due, ms. */
  #due = 0;
  #delay = FIRST_DELAY;
  #refreshing = false;
  /** Called when no request is open any more. @type {(() => void)[]} */
  #onIdle = [];

  /**
   * @param {(asked: string[]) => Promise<SubscriberCount>} countSubscribers
   * @param {Map<string, PendingRequest>} [all] those of all adapters of a node: the answer to a request of
   * an adapter that was replaced comes to its successor
   */
  constructor(countSubscribers, all = new Map()) {
    this.#countSubscribers = countSubscribers;
    this.#all = all;
  }

  /** The last known nodes, without this one. */
  get lastCount() {
    return this.#lastCount;
  }

  /**
   * Counts the nodes. Simultaneous calls share one count: socket.io asks for the number of servers
   * right after a broadcast with acknowledgements, and waits for exactly that number.
   *
   * @returns {Promise<SubscriberCount>}
   */
  count() {
    return this.#count ?? this.useCount(this.#countSubscribers([]));
  }

  /**
   * The nodes are being counted already, together with a request.
   *
   * @param {Promise<SubscriberCount>} count
   */
  useCount(count) {
    const noted = count.then((taken) => (this.#lastCount = taken));
    const shared = noted.finally(() => {
      if (this.#count === shared) {
        this.#count = undefined;
      }
    });
    this.#count = shared;
    // An error is for those who wait for it, if anybody does.
    shared.catch(() => {});
    return shared;
  }

  /**
   * @param {string} requestId
   * @param {Waiter} waiter
   */
  async open(requestId, waiter) {
    const request = new PendingRequest(waiter);
    this.#open.set(requestId, request);
    this.#all.set(requestId, request);
    /** @type {SubscriberCount | undefined} */
    let count;
    while (count === undefined && this.#open.get(requestId) === request) {
      try {
        count = await this.count();
      } catch {
        // The connection broke during the count. The request's own time-out ends this loop.
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
    this.#all.get(requestId)?.answer(uid, response);
  }

  /** @param {string} requestId */
  close(requestId) {
    this.#open.delete(requestId);
    this.#all.delete(requestId);
    if (this.#open.size === 0) {
      this.#unschedule();
      this.#onIdle.splice(0).forEach((resolve) => resolve());
    }
  }

  /**
   * @param {number} limit ms
   * @returns {Promise<void>} resolves when no request is open, and whoever waited for the last one has
   * not begun another; or when the time is up
   */
  async idle(limit) {
    const until = now() + limit;
    do {
      const left = until - now();
      if (this.#open.size > 0) {
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, left, undefined);
          this.#onIdle.push(() => resolve(clearTimeout(timer)));
        });
      }
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#open.size > 0 && now() < until);
  }

  /** Counts the nodes now, and updates the open requests. */
  async refresh() {
    if (this.#refreshing || this.#open.size === 0) {
      return;
    }
    this.#refreshing = true;
    const pending = [...this.#open].filter(([, request]) => request.responders !== undefined);
    const asked = [...new Set(pending.flatMap(([, request]) => request.responders?.placed ?? []))];
    try {
      const count = await this.#countSubscribers(asked);
      this.#lastCount = count;
      const present = new Map(asked.map((uid, i) => [uid, count.present[i]]));
      for (const [requestId, request] of pending) {
        // The request may have ended during the count.
        if (this.#open.get(requestId) === request) {
          guarded(() => request.refresh(count, present));
        }
      }
    } catch {
      // The next count follows soon.
    }
    this.#refreshing = false;
    this.#schedule();
  }

  /** Looks again soon. A look that is due before stays: a further request does not put it off. */
  #schedule() {
    const due = now() + this.#delay;
    if (this.#open.size === 0 || (this.#timer !== undefined && this.#due <= due)) {
      return;
    }
    this.#unschedule();
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.refresh();
    }, this.#delay).unref();
    this.#delay = Math.min(this.#delay * 1.5, LONGEST_DELAY);
  }

  #unschedule() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

module.exports = { PendingRequests };
