"use strict";
// Gathers the messages of one tick, and hands several of them to the engine in one call, which takes
// half the time of as many calls. The first message of a tick does not wait: it is on its way even if
// the tick goes on for long.

const { hasRoom, publishAll } = require("./native");
const { queueMicrotask } = require("./timers");

/** The most messages in one call. With more, the engine would begin to write later. */
const MOST = 16;
/** The largest JSON that is gathered, in characters. More would gain nothing. */
const LARGEST = 4_096;
/** More bytes than MOST messages of that size take in the queue, whatever their characters. */
const ROOM = 2 ** 20;

/**
 * @typedef {import("./namespace").Namespace} Namespace
 * @typedef {import("./engine").Published} Published
 */

class Gathered {
  #add;
  /** @type {Namespace | undefined} */
  #namespace;
  #type = 0;
  /** Joined by line breaks, which JSON.stringify writes nowhere. */
  #jsons = "";
  /** What waits for the end of each. @type {Published[]} */
  #waiting = [];
  /** True if something was published in this tick. */
  #isInTick = false;
  #endTick = () => {
    this.#isInTick = false;
    this.flush();
  };

  /** @param {(ticket: number, published: Published) => void} add called for each message */
  constructor(add) {
    this.#add = add;
  }

  /**
   * @param {Namespace} namespace
   * @param {number} type
   * @param {import("./codec").EncodedData} data
   * @param {Published} published
   * @returns {boolean} false if the message has to be published alone. What was gathered before it is
   * handed over then
   */
  take(namespace, type, { json, attachments }, published) {
    if (!this.#isInTick) {
      this.#isInTick = true;
      queueMicrotask(this.#endTick);
      return false;
    }
    if (namespace !== this.#namespace || type !== this.#type) {
      this.flush();
    }
    const mayBeGathered = json !== undefined && attachments === undefined && json.length <= LARGEST;
    // A message is gathered only if the queue will take it: a full queue is told at the call.
    if (!mayBeGathered || (this.#waiting.length === 0 && !hasRoom(namespace.place, ROOM))) {
      this.flush();
      return false;
    }
    this.#namespace = namespace;
    this.#type = type;
    this.#jsons = this.#waiting.length === 0 ? json : `${this.#jsons}\n${json}`;
    if (this.#waiting.push(published) === MOST) {
      this.flush();
    }
    return true;
  }

  /** Hands over what was gathered. */
  flush() {
    const namespace = this.#namespace;
    if (namespace === undefined) {
      return;
    }
    const [jsons, waiting] = [this.#jsons, this.#waiting];
    this.#namespace = undefined;
    this.#jsons = "";
    this.#waiting = [];
    const first = publishAll(namespace.place, this.#type, jsons);
    for (let i = 0; i < waiting.length; i++) {
      this.#add((first + i) >>> 0, waiting[i]);
    }
  }
}

module.exports = { Gathered };
