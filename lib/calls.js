"use strict";
// What JS asks the engine for, until an event answers it.

class Calls {
  #next = 0;
  /** @type {Map<number, { resolve: (event: any) => void, reject: (e: Error) => void }>} */
  #open = new Map();

  get size() {
    return this.#open.size;
  }

  /**
   * @param {(call: number) => void} ask names the call to the engine; what it throws, this throws
   * @returns {Promise<any>} the event that answers the call
   */
  begin(ask) {
    const call = this.#next++ >>> 0;
    ask(call);
    return new Promise((resolve, reject) => {
      this.#open.set(call, { resolve, reject });
    });
  }

  /**
   * Takes the call that an event answers.
   *
   * @param {number} call
   */
  take(call) {
    const waiting = this.#open.get(call);
    this.#open.delete(call);
    return waiting;
  }

  /** @param {Error} error that of all calls that are still open */
  rejectAll(error) {
    this.#open.forEach(({ reject }) => reject(error));
    this.#open.clear();
  }
}

module.exports = { Calls };
