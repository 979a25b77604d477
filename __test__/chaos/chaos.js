// The chaos test, at any length:
//
//     node __test__/chaos/chaos.js --minutes 5 --seed 42
//
// --adapter upstream runs the same on @socket.io/redis-streams-adapter, which shows that the checker
// sees what is wrong. --schedule FILE plays what a failed run has left behind.

"use strict";

const { readFileSync } = require("node:fs");
const { parseArgs } = require("node:util");
const { seed: anySeed } = require("../faults/random");
const { describeReport, keepSchedule } = require("./report");
const { runScenario } = require("./scenario");
const { makeSchedule } = require("./schedule");

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    adapter: { type: "string", default: "native" },
    schedule: { type: "string" },
  },
});

async function main() {
  const { minutes, adapter } = values;
  if (adapter !== "native" && adapter !== "upstream") {
    throw new Error(`--adapter is "${adapter}", must be native or upstream`);
  }
  if (!(Number(minutes) > 0)) {
    throw new Error(`--minutes is "${minutes}", must be a number above 0`);
  }
  const seed = values.seed === undefined ? anySeed() : Number(values.seed);
  const schedule = values.schedule
    ? JSON.parse(readFileSync(values.schedule, "utf8"))
    : makeSchedule({ seed, length: Number(minutes) * 60_000 });
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
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
