"use strict";
// Emits at a steady rate, as exactly as timers allow.

/**
 * @param {{ rate: number, seconds: number, tick?: number }} pace rate per second; tick: ms between two
 *   checks, each of which costs time itself
 * @param {() => void} emit
 * @returns {Promise<number>} how many were emitted
 */
function emitAtRate({ rate, seconds, tick = 1 }, emit) {
  const start = performance.now();
  const total = rate * seconds;
  let emitted = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, ((performance.now() - start) / 1_000) * rate);
      for (; emitted < due; emitted++) {
        emit();
      }
      if (emitted >= total) {
        clearInterval(timer);
        resolve(emitted);
      }
    }, tick);
  });
}

module.exports = { emitAtRate };
