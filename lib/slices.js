"use strict";
// Takes the engine's events in slices, so that other callbacks of the event loop run in between. What a
// slice writes to clients is held, and written when the slice has ended.

const { BatchMemory } = require("./batch-memory");
const { HeldWrites } = require("./held-writes");
const { setImmediate, now } = require("./timers");
const { Turn } = require("./turn");

/** The most events to handle before other callbacks of the event loop run. */
const SLICE = 256;
/** About the longest time to handle events, or to write to clients, before other callbacks of the event
 * loop run, ms. */
const SLICE_TIME = 10;

class Slices {
  #native;
  #handlers;
  #onHandled;
  #turn;
  #memory = new BatchMemory();
  #writes = new HeldWrites();
  /** True while a slice is handled, whose memory the next one overwrites, and until nothing waits. */
  #isTaken = false;
  /** How many events the next slice may have. */
  #size = 16;
  /** How long the slices took whose writes are held, ms. */
  #unwritten = 0;

  /**
   * @param {import("./native-binding").NativeEngine} native
   * @param {import("./events").Handlers} handlers
   * @param {() => void} onHandled called after each slice
   */
  constructor(native, handlers, onHandled) {
    this.#native = native;
    this.#handlers = handlers;
    this.#onHandled = onHandled;
    this.#turn = new Turn(native);
  }

  /** How far JS has come in the slice that it handles. */
  get turn() {
    return this.#turn;
  }

  /** What the slices write to clients. */
  get writes() {
    return this.#writes;
  }

  /** Handles what waits, in slices. */
  take() {
    if (!this.#isTaken) {
      this.#isTaken = true;
      this.#next();
    }
  }

  /** Handles a slice or goes on with the writes, and schedules itself if more may wait. */
  #next() {
    let isDone = false;
    try {
      isDone = this.#writes.isBehind ? this.#write() : this.#handle();
      this.#onHandled();
    } finally {
      if (isDone) {
        this.#isTaken = false;
      } else {
        // Also after an error, or no slice would be taken any more.
        setImmediate(() => this.#next());
      }
    }
  }

  /** @returns {boolean} true if nothing is waiting */
  #handle() {
    const batch = this.#memory.drain(this.#native, this.#size);
    if (batch === null) {
      this.#write();
      return !this.#writes.isBehind;
    }
    const start = now();
    this.#writes.isOpen = true;
    let handled = 0;
    try {
      handled = this.#turn.handle(batch, this.#handlers);
    } finally {
      this.#writes.isOpen = false;
    }
    const took = now() - start;
    this.#unwritten += took;
    // If more waits, the writes may wait for it: about as long as they take themselves.
    if (handled < this.#size || this.#unwritten >= this.#writes.took) {
      this.#write();
    }
    this.#size = sliceAfter(this.#size, handled, took);
    return false;
  }

  /** Does the writes that are held, all of them. */
  writeNow() {
    this.#writes.flush(Infinity, this.#handlers.thrown);
  }

  /** @returns {false} */
  #write() {
    this.#writes.flush(SLICE_TIME, this.#handlers.thrown);
    this.#unwritten = 0;
    return false;
  }
}

/**
 * @param {number} size of the last slice at the most
 * @param {number} handled the events that it had; none if the engine has left out all of them
 * @param {number} took ms
 * @returns {number} how many events the next slice may have: as many as fit in the time, if they take as
 * long as those of the last one, and at the most twice as many as before
 */
function sliceAfter(size, handled, took) {
  const isTold = handled > 0 && took > 0;
  const fitting = isTold ? Math.ceil((handled * SLICE_TIME) / took) : SLICE;
  return Math.max(1, Math.min(fitting, 2 * size, SLICE));
}

module.exports = { Slices };
