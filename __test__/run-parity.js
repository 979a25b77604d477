// Runs the parity suite against one adapter after another:
//
//     node __test__/run-parity.js upstream native mixed
//
// By default all of them. REDIS_CLIENT chooses the Redis client (see helpers/clients.js).

"use strict";

const { spawn } = require("node:child_process");
const { readdirSync } = require("node:fs");
const { availableParallelism } = require("node:os");
const { join } = require("node:path");
const { main, requireKnown } = require("../scripts/run");

const ADAPTERS = [
  ...["upstream", "native", "mixed", "mixed-upstream-first"],
  ...["native-stream", "mixed-0.2", "mixed-0.2-upstream-first", "upstream-0.2"],
];
const FOLDER = join(__dirname, "parity");
const PARITY_ARGS = ["--test", "--test-timeout=120000"];
/** More files than cores: most of the time they wait. */
const CONCURRENCY = `--test-concurrency=${availableParallelism() + 2}`;

/** @returns {string[]} */
function parityFiles() {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".test.js"))
    .map((file) => join(FOLDER, file));
}

/**
 * @param {string} adapter
 * @param {string[]} files
 * @returns {Promise<boolean>} whether all tests passed
 */
function run(adapter, files) {
  return new Promise((resolve) => {
    const args = [...PARITY_ARGS, CONCURRENCY, "--test-reporter=spec", ...files];
    const env = { ...process.env, ADAPTER: adapter };
    const child = spawn(process.execPath, args, { stdio: "inherit", env });
    child.on("exit", (code) => resolve(code === 0));
  });
}

/** @param {string[]} chosen */
async function runAll(chosen) {
  chosen.forEach((adapter) => requireKnown("adapter", adapter, ADAPTERS));
  const files = parityFiles();
  /** @type {[string, boolean, number][]} */
  const results = [];
  for (const adapter of chosen) {
    console.log(`\n# parity suite, ADAPTER=${adapter}\n`);
    const start = Date.now();
    results.push([adapter, await run(adapter, files), Date.now() - start]);
  }
  console.log("");
  for (const [adapter, passed, time] of results) {
    console.log(`${passed ? "passed" : "FAILED"}  ${adapter}  (${Math.round(time / 1_000)} s)`);
  }
  process.exitCode = results.every(([, passed]) => passed) ? 0 : 1;
}

if (require.main === module) {
  main({ allowPositionals: true }, ({ positionals }) =>
    runAll(positionals.length > 0 ? positionals : ADAPTERS),
  );
}

module.exports = { PARITY_ARGS, parityFiles };
