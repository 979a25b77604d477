// The chaos test, at any length:
//
//     node __test__/chaos/chaos.js --minutes 5 --seed 42
//
// --redis sentinel and --redis cluster run it on another kind of Redis than a master and a replica
// behind one address; --fault "redis full" makes this fault only, and may be there several times.
// --adapter upstream runs the same on @socket.io/redis-streams-adapter, which shows that the checker
// sees what is wrong. --schedule FILE plays what a failed run has left behind.

"use strict";

const { readFileSync } = require("node:fs");
const { ScriptError, main, positive, requireKnown } = require("../../scripts/run");
const { seed: anySeed } = require("../faults/random");
const { describeReport, keepSchedule } = require("./report");
const { runScenario } = require("./scenario");
const { REDIS_KINDS } = require("./redis");
const { faultsOf, makeSchedule } = require("./schedule");

const OPTIONS = /** @type {const} */ ({
  minutes: { type: "string", default: "1" },
  seed: { type: "string" },
  redis: { type: "string", default: "single" },
  fault: { type: "string", multiple: true },
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
  requireKnown("redis", values.redis, REDIS_KINDS);
  const redis = /** @type {import("./redis").RedisKind} */ (values.redis);
  if (adapter === "upstream" && redis !== "single") {
    throw new ScriptError("--adapter upstream: only with --redis single");
  }
  const known = faultsOf(redis);
  values.fault?.forEach((fault) => requireKnown("fault", fault, [...known.node, ...known.redis]));
  const seed = values.seed === undefined ? anySeed() : positive("--seed", values.seed);
  const schedule = values.schedule
    ? readSchedule(values.schedule)
    : makeSchedule({ seed, length: minutes * 60_000, redis, faults: values.fault });
  const { length } = schedule;
  console.log(
    `${adapter}, --redis ${schedule.redis} --minutes ${length / 60_000} --seed ${schedule.seed}`,
  );
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
