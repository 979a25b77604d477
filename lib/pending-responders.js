"use strict";
// The nodes that have not answered a request yet.
//
// Nodes with this adapter are known by their uid. Upstream's nodes are unknown until they answer, so
// each of them has a place. An unknown node takes a place when it answers. Places are removed when
// fewer nodes listen than have not answered. The request does not wait for a node that is gone.

/**
 * @typedef {object} SubscriberCount the nodes that listen, without this one
 * @property {string[]} known uids of living nodes with this adapter
 * @property {number} others the number of other nodes that listen
 */

class PendingResponders {
  /** @type {Set<string>} nodes of this request: known at the start, or with a place */
  #admitted = new Set();
  /** @type {Set<string>} those whose answers are still expected */
  #awaited = new Set();
  /** @type {Set<string>} nodes that have taken a place */
  #placed = new Set();
  /** The number of places that no node has taken. */
  #places;

  /** @param {SubscriberCount} count taken when the request was made */
  constructor({ known, others }) {
    for (const uid of known) {
      this.#admitted.add(uid);
      this.#awaited.add(uid);
    }
    this.#places = others;
  }

  /** The uids that the next count must ask about by name; otherwise it counts them among the others. */
  get placed() {
    return [...this.#placed];
  }

  /** True if no more answers are expected. */
  get isComplete() {
    return this.#awaited.size === 0 && this.#places === 0;
  }

  /**
   * Whether an answer from this node belongs to the request. It does not if the node has already given
   * all its answers, or if it came later and no place is left.
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
   * No more answers are expected from this node.
   *
   * @param {string} uid
   */
  settle(uid) {
    this.#awaited.delete(uid);
  }

  /**
   * Compares the nodes of this request with a new count.
   *
   * @param {SubscriberCount} count
   * @param {Map<string, boolean>} present for each uid that the count asked about, whether it listens;
   * a node that took a place during the count is not in it
   * @returns {{ gone: string[], vacated: number }} the uids of awaited nodes that are gone, and the
   * number of places that were removed
   */
  refresh({ known, others }, present) {
    const alive = new Set(known);
    const gone = [...this.#awaited].filter(
      (uid) => !alive.has(uid) && !(this.#placed.has(uid) && present.get(uid) !== false),
    );
    // Nodes that listen, were not known and have not answered. A node may have become known meanwhile.
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
