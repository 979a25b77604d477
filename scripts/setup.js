"use strict";
// Makes a fresh clone runnable: npm packages, the engine, a redis-server. Each is left alone where
// it is there already. Node.js built-ins only: nothing else is installed when this starts.

const { spawnSync } = require("node:child_process");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const { ROOT, ScriptError, which, succeeds, npm, main } = require("./run");
const { build } = require("./build");

/**
 * The commands that install redis-server without a question; all but brew need root.
 *
 * @type {Record<string, { root: boolean, commands: string[][] }>}
 */
const PACKAGE_MANAGERS = {
  "apt-get": {
    root: true,
    commands: [["update"], ["install", "-y", "--no-install-recommends", "redis-server"]],
  },
  // By path, since the package is called redis or valkey depending on the distribution's age.
  dnf: { root: true, commands: [["install", "-y", "/usr/bin/redis-server"]] },
  apk: { root: true, commands: [["add", "redis"]] },
  brew: { root: false, commands: [["install", "redis"]] },
};

/**
 * @param {string} lockFile
 * @returns {Record<string, { version?: string, optional?: boolean }> | undefined}
 */
function lockedPackages(lockFile) {
  try {
    return JSON.parse(readFileSync(join(ROOT, lockFile), "utf8")).packages;
  } catch {
    return undefined;
  }
}

function installPackages() {
  const wanted = lockedPackages("package-lock.json") ?? {};
  const installed = lockedPackages("node_modules/.package-lock.json");
  if (!installed) {
    console.log("Installing the npm packages");
    npm(["ci"]);
    return;
  }
  const complete = Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === "" || optional || installed[path]?.version === version,
  );
  if (!complete) {
    console.log("Updating the npm packages");
    npm(["install"]);
  }
}

/**
 * What to put before a command that needs root, when nobody has to be asked for a password.
 *
 * @returns {string[] | undefined}
 */
function rootPrefix() {
  if (process.getuid?.() === 0) {
    return [];
  }
  const sudo = which("sudo");
  return sudo && spawnSync(sudo, ["-n", "true"]).status === 0 ? [sudo, "-n"] : undefined;
}

/** @returns {string} its path */
function installRedisServer() {
  const found = which("redis-server");
  if (found) {
    return found;
  }
  const manager = Object.keys(PACKAGE_MANAGERS).find(which);
  if (manager) {
    const { root, commands } = PACKAGE_MANAGERS[manager];
    const prefix = root ? rootPrefix() : [];
    if (prefix) {
      console.log(`Installing redis-server with ${manager}`);
      for (const command of commands) {
        const [program, ...args] = [...prefix, manager, ...command];
        // A failure shows in what is found afterwards: an update may fail for one of many sources.
        succeeds(program, args, { stdio: ["ignore", "inherit", "inherit"] });
      }
    }
  }
  const now = which("redis-server");
  if (!now) {
    throw new ScriptError(
      "A redis-server is needed: install Redis (the package is called redis or redis-server) so that it is on PATH",
    );
  }
  return now;
}

function setup() {
  installPackages();
  build();
  installRedisServer();
}

module.exports = { installPackages, installRedisServer, setup };

if (require.main === module) {
  main(setup);
}
