"use strict";
// Running other programs, for the scripts beside it. Node.js built-ins only: it works before
// anything was installed.

const { spawnSync } = require("node:child_process");
const { accessSync, constants, statSync } = require("node:fs");
const { delimiter, join } = require("node:path");

const ROOT = join(__dirname, "..");

/** A failure whose message says all there is to say, so that no stack trace is shown. */
class ScriptError extends Error {}

/**
 * @param {string} program
 * @returns {string | undefined} its path, when it is on PATH
 */
function which(program) {
  const names = process.platform === "win32" ? [`${program}.exe`, `${program}.cmd`] : [program];
  for (const folder of (process.env.PATH ?? "").split(delimiter).filter(Boolean)) {
    for (const name of names) {
      const path = join(folder, name);
      try {
        accessSync(path, constants.X_OK);
        if (statSync(path).isFile()) {
          return path;
        }
      } catch {
        // not in this folder
      }
    }
  }
  return undefined;
}

/**
 * Runs a program to its end, its output passed on.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {import("node:child_process").SpawnSyncOptions} [options]
 * @returns {boolean} whether it succeeded
 */
function succeeds(program, args, options) {
  const { error, status } = spawnSync(program, args, { cwd: ROOT, stdio: "inherit", ...options });
  if (error) {
    throw new ScriptError(`${program}: ${error.message}`);
  }
  return status === 0;
}

/** @type {(...args: Parameters<typeof succeeds>) => void} */
function run(program, args, options) {
  if (!succeeds(program, args, options)) {
    throw new ScriptError(`failed: ${[program, ...args].join(" ")}`);
  }
}

/**
 * @param {string[]} args
 * @param {import("node:child_process").SpawnSyncOptions} [options]
 */
function npm(args, options) {
  const cli = process.env.npm_execpath;
  if (cli?.endsWith(".js")) {
    run(process.execPath, [cli, ...args], options);
  } else {
    run("npm", args, { shell: process.platform === "win32", ...options });
  }
}

/** @param {() => void | Promise<void>} script */
async function main(script) {
  try {
    await script();
  } catch (error) {
    console.error(error instanceof ScriptError ? error.message : error);
    process.exitCode = 1;
  }
}

module.exports = { ROOT, ScriptError, which, succeeds, run, npm, main };
