// The storm in its short form; `npm run storm` has the long one, with numbers and upstream beside it.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { runStorm } = require("./storm-scenario");

const CLIENTS = 200;
const ENTRIES = 2_000;

// Breaks when restores lose or double what comes while many of them are under way: when the switch
// from missed to live is not at one place of the stream, or what is over the bound of restores at a
// time is refused instead of waiting.
test(`${CLIENTS} clients come back at once, ${ENTRIES} entries behind: all into their sessions`, async (t) => {
  const { times, tally, recovered, faults } = await runStorm("native", CLIENTS, ENTRIES);
  t.diagnostic(`all are back after ${Math.round(times[times.length - 1])} ms`);
  const { lost, doubled, disordered, unknown, samples } = tally;
  assert.deepEqual(
    { recovered, lost, doubled, disordered, unknown, samples, faults },
    { recovered: CLIENTS, lost: 0, doubled: 0, disordered: 0, unknown: 0, samples: [], faults: [] },
  );
  // It was about something: each client missed its share.
  assert.ok(tally.received >= (CLIENTS * ENTRIES) / 100, `${tally.received} received`);
});
