"use strict";
// Checks which version of glibc a binary of the engine needs, and so how old a distribution may be.
// The system refuses to load a binary if its glibc lacks a symbol version that the binary needs.

const { execFileSync } = require("node:child_process");

const { ScriptError, which } = require("./run");

/** The version in Debian 10, RHEL 8 and Ubuntu 18.10. Node.js 18 and newer need it too. */
const OLDEST_GLIBC = "2.28";

/**
 * @param {string} a
 * @param {string} b
 */
function compareVersions(a, b) {
  const [x, y] = [a, b].map((version) => version.split(".").map(Number));
  return x[0] - y[0] || (x[1] ?? 0) - (y[1] ?? 0);
}

/**
 * @param {string} binary path of an ELF file, of any architecture
 * @returns {string} the newest version of glibc that one of its symbols needs
 */
function glibcNeeded(binary) {
  const readelf = which("readelf");
  if (!readelf) {
    throw new ScriptError("readelf is needed, to see what the engine asks of glibc: binutils");
  }
  const sections = execFileSync(readelf, ["--wide", "--version-info", binary], {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C" },
    // The output has a line for every four symbols.
    maxBuffer: Infinity,
  });
  const versions = [...sections.matchAll(/Name: GLIBC_(\d+(?:\.\d+)+)/g)].map(([, each]) => each);
  const newest = versions.sort(compareVersions).at(-1);
  if (newest === undefined) {
    throw new ScriptError(`${binary} asks nothing of glibc: it is not linked against it`);
  }
  return newest;
}

/** @param {string} binary */
function runsOnOldestGlibc(binary) {
  return compareVersions(glibcNeeded(binary), OLDEST_GLIBC) <= 0;
}

module.exports = { OLDEST_GLIBC, glibcNeeded, runsOnOldestGlibc };
