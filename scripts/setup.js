"use strict";
// Makes a fresh clone runnable: npm packages, the engine, a redis-server. Each is left alone where
// it is there already. Node.js built-ins only: nothing else is installed when this starts.

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const { ROOT, npm, main } = require("./run");
const { build } = require("./build");
const { installProgram } = require("./system-package");

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
  // Workspaces, and the links to them, have no version.
  const complete = Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === "" || optional || (path in installed && installed[path].version === version),
  );
  if (!complete) {
    console.log("Updating the npm packages");
    npm(["install"]);
  }
}

function setup() {
  installPackages();
  build();
  installProgram("redis");
}

module.exports = { installPackages, setup };

if (require.main === module) {
  main(setup);
}
