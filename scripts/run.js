"use strict";
// What all programs of this repository share: reading arguments, reporting failures, and running other
// programs. Uses only Node.js built-ins, because it must work before anything is installed.

const { spawnSync } = require("node:child_process");
const { accessSync, constants, readFileSync, statSync } = require("node:fs");
const { delimiter, join } = require("node:path");
const { parseArgs } = require("node:util");

const ROOT = join(__dirname, "..");

/** An error whose message is complete, so that no stack trace is shown. */
class ScriptError extends Error {}

/**
 * @param {string} program
 * @returns {string | undefined} its path, if it is on PATH
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
 * Runs a program to its end, and passes its output on.
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

/**
 * @returns {string} the comment at the top of the program's file: what it does, and its arguments
 */
function helpText() {
  const source = readFileSync(/** @type {NodeJS.Module} */ (require.main).filename, "utf8");
  const [comment = ""] = /^\/\/.*(?:\n\/\/.*)*/m.exec(source) ?? [];
  return comment.replace(/^\/\/ ?/gm, "");
}

/**
 * @template {import("node:util").ParseArgsConfig} Config
 * @param {Config} config
 */
function parseArguments(config) {
  try {
    return parseArgs(config);
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    // Node.js adds advice about arguments that begin with a hyphen.
    throw new ScriptError(`${message.split(/\.\s/)[0]}. --help lists the arguments.`);
  }
}

/**
 * Runs a program of this repository. Reads its arguments, and answers --help with the comment at the
 * top of its file. Shows a stack trace only for an unexpected error.
 *
 * @template {import("node:util").ParseArgsConfig} Config
 * @param {Config} config the program's arguments
 * @param {(args: ReturnType<typeof parseArgs<Config>>) => void | Promise<void>} script
 */
async function main(config, script) {
  try {
    if (process.argv.slice(2).includes("--help")) {
      console.log(helpText());
    } else {
      await script(parseArguments(config));
    }
  } catch (error) {
    console.error(error instanceof ScriptError ? error.message : error);
    process.exitCode = 1;
  }
}

/**
 * @param {string} option its name, for the message
 * @param {string} value
 * @returns {number} above 0
 */
function positive(option, value) {
  const number = Number(value);
  if (!(number > 0)) {
    throw new ScriptError(`${option} must be a number above 0, not ${value}`);
  }
  return number;
}

/**
 * @param {string} what for the message
 * @param {string} value
 * @param {readonly string[]} known
 */
function requireKnown(what, value, known) {
  if (!known.includes(value)) {
    throw new ScriptError(`no ${what} is called ${value}; there are ${known.join(", ")}`);
  }
}

module.exports = {
  ...{ ROOT, ScriptError, which, succeeds, run, npm },
  ...{ main, positive, requireKnown },
};
