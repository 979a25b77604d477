// The soak in its short form; `npm run soak` has the long one, which sees smaller leaks.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { seed: anySeed } = require("../faults/random");
const { growthOf, rise } = require("./growth");
const { runSoak } = require("./soak-scenario");

/** ms */
const LENGTH = 32_000;
const ROUNDS = 10;

const linux = process.platform === "linux" ? false : "needs /proc";

// Breaks when something of a socket, a room, a namespace or a packet is kept for ever; and when one is
// lost or doubled while all of these come and go.
test(
  "memory is flat while clients, rooms and namespaces come and go",
  { skip: linux },
  async (t) => {
    const seed = anySeed();
    t.diagnostic(`SEED=${seed}`);
    const report = await runSoak({ length: LENGTH, rounds: ROUNDS, seed });
    const { tally, growth, stats, faults, freshStarts, recoveries, left, namespaces } = report;
    t.diagnostic(`${recoveries} recoveries, ${left} clients replaced, ${namespaces} namespaces`);
    for (const { node, what, by, bound } of growth) {
      t.diagnostic(`node ${node}: ${what} rose by ${Math.round(by)}, bound ${bound}`);
    }
    assert.deepEqual(
      growth.filter(({ by, bound }) => by >= bound),
      [],
      "grows",
    );
    const { lost, doubled, disordered, unknown, samples } = tally;
    assert.deepEqual(
      { lost, doubled, disordered, unknown, samples, freshStarts, faults },
      { lost: 0, doubled: 0, disordered: 0, unknown: 0, samples: [], freshStarts: 0, faults: [] },
    );
    for (const { queueBytes, queueLength, inboxBytes, inboxLength, dropped, failed } of stats) {
      const left = { queueBytes, queueLength, inboxBytes, inboxLength, dropped, failed };
      assert.deepEqual(
        Object.entries(left).filter(([, value]) => value !== 0),
        [],
        "is left",
      );
    }
    // It was about something.
    assert.ok(recoveries > 100 && left > 10 && namespaces > 100);
  },
);

describe("growth", () => {
  test("is that of the line through all samples", () => {
    assert.equal(rise([5, 5, 5, 5]), 0);
    assert.equal(rise([1, 2, 3, 4]), 3);
    assert.equal(rise([4, 3, 2, 1]), -3);
    assert.ok(Math.abs(rise([0, 10, 0, 10, 0])) < 1e-9, "noise is none");
  });

  test("is held against each measure", () => {
    const sample = (/** @type {number} */ i) => ({
      ...{ rss: 1e8, heap: 1e7 + i * 1e6, external: 1e6, fds: 20 + 2 * i, threads: 10 },
    });
    const grown = growthOf([0, 1, 2, 3].map(sample), 0).filter(({ by, bound }) => by >= bound);
    assert.deepEqual(
      grown.map(({ what }) => what),
      ["heap", "fds"],
    );
  });
});
