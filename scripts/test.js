"use strict";
// `npm test`: sets up what is missing, and runs every test, the Rust tests too.
//
//     npm test -- --quick      (or npm run test:quick) the static checks, Rust's tests and the parity suite on our adapter

const { readdirSync } = require("node:fs");
const { availableParallelism } = require("node:os");
const { join, sep } = require("node:path");

const { ROOT, ScriptError, succeeds, main } = require("./run");
const { requireCargo } = require("./build");
const { JS_CHECKS, RUST_CHECKS, runLanes } = require("./checks");
const { setup } = require("./setup");

/** The parity suite has its own runner, because it runs once for each kind of cluster. */
const PARITY = join("__test__", "parity") + sep;
const RUN_PARITY = join("__test__", "run-parity.js");
const RUN_OLD_SOCKET_IO = join("__test__", "run-old-socket-io.js");
const ON_CLUSTER = { REDIS: "cluster" };
const CLUSTERS = [
  ...["upstream", "native", "mixed", "mixed-upstream-first"],
  ...["native-stream", "mixed-0.2", "mixed-0.2-upstream-first"],
];

/** Tests that measure time or memory. Nothing may run beside them. */
const ALONE = [
  ...["chaos/hostile", "chaos/soak", "chaos/storm", "faults/slow-clients-memory", "recovery"],
  ...[
    "fast-path/cost",
    "fast-path/inbox",
    "fast-path/inbox-memory",
    "fast-path/namespaces",
    "fast-path/queue-memory",
  ],
].map((name) => join("__test__", `${name}.test.js`));

/** The time limit of a test file (ms). If a file hangs, the rest still runs. */
const FILE_TIMEOUT = 600_000;
/** More files than cores, because tests mostly wait for servers to fail or to come back. */
const CONCURRENCY = availableParallelism() + 2;

/** @returns {string[]} */
function testFiles() {
  return readdirSync(join(ROOT, "__test__"), { recursive: true })
    .map((file) => join("__test__", String(file)))
    .filter((file) => file.endsWith(".test.js"))
    .filter((file) => !file.startsWith(PARITY))
    .sort();
}

/** @param {number} concurrency @param {string[]} files */
const testArgs = (concurrency, files) => [
  ...["--test", "--test-reporter=spec", `--test-timeout=${FILE_TIMEOUT}`],
  ...[`--test-concurrency=${concurrency}`, ...files],
];

/** @returns {string[]} the names of the steps that failed */
function runAll() {
  const files = testFiles();
  const sideBySide = files.filter((file) => !ALONE.includes(file));
  /** @type {[string, string, string[], Record<string, string>?][]} */
  const steps = [
    ["Rust tests", "cargo", ["test"]],
    ["parity suite", process.execPath, [RUN_PARITY, ...CLUSTERS]],
    ["parity suite on a Redis Cluster", process.execPath, [RUN_PARITY, "native"], ON_CLUSTER],
    ["older versions of Socket.IO", process.execPath, [RUN_OLD_SOCKET_IO]],
    ["tests", process.execPath, testArgs(CONCURRENCY, sideBySide)],
    ["tests that measure", process.execPath, testArgs(1, ALONE)],
  ];
  return steps
    .filter(([name, program, args, env]) => {
      console.log(`\n# ${name}`);
      return !succeeds(program, args, { env: { ...process.env, ...env } });
    })
    .map(([name]) => name);
}

/** @returns {Promise<string[]>} the names of the steps that failed */
function runQuick() {
  const rust = { name: "Rust tests", program: "cargo", args: ["test"] };
  const parity = { name: "parity suite", program: process.execPath, args: [RUN_PARITY, "native"] };
  return runLanes([[...RUST_CHECKS, rust, parity], JS_CHECKS]);
}

const OPTIONS = /** @type {const} */ ({ quick: { type: "boolean" } });

main({ options: OPTIONS }, async ({ values }) => {
  setup();
  requireCargo();
  const failed = values.quick ? await runQuick() : runAll();
  if (failed.length > 0) {
    throw new ScriptError(`\nFailed: ${failed.join(", ")}`);
  }
});
