"use strict";
// Who is still to answer a request.
//
// Nodes of our own kind are known by uid. Upstream nodes do not say who they are before they
// answer: they are places, which are taken by the first unknown answerers, and vacated when fewer
// listen than have not answered. A node that has gone is not waited for.

/**
 * @typedef {object} SubscriberCount who listens, besides this node
 * @property {string[]} known uids of living nodes of our own kind
 * @property {number} others how many further ones listen
 */

class PendingResponders {
  /** @type {Set<string>} who belongs to this request: known at the start, or has taken a place */
  #admitted = new Set();
  /** @type {Set<string>} those of them who are not settled */
  #awaited = new Set();
  /** @type {Set<string>} who has taken a place */
  #placed = new Set();
  /** places that nobody has taken */
  #places;

  /** @param {SubscriberCount} count taken when the request was made */
  constructor({ known, others }) {
    for (const uid of known) {
      this.#admitted.add(uid);
      this.#awaited.add(uid);
    }
    this.#places = others;
    /** How many are expected to answer in all. */
    this.expected = known.length + others;
  }

  /** uids to ask for by name in the next count: without that they count as others. */
  get placed() {
    return [...this.#placed];
  }

  /** True when nobody is left to be waited for. */
  get isComplete() {
    return this.#awaited.size === 0 && this.#places === 0;
  }

  /**
   * Whether an answer from this node belongs to the request. It does not when the node was settled
   * before, or came later and everyone else has been heard.
   *
   * @param {string} uid
   */
  awaits(uid) {
    if (this.#admitted.has(uid) || this.#places === 0) {
      return this.#awaited.has(uid);
    }
    this.#places--;
    this.#placed.add(uid);
    this.#admitted.add(uid);
    this.#awaited.add(uid);
    return true;
  }

  /**
   * Nothing more is expected from this node.
   *
   * @param {string} uid
   */
  settle(uid) {
    this.#awaited.delete(uid);
  }

  /**
   * Looks again who is there.
   *
   * @param {SubscriberCount} count
   * @param {Map<string, boolean>} present whether those listen that the count was asked about; not
   * among them is who took a place after that, and the count tells nothing of it
   * @returns {{ gone: string[], vacated: number }} who was waited for and has left: uids, and
   * places that nobody has taken
   */
  refresh({ known, others }, present) {
    const alive = new Set(known);
    const gone = [...this.#awaited].filter(
      (uid) => !alive.has(uid) && !(this.#placed.has(uid) && present.get(uid) !== false),
    );
    // Who listens and was neither known nor heard. A node may have become known meanwhile.
    const placedAmongOthers = this.placed.filter((uid) => !alive.has(uid) && present.get(uid));
    const newlyKnown = known.filter((uid) => !this.#admitted.has(uid));
    const unheard = others - placedAmongOthers.length + newlyKnown.length;
    const vacated = Math.max(0, this.#places - Math.max(0, unheard));
    this.#places -= vacated;
    gone.forEach((uid) => this.settle(uid));
    return { gone, vacated };
  }
}

module.exports = { PendingResponders };
