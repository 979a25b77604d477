// A failure counts as known only while it is there, and while it is the one that is known.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { outcomesOf } = require("./known");

const known = [{ runtime: "Bun", check: "a", error: /no such pipe/, cause: "it has no pipes" }];
const passes = { a: undefined, b: undefined };

/** @param {string} runtime @param {Record<string, Error | undefined>} results */
function okOf(runtime, results) {
  const outcomes = outcomesOf(runtime, new Map(Object.entries(results)), known);
  return Object.fromEntries(outcomes.map(({ check, ok }) => [check, ok]));
}

describe("what the checks of a runtime come to", () => {
  test("a known failure is as it should be", () => {
    const error = new Error("there is no such pipe");
    const [a] = outcomesOf("Bun", new Map([["a", error]]), known);
    assert.deepEqual(a, { check: "a", ok: true, cause: "it has no pipes", error });
  });

  for (const [name, runtime, results, expected] of /** @type {const} */ ([
    ["that it has gone", "Bun", passes, { a: false, b: true }],
    ["another failure", "Bun", { a: new Error("no route") }, { a: false }],
    ["another check", "Bun", { b: new Error("no such pipe") }, { b: false }],
    ["another runtime", "Deno", { a: new Error("no such pipe") }, { a: false }],
    ["no failure", "Deno", passes, { a: true, b: true }],
  ])) {
    test(`is a failure or not: ${name}`, () => assert.deepEqual(okOf(runtime, results), expected));
  }
});
