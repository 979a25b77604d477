"use strict";
// How far JS has come in the slice of events that it handles. Most code that handles an event can be
// the user's, and may join a socket to a room. The socket gets what stands behind that event, also if
// the engine left it out of the slice because nobody was in the room yet.

const { unpack } = require("./events");

/** More than the events of any slice. Between slices, all events of the last one have been handled. */
const ALL = 2 ** 32 - 1;

/**
 * @typedef {import("./events").Broadcast} Broadcast
 * @typedef {import("./events").Handlers} Handlers
 *
 * @typedef {object} Late a broadcast that was left out of the slice and has a recipient now
 * @property {number} place how many events of the slice come before it
 * @property {number} number its number among what was left out
 * @property {Broadcast} broadcast
 */

class Turn {
  #native;
  /** How many events of the slice JS has begun to handle. */
  #begun = ALL;
  /** How many of the broadcasts that were left out JS has passed. */
  #passed = 0;
  /** Whether a room has got its first member since JS asked for late broadcasts. */
  #hasNewRoom = false;
  /** @type {Late[]} */
  #late = [];

  /** @param {import("./native-binding").NativeEngine} native */
  constructor(native) {
    this.#native = native;
  }

  /**
   * Handles a slice.
   *
   * @param {import("./batch-memory").Batch} batch
   * @param {Handlers} handlers
   * @returns {number} how many events it had
   */
  handle(batch, handlers) {
    this.#begun = 0;
    this.#passed = 0;
    this.#hasNewRoom = false;
    const count = unpack(batch, handlers, this);
    this.#begun = ALL;
    return count;
  }

  begin() {
    this.#begun++;
  }

  /** Delivers the late broadcasts whose turn it is. @param {Handlers} handlers */
  end(handlers) {
    while (this.#hasNewRoom || this.#late.length > 0) {
      if (this.#hasNewRoom) {
        this.#hasNewRoom = false;
        this.#takeLate();
      }
      if (this.#late.length === 0 || this.#late[0].place > this.#begun) {
        return;
      }
      const { number, broadcast } = /** @type {Late} */ (this.#late.shift());
      this.#passed = number + 1;
      try {
        handlers.broadcast(broadcast);
      } catch (error) {
        handlers.thrown(error);
      }
    }
  }

  #takeLate() {
    const taken = this.#native.takeLate(this.#begun, this.#passed);
    if (taken === null) {
      return;
    }
    const { places, numbers } = taken;
    // It brings its numbers: the memory has those of the slice.
    const batch = /** @type {import("./batch-memory").Batch} */ (taken.batch);
    let next = 0;
    const keep = (/** @type {Broadcast} */ broadcast) => {
      this.#late.push({ place: places[next], number: numbers[next], broadcast });
      next++;
    };
    const rethrow = (/** @type {unknown} */ error) => {
      throw error;
    };
    const others = { published() {}, message() {}, rare() {}, thrown: rethrow };
    unpack(batch, { broadcast: keep, ...others });
    this.#late.sort((a, b) => a.number - b.number);
  }

  /**
   * Tells the engine that a room has got its first member, or lost its last one.
   *
   * @param {import("./namespace").Namespace} namespace
   * @param {string} room
   * @param {boolean} hasMembers
   * @returns {string | undefined} the entry up to which broadcasts to the room did not come here
   */
  setRoom(namespace, room, hasMembers) {
    this.#hasNewRoom ||= hasMembers;
    return namespace.setRoom(room, hasMembers, this.#begun, this.#passed);
  }
}

module.exports = { Turn };
