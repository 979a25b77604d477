// Bundles a program as a tool's recipe says, deploys what came out into a folder of its own, and sends
// messages between two of it.

"use strict";

const { execFile } = require("node:child_process");
const fs = require("node:fs");
const { delimiter, join } = require("node:path");
const { promisify } = require("node:util");
const { crossMessages, sourceOf } = require("../helpers/installed-node");
const { NAME, env, folder, npm } = require("../helpers/packages");

const run = promisify(execFile);

/** Next.js takes the longest, a minute on two busy cores. */
const BUILD_LIMIT = 300_000;

/**
 * @typedef {import("./tools").Tool} Tool
 * @typedef {object} Project
 * @property {string} cwd with the tools and server.cjs, server.mjs
 * @property {string} production with nothing but what the program needs when it runs
 * @property {string} [bun] the program
 */

/**
 * @param {string[]} packages of the tools
 * @param {import("../helpers/packages").Tarballs} tarballs
 * @param {string} [bun]
 * @returns {Promise<Project>}
 */
async function makeProject(packages, { main, engine }, bun) {
  const [cwd, production] = [folder("bundlers-"), folder("production-")];
  for (const [each, added] of /** @type {[string, string[]][]} */ ([
    [production, []],
    [cwd, [...new Set(packages)]],
  ])) {
    fs.writeFileSync(join(each, "package.json"), '{ "private": true }');
    await npm(each, ["install", "--ignore-scripts", "socket.io@^4.8.0", main, engine, ...added]);
  }
  for (const format of /** @type {const} */ (["cjs", "mjs"])) {
    fs.writeFileSync(join(cwd, `server.${format}`), sourceOf(format, NAME));
  }
  return { cwd, production, bun };
}

/** @param {Pick<Tool, "command" | "configuration" | "output">} tool @param {Project} project */
async function build({ command, configuration, output }, { cwd, bun }) {
  fs.rmSync(join(cwd, output), { recursive: true, force: true });
  if (configuration) {
    fs.writeFileSync(join(cwd, configuration[0]), configuration[1]);
  }
  const [program, ...args] = command.split(" ");
  const path = [join(cwd, "node_modules", ".bin"), env.PATH].join(delimiter);
  const file = program === "bun" && bun !== undefined ? bun : program;
  const options = { cwd, env: { ...env, PATH: path, NEXT_TELEMETRY_DISABLED: "1" } };
  try {
    await run(file, args, { ...options, timeout: BUILD_LIMIT, maxBuffer: 100_000_000 });
  } catch (error) {
    const { stdout, stderr } = /** @type {any} */ (error);
    throw new Error(`${command} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

/** What is deployed. @param {Tool} tool @param {Project} project */
function deploy({ output, needsModules }, { cwd, production }) {
  const deployed = folder("deployed-");
  fs.cpSync(join(cwd, output), deployed, { recursive: true });
  if (needsModules) {
    fs.cpSync(join(production, "node_modules"), join(deployed, "node_modules"), {
      recursive: true,
    });
  }
  return deployed;
}

/**
 * @param {Tool} tool
 * @param {Project} project
 * @param {string} redisUrl
 */
async function runTool(tool, project, redisUrl) {
  await build(tool, project);
  const cwd = deploy(tool, project);
  const file = join(cwd, tool.program);
  const command = tool.isBinary
    ? { cwd, program: file, args: [] }
    : { cwd, program: process.execPath, args: [file] };
  await crossMessages([command, command], redisUrl);
}

/** @param {string} path @param {(path: string) => void} change */
function walk(path, change) {
  if (fs.lstatSync(path).isDirectory()) {
    fs.readdirSync(path).forEach((name) => walk(join(path, name), change));
  }
  change(path);
}

/** Nobody but root may write there. @param {string} path */
function makeReadOnly(path) {
  walk(path, (each) => {
    if (!fs.lstatSync(each).isSymbolicLink()) {
      fs.chmodSync(each, fs.lstatSync(each).isDirectory() ? 0o555 : 0o444);
    }
  });
  fs.chmodSync(join(path, ".."), 0o711);
}

/**
 * As in a container with a file system that is read-only: the user "nobody" of any distribution may
 * write nowhere.
 *
 * @param {Project} project
 * @param {string} redisUrl
 */
async function runAsNobody({ cwd, production }, redisUrl) {
  const deployed = folder("nobody-");
  fs.cpSync(production, deployed, { recursive: true });
  fs.copyFileSync(join(cwd, "server.cjs"), join(deployed, "server.cjs"));
  makeReadOnly(deployed);
  const command = { cwd: deployed, program: process.execPath, args: ["server.cjs"], uid: 65_534 };
  await crossMessages([command, command], redisUrl);
}

module.exports = { build, makeProject, makeReadOnly, runAsNobody, runTool };
