// The chaos test in its short form; `npm run chaos` has the long one. A run that fails prints its
// seed, and where its schedule is: play it again with chaos.js.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { seed: anySeed } = require("../faults/random");
const { describeReport, keepSchedule } = require("./report");
const { runScenario } = require("./scenario");
const { REDIS_KINDS } = require("./redis");
const { faultsOf, makeSchedule } = require("./schedule");

/** ms */
const LENGTH = 22_000;
/** Lines of a report that say what happened. */
const SUMMARY = 6;
/** ms; enough for upstream to fail. */
const UPSTREAM_LENGTH = 10_000;

/**
 * @param {import("node:test").TestContext} t
 * @param {import("../helpers/adapters").Kind} kind
 * @param {number} length ms
 */
async function run(t, kind, length) {
  const seed = anySeed();
  t.diagnostic(`SEED=${seed}`);
  const schedule = makeSchedule({ seed, length });
  const report = await runScenario(schedule, kind);
  const lines = describeReport(report);
  lines.slice(0, SUMMARY).forEach((line) => t.diagnostic(line));
  return { schedule, report, lines };
}

describe("chaos", () => {
  // Breaks when any of the guarantees about delivery does.
  test("nothing lost, nothing doubled, in order", async (t) => {
    const { schedule, report, lines } = await run(t, "native", LENGTH);
    if (!report.passed) {
      const file = keepSchedule(schedule);
      const again = `node __test__/chaos/chaos.js --schedule ${file}`;
      assert.fail([`seed ${schedule.seed}; play it again: ${again}`, ...lines].join("\n"));
    }
    // It was about something.
    assert.ok(report.publishing.published > 500, `${report.publishing.published} packets`);
    assert.ok(report.recoveries > 20, `${report.recoveries} recoveries`);
    assert.ok(report.counters.reconnects > 3, `${report.counters.reconnects} reconnects`);
  });

  // Breaks when the checker sees nothing.
  test("on upstream a run is counted as failing", async (t) => {
    const { report } = await run(t, "upstream", UPSTREAM_LENGTH);
    assert.equal(report.passed, false);
    assert.ok(report.tally.lost > 0, "lost");
    assert.ok(report.tally.disordered > 0, "out of order");
  });
});

describe("a schedule", () => {
  test("is a function of its seed and length", () => {
    const options = { seed: 7, length: LENGTH };
    assert.deepEqual(makeSchedule(options), makeSchedule(options));
    assert.notDeepEqual(makeSchedule(options).events, makeSchedule({ ...options, seed: 8 }).events);
  });

  for (const redis of REDIS_KINDS) {
    test(`has each fault in it that can happen to ${redis}, whatever the seed`, () => {
      const { node, redis: onRedis } = faultsOf(redis);
      for (let seed = 0; seed < 50; seed++) {
        const { events } = makeSchedule({ seed, length: LENGTH, redis });
        const kinds = new Set(events.map(({ what }) => what));
        for (const kind of ["client dropped", ...node, ...onRedis]) {
          assert.ok(kinds.has(kind), `${kind} with seed ${seed}: ${[...kinds]}`);
        }
      }
    });
  }
});
