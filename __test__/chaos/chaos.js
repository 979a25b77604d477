// The chaos test, at any length:
//
//     node __test__/chaos/chaos.js --minutes 5 --seed 42
//
// --adapter upstream runs the same on @socket.io/redis-streams-adapter, which shows that the checker
// sees what is wrong. --schedule FILE plays what a failed run has left behind.

"use strict";

const { readFileSync } = require("node:fs");
const { ScriptError, main, positive, requireKnown } = require("../../scripts/run");
const { seed: anySeed } = require("../faults/random");
const { describeReport, keepSchedule } = require("./report");
const { runScenario } = require("./scenario");
const { makeSchedule } = require("./schedule");

const OPTIONS = /** @type {const} */ ({
  minutes: { type: "string", default: "1" },
  seed: { type: "string" },
  adapter: { type: "string", default: "native" },
  schedule: { type: "string" },
});

/** @param {string} file */
function readSchedule(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new ScriptError(`--schedule ${file}: ${/** @type {Error} */ (error).message}`);
  }
}

main({ options: OPTIONS }, async ({ values }) => {
  const minutes = positive("--minutes", values.minutes);
  requireKnown("adapter", values.adapter, ["native", "upstream"]);
  const adapter = /** @type {"native" | "upstream"} */ (values.adapter);
  const seed = values.seed === undefined ? anySeed() : positive("--seed", values.seed);
  const schedule = values.schedule
    ? readSchedule(values.schedule)
    : makeSchedule({ seed, length: minutes * 60_000 });
  console.log(`${adapter}, --minutes ${schedule.length / 60_000} --seed ${schedule.seed}`);
  const report = await runScenario(schedule, adapter);
  describeReport(report).forEach((line) => console.log(line));
  if (report.passed) {
    console.log("passed");
    return;
  }
  const file = keepSchedule(schedule);
  console.log(`FAILED; play it again: npm run chaos -- --adapter ${adapter} --schedule ${file}`);
  process.exitCode = 1;
});
