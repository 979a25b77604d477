// What a run of the test runner came to, out of its TAP output.

"use strict";

/**
 * @typedef {object} Outcome
 * @property {boolean} ok
 * @property {number} passed
 * @property {number} failed
 * @property {Record<string, number>} skipped how many, by the reason
 * @property {number} seconds
 * @property {string} commit that was tested
 */

/**
 * @param {string} tap
 * @param {{ code: number | null, seconds: number, commit: string }} end of the test runner
 * @returns {Outcome}
 */
function outcomeOf(tap, { code, seconds, commit }) {
  const count = (/** @type {string} */ what) =>
    Number(new RegExp(`^# ${what} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
  /** @type {Record<string, number>} */
  const skipped = {};
  for (const [, reason] of tap.matchAll(/^ *ok \d+ .*# SKIP ?(.*)$/gm)) {
    // A suite that is skipped counts once, its tests are not known.
    const text = reason.replaceAll("\\#", "#");
    skipped[text] = (skipped[text] ?? 0) + 1;
  }
  const [passed, failed] = [count("pass"), count("fail") + count("cancelled")];
  return { ok: code === 0 && passed > 0 && failed === 0, passed, failed, skipped, seconds, commit };
}

module.exports = { outcomeOf };
