// What is known not to work in a runtime, with the cause, and what the results of the checks come to
// with that: a known failure is none, but it has to be there.

"use strict";

/**
 * @typedef {object} Known
 * @property {string} runtime as scripts/runtimes.js names it
 * @property {string} check its name
 * @property {RegExp} error what the failure says
 * @property {string} cause for people, with the place where it is told of
 *
 * @typedef {object} Outcome
 * @property {string} check its name
 * @property {boolean} ok whether it is as it should be
 * @property {string} [cause] why it fails, where that is known
 * @property {Error} [error]
 */

/** @type {Known[]} */
const KNOWN = [];

/**
 * @param {string} runtime its name
 * @param {import("./run").Results} results
 * @param {Known[]} [known]
 * @returns {Outcome[]}
 */
function outcomesOf(runtime, results, known = KNOWN) {
  return [...results].map(([check, error]) => {
    const its = known.find((each) => each.runtime === runtime && each.check === check);
    if (its === undefined) {
      return { check, ok: error === undefined, error };
    }
    const { cause } = its;
    if (error === undefined) {
      const gone = new Error("it works now: remove it from KNOWN in __test__/runtimes/known.js");
      return { check, ok: false, cause, error: gone };
    }
    return { check, ok: its.error.test(error.message), cause, error };
  });
}

module.exports = { outcomesOf };
