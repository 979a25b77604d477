"use strict";
// Installs the npm packages in package-lock.json, unless they are installed already. Uses only Node.js
// built-ins, because nothing else is installed when this starts.

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const { ROOT, npm } = require("./run");

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
  // Workspaces and the links to them have no version.
  const complete = Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === "" || optional || (path in installed && installed[path].version === version),
  );
  if (!complete) {
    console.log("Updating the npm packages");
    npm(["install"]);
  }
}

module.exports = { installPackages };
