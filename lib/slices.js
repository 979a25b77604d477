"use strict";
// Takes the engine's events in slices, so that other callbacks of the event loop run in between.

const { setImmediate, now } = require("./timers");
const { Turn } = require("./turn");

/** The most events to handle before other callbacks of the event loop run. */
const SLICE = 256;
/** About the longest time to handle events before other callbacks of the event loop run, ms. */
const SLICE_TIME = 10;

class Slices {
  #native;
  #handlers;
  #onHandled;
  #turn;
  /** True while a slice is handled, whose numbers the next one overwrites, and until the next one is
   * taken. */
  #isTaken = false;
  /** How many events the next slice may have. */
  #size = 16;

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

  /** Handles a slice of the waiting events, and schedules itself for the next one. */
  take() {
    if (this.#isTaken) {
      return;
    }
    this.#isTaken = true;
    let isEmpty = false;
    try {
      isEmpty = !this.#handle();
      this.#onHandled();
    } finally {
      if (isEmpty) {
        this.#isTaken = false;
      } else {
        // Also after an error, or no slice would be taken any more.
        setImmediate(() => {
          this.#isTaken = false;
          this.take();
        });
      }
    }
  }

  /** @returns {boolean} false if nothing was waiting */
  #handle() {
    const batch = this.#native.drain(this.#size, this.#turn.numbers);
    if (batch === null) {
      return false;
    }
    const start = now();
    const handled = this.#turn.handle(batch, this.#handlers);
    this.#size = sliceAfter(this.#size, handled, now() - start);
    return true;
  }
}

/**
 * @param {number} size of the last slice at the most
 * @param {number} handled the events that it had
 * @param {number} took ms
 * @returns {number} how many events the next slice may have: as many as fit in the time, if they take as
 * long as those of the last one, and at the most twice as many as before
 */
function sliceAfter(size, handled, took) {
  const fitting = took > 0 ? Math.ceil((handled * SLICE_TIME) / took) : SLICE;
  return Math.max(1, Math.min(fitting, 2 * size, SLICE));
}

module.exports = { Slices };
