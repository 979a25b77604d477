"use strict";
// Installs programs from the system's packages, unless they are there: redis-server for everything,
// nginx and Chromium for some of the tests.

const { spawnSync } = require("node:child_process");

const { ScriptError, which, succeeds } = require("./run");

/**
 * The commands with which each package manager installs without a question. All but brew need root.
 *
 * @type {Record<string, { root: boolean, commands: (name: string) => string[][] }>}
 */
const PACKAGE_MANAGERS = {
  "apt-get": {
    root: true,
    commands: (name) => [["update"], ["install", "-y", "--no-install-recommends", name]],
  },
  dnf: { root: true, commands: (name) => [["install", "-y", name]] },
  apk: { root: true, commands: (name) => [["add", name]] },
  brew: { root: false, commands: (name) => [["install", name]] },
};

/**
 * @typedef {object} SystemProgram
 * @property {string} name for messages
 * @property {string[]} programs its possible names on PATH
 * @property {Record<string, string>} packages by package manager
 */

/** @satisfies {Record<string, SystemProgram>} */
const PROGRAMS = {
  redis: {
    name: "redis-server",
    programs: ["redis-server"],
    packages: {
      "apt-get": "redis-server",
      // By path, because the name of the package (redis or valkey) depends on the distribution's version.
      dnf: "/usr/bin/redis-server",
      apk: "redis",
      brew: "redis",
    },
  },
  nginx: {
    name: "nginx",
    programs: ["nginx"],
    packages: { "apt-get": "nginx-light", dnf: "nginx", apk: "nginx", brew: "nginx" },
  },
  chromium: {
    name: "Chromium",
    programs: ["chromium", "chromium-browser", "google-chrome"],
    packages: { "apt-get": "chromium", dnf: "chromium", apk: "chromium" },
  },
  img2webp: {
    name: "img2webp",
    programs: ["img2webp"],
    packages: { "apt-get": "webp", dnf: "libwebp-tools", apk: "libwebp-tools", brew: "webp" },
  },
};

/**
 * The words to put before a command that needs root. Undefined if sudo would ask for a password.
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

/** @param {string[]} programs */
function findAny(programs) {
  return programs.map(which).find(Boolean);
}

/** @param {SystemProgram} program */
function install({ name, packages }) {
  const manager = Object.keys(packages).find(which);
  if (!manager) {
    return;
  }
  const { root, commands } = PACKAGE_MANAGERS[manager];
  const prefix = root ? rootPrefix() : [];
  if (!prefix) {
    return;
  }
  console.log(`Installing ${name} with ${manager}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  for (const command of commands(packages[manager])) {
    const [program, ...args] = [...prefix, manager, ...command];
    // A failed step is ignored: an update may fail for one of many sources. The result is checked later.
    succeeds(program, args, { stdio: ["ignore", "inherit", "inherit"], env });
  }
}

/**
 * @param {keyof typeof PROGRAMS} which
 * @returns {string} its path
 */
function installProgram(which) {
  const program = PROGRAMS[which];
  const found = findAny(program.programs);
  if (found) {
    return found;
  }
  install(program);
  const now = findAny(program.programs);
  if (!now) {
    throw new ScriptError(
      `${program.name} is needed: install it so that ${program.programs.join(" or ")} is on PATH`,
    );
  }
  return now;
}

module.exports = { installProgram };
