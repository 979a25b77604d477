"use strict";
// Programs from the system's packages: redis-server for everything, nginx and Chromium for some of
// the tests. Each is left alone where it is there already.

const { spawnSync } = require("node:child_process");

const { ScriptError, which, succeeds } = require("./run");

/**
 * How each package manager installs without a question; all but brew need root.
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
 * @property {string} name as people say it
 * @property {string[]} programs what it may be called on PATH
 * @property {Record<string, string>} packages by package manager
 */

/** @satisfies {Record<string, SystemProgram>} */
const PROGRAMS = {
  redis: {
    name: "redis-server",
    programs: ["redis-server"],
    packages: {
      "apt-get": "redis-server",
      // By path, since the package is called redis or valkey depending on the distribution's age.
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
    // A failure shows in what is found afterwards: an update may fail for one of many sources.
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
