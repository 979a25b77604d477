"use strict";
// `npm test`: sets up what is missing, then runs every test, the Rust ones too.

const { readdirSync } = require("node:fs");
const { join, sep } = require("node:path");

const { ROOT, ScriptError, succeeds, main } = require("./run");
const { requireCargo } = require("./build");
const { setup } = require("./setup");

/** The parity suite has a runner of its own, since it runs once for each kind of cluster. */
const PARITY = join("__test__", "parity") + sep;
const RUN_PARITY = join("__test__", "run-parity.js");
const ON_CLUSTER = { REDIS: "cluster" };
const CLUSTERS = [
  ...["upstream", "native", "mixed", "mixed-upstream-first"],
  ...["native-stream", "mixed-0.2", "mixed-0.2-upstream-first"],
];

/** A file that hangs fails after this long (ms), so that the rest still runs. */
const FILE_TIMEOUT = 600_000;
const TEST_RUNNER = ["--test", "--test-reporter=spec", `--test-timeout=${FILE_TIMEOUT}`];

/** @returns {string[]} */
function testFiles() {
  return readdirSync(join(ROOT, "__test__"), { recursive: true })
    .map((file) => join("__test__", String(file)))
    .filter((file) => file.endsWith(".test.js"))
    .filter((file) => !file.startsWith(PARITY))
    .sort();
}

main(() => {
  setup();
  requireCargo();

  /** @type {[string, string, string[], Record<string, string>?][]} */
  const steps = [
    ["Rust tests", "cargo", ["test"]],
    ["parity suite", process.execPath, [RUN_PARITY, ...CLUSTERS]],
    ["parity suite on a Redis Cluster", process.execPath, [RUN_PARITY, "native"], ON_CLUSTER],
    ["tests", process.execPath, [...TEST_RUNNER, ...testFiles()]],
  ];
  const failed = steps
    .filter(([name, program, args, env]) => {
      console.log(`\n# ${name}`);
      return !succeeds(program, args, { env: { ...process.env, ...env } });
    })
    .map(([name]) => name);
  if (failed.length > 0) {
    throw new ScriptError(`\nFailed: ${failed.join(", ")}`);
  }
});
