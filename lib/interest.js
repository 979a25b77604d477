"use strict";
// Tells the engine which rooms of a namespace have members here: it hands over their broadcasts.

class Interest {
  #engine;
  #namespace;

  /**
   * @param {import("./engine").Engine} engine
   * @param {import("./namespace").Namespace} namespace
   */
  constructor(engine, namespace) {
    this.#engine = engine;
    this.#namespace = namespace;
  }

  /**
   * Called before a socket joins rooms.
   *
   * @param {Map<any, unknown>} existing
   * @param {Iterable<any>} rooms
   * @param {Map<any, string | undefined>} [created] gets the rooms that had no member here, each with the
   * entry up to which broadcasts to it did not come here
   */
  add(existing, rooms, created) {
    for (const room of rooms) {
      if (!existing.has(room)) {
        const leftOut = this.#tell(room, true);
        created?.set(room, leftOut);
      }
    }
  }

  /**
   * Called when a socket has left rooms.
   *
   * @param {Map<any, unknown>} existing
   * @param {Iterable<any>} rooms
   */
  remove(existing, rooms) {
    for (const room of rooms) {
      if (!existing.has(room)) {
        this.#tell(room, false);
      }
    }
  }

  /**
   * @param {unknown} room if it is not a string, the engine hands over its broadcasts in any case
   * @param {boolean} hasMembers
   * @returns {string | undefined} the entry up to which broadcasts to a new room did not come here
   */
  #tell(room, hasMembers) {
    if (typeof room === "string") {
      return this.#engine.setRoom(this.#namespace, room, hasMembers);
    }
  }
}

module.exports = { Interest };
