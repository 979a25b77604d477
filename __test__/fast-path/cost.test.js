// A broadcast that nobody here wants costs a fraction of what it costs upstream: a guard against
// regressions, with room for noise. `npm run bench` measures more, and more closely.
//
// Breaks when such entries reach the JS thread, or when the reader builds a tree of values again.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { measure } = require("../../bench/context");
const { median } = require("../../bench/median");
const { counting } = require("../../bench/scenarios/receive");

const ROUNDS = 3;
const ENTRIES = 30_000;
const METRICS = { jsThread: "JS thread, µs per entry", process: "process, µs per entry" };

/**
 * @param {number} members
 * @returns {Promise<Record<string, number>>} by metric, how many times less ours takes
 */
async function ratios(members) {
  const run = counting({ members, count: ENTRIES });
  /** @type {Record<string, number>[]} */
  const upstream = [];
  /** @type {Record<string, number>[]} */
  const native = [];
  for (let round = 0; round < ROUNDS; round++) {
    upstream.push(await measure({ run }, "upstream, node-redis"));
    native.push(await measure({ run }, "native"));
  }
  return Object.fromEntries(
    Object.entries(METRICS).map(([name, metric]) => [
      name,
      median(upstream.map((each) => each[metric])) / median(native.map((each) => each[metric])),
    ]),
  );
}

test("a broadcast that nobody here wants", async (t) => {
  const { jsThread, process } = await ratios(0);
  t.diagnostic(`JS thread ${jsThread.toFixed()} times less, process ${process.toFixed(1)} times`);
  assert.ok(jsThread >= 20, `the JS thread takes only ${jsThread} times less`);
  assert.ok(process >= 3, `the process takes only ${process} times less`);
});

test("a broadcast for one local member", async (t) => {
  const { jsThread } = await ratios(1);
  t.diagnostic(`JS thread ${jsThread.toFixed(1)} times less`);
  assert.ok(jsThread >= 2, `the JS thread takes only ${jsThread} times less`);
});
