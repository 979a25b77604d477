// The tarballs of `npm run pack`, and empty projects in which they are installed, on a machine
// without Rust. Needs the npm registry, for socket.io.

"use strict";

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const { tmpdir } = require("node:os");
const { delimiter, join } = require("node:path");
const { promisify } = require("node:util");
const { packageName, platformId } = require("../../lib/platform");

const ROOT = join(__dirname, "..", "..");
const NAME = "socket.io-redis-streams-native";
/** Upstream's name, under which users alias ours. */
const ALIAS = "@socket.io/redis-streams-adapter";
const PLATFORM = platformId();
/** @type {Record<string, any>} */
const manifest = require("../../package.json");

/** A package manager asks the registry for a few dozen packages. */
const INSTALL_LIMIT = 120_000;

const run = promisify(execFile);

/** Everything of this process, removed at its end. */
const work = fs.mkdtempSync(join(tmpdir(), "sio-packages-"));
process.on("exit", () => fs.rmSync(work, { recursive: true, force: true }));

/** @param {string} prefix */
const folder = (prefix) => fs.mkdtempSync(join(work, prefix));

/**
 * A PATH with npm and what it needs, and without cargo wherever that is.
 *
 * @returns {string}
 */
function pathWithoutCargo() {
  const bin = folder("bin-");
  const folders = (process.env.PATH ?? "").split(delimiter);
  const find = (/** @type {string} */ program) => {
    const found = folders.map((each) => join(each, program)).find((path) => fs.existsSync(path));
    assert(found, `${program} is on PATH`);
    return fs.realpathSync(found);
  };
  fs.symlinkSync(process.execPath, join(bin, "node"));
  for (const program of ["npm", "sh"]) {
    fs.symlinkSync(find(program), join(bin, program));
  }
  return bin;
}

/** What a user's machine has. */
const env = { ...process.env, PATH: pathWithoutCargo() };

/**
 * @param {string} cwd
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string>} [more] variables of the environment
 */
async function exec(cwd, program, args, more) {
  try {
    return await run(program, args, { cwd, env: { ...env, ...more }, timeout: INSTALL_LIMIT });
  } catch (error) {
    const { stdout, stderr } = /** @type {{ stdout?: string, stderr?: string }} */ (error);
    throw new Error(`${[program, ...args].join(" ")} failed:\n${stdout}\n${stderr}`, {
      cause: error,
    });
  }
}

/**
 * @param {string} cwd
 * @param {string[]} args
 */
function npm(cwd, args) {
  // The packages of the repository were installed a moment ago: what npm keeps of them will do.
  return exec(cwd, "npm", [...args, "--prefer-offline", "--no-audit", "--no-fund"]);
}

/**
 * @typedef {object} Tarballs
 * @property {string} main path of the package itself
 * @property {string} engine path of the package of this platform
 */

/**
 * @param {string[]} args of `npm run pack`
 * @returns {Promise<Tarballs>}
 */
async function pack(...args) {
  const out = folder("dist-");
  await run("npm", ["run", "pack", "--", "--out", out, ...args], { cwd: ROOT });
  const names = [NAME, packageName(PLATFORM)].map((name) => `${name}-${manifest.version}.tgz`);
  assert.deepEqual(fs.readdirSync(out).sort(), names);
  const [main, engine] = names.map((name) => join(out, name));
  return { main, engine };
}

/** @param {string} tarball */
async function packedManifest(tarball) {
  const { stdout } = await run("tar", ["-xzOf", tarball, "package/package.json"]);
  return JSON.parse(stdout);
}

/**
 * @param {string} tarball
 * @returns {Promise<string>} the folder that it was unpacked into
 */
async function unpack(tarball) {
  const into = folder("unpacked-");
  await run("tar", ["-xzf", tarball, "-C", into, "--strip-components=1"]);
  return into;
}

/**
 * @param {string[]} packages as `npm install` takes them
 * @returns {Promise<string>} the folder of a project that has them
 */
async function project(...packages) {
  const cwd = folder("project-");
  fs.writeFileSync(join(cwd, "package.json"), '{ "private": true }');
  await npm(cwd, ["install", "socket.io@^4.8.0", ...packages]);
  return cwd;
}

module.exports = {
  ...{ ROOT, NAME, ALIAS, PLATFORM, INSTALL_LIMIT, manifest, env },
  ...{ exec, folder, npm, pack, packedManifest, project, unpack },
};
