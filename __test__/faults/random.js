// Random numbers that come again with the same seed: SEED=… repeats a run.

"use strict";

/** @returns {number} */
function seed() {
  return Number(process.env.SEED ?? Date.now() % 2 ** 31);
}

/**
 * mulberry32.
 *
 * @param {number} state the seed
 * @returns {() => number} from 0 up to, not including, 1
 */
function random(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

module.exports = { seed, random };
