"use strict";
// The static checks, for `.ci/run` and `npm run test:quick`:
//
//     node scripts/checks.js
//
// The checks by Cargo wait for each other. The others run beside them.

const { spawn } = require("node:child_process");
const { join } = require("node:path");

const { ROOT, ScriptError, main } = require("./run");

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {string} program
 * @property {string[]} args
 * @property {Record<string, string>} [env]
 */

/** @param {string} name @param {string[]} args @returns {Step} */
const cargo = (name, args) => ({ name, program: "cargo", args });

/** @param {string} name @param {string} script below node_modules @param {string[]} args @returns {Step} */
const tool = (name, script, args) => ({
  name,
  program: process.execPath,
  args: [join(ROOT, "node_modules", script), ...args],
});

/** @type {Step[]} */
const RUST_CHECKS = [
  cargo("rustfmt", ["fmt", "--all", "--", "--check"]),
  cargo("clippy", ["clippy", "--locked", "--all-targets", "--", "-D", "warnings"]),
  {
    ...cargo("cargo doc", ["doc", "--locked", "--no-deps", "--document-private-items"]),
    env: { RUSTDOCFLAGS: "-D warnings" },
  },
];

/** @type {Step[]} */
const JS_CHECKS = [
  tool("prettier", "prettier/bin/prettier.cjs", ["--check", "."]),
  tool("tsc --checkJs", "typescript/bin/tsc", []),
  tool("tsc --checkJs of the page", "typescript/bin/tsc", ["-p", "examples/cluster-page/public"]),
];

/**
 * Runs a step, and prints its output only if it fails.
 *
 * @param {Step} step
 * @returns {Promise<boolean>} whether it succeeded
 */
function runStep({ name, program, args, env }) {
  return new Promise((resolve, reject) => {
    const begin = Date.now();
    const child = spawn(program, args, { cwd: ROOT, env: { ...process.env, ...env } });
    /** @type {Buffer[]} */
    const output = [];
    child.stdout.on("data", (chunk) => output.push(chunk));
    child.stderr.on("data", (chunk) => output.push(chunk));
    child.on("error", (error) => reject(new ScriptError(`${program}: ${error.message}`)));
    child.on("close", (code) => {
      const took = `(${Math.round((Date.now() - begin) / 1_000)} s)`;
      console.log(`${code === 0 ? "passed" : "FAILED"}  ${name}  ${took}`);
      if (code !== 0) {
        process.stdout.write(Buffer.concat(output));
      }
      resolve(code === 0);
    });
  });
}

/**
 * Runs lanes of steps side by side. Each lane runs to its end.
 *
 * @param {Step[][]} lanes
 * @returns {Promise<string[]>} the names of those that failed
 */
async function runLanes(lanes) {
  /** @type {string[]} */
  const failed = [];
  await Promise.all(
    lanes.map(async (steps) => {
      for (const step of steps) {
        if (!(await runStep(step))) {
          failed.push(step.name);
        }
      }
    }),
  );
  return failed;
}

module.exports = { RUST_CHECKS, JS_CHECKS, runLanes, tool };

if (require.main === module) {
  main({}, async () => {
    const failed = await runLanes([RUST_CHECKS, JS_CHECKS]);
    if (failed.length > 0) {
      throw new ScriptError(`\nFailed: ${failed.join(", ")}`);
    }
  });
}
