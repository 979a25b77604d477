"use strict";
// `npm run build`: builds the engine for this machine, unless the existing binary is up to date.
//
//     npm run build -- --portable             for the registry: on Linux, for an older glibc too
//     npm run build -- --platform linux-arm64-musl          for another of the folders in npm/

const { existsSync, readdirSync, statSync } = require("node:fs");
const { homedir } = require("node:os");
const { delimiter, join } = require("node:path");

const { SUPPORTED, platformId, binaryName } = require("../lib/platform");
const { OLDEST_GLIBC, runsOnOldestGlibc } = require("./glibc");
const { installPackages } = require("./install-packages");
const { ROOT, ScriptError, which, run, succeeds, main } = require("./run");
const { TARGETS } = require("./targets");
const { zigbuildEnvironment } = require("./zigbuild");

/** The types of the binary's exports, for `tsc`. The file is committed to show Rust's interface. */
const TYPES = "lib/native-binding.d.ts";
const SOURCES = ["Cargo.toml", "Cargo.lock", "build.rs", "src"];

/** @param {string} platform */
const binaryPath = (platform) => join(ROOT, binaryName(platform));

/** @param {string} platform */
const asksForGlibc = (platform) => /^linux-.*-gnu$/.test(platform);

/**
 * @param {string} path
 * @returns {number} when the newest file at or below the path was changed; 0 if there is none
 */
function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) {
    return 0;
  }
  const below = stat.isDirectory() ? readdirSync(path) : [];
  return Math.max(stat.mtimeMs, ...below.map((name) => newest(join(path, name))));
}

/**
 * @typedef {object} BuildOptions
 * @property {string} [platform] by default this machine's
 * @property {boolean} [portable] whether the binary must run wherever the platform's package can be
 *   installed
 */

/**
 * @param {string} platform
 * @param {boolean} portable
 */
function isUpToDate(platform, portable) {
  const binary = binaryPath(platform);
  return (
    existsSync(join(ROOT, TYPES)) &&
    SOURCES.every((source) => newest(join(ROOT, source)) < newest(binary)) &&
    !(portable && asksForGlibc(platform) && !runsOnOldestGlibc(binary))
  );
}

/** Makes sure that `cargo` can be run. */
function requireCargo() {
  if (which("cargo")) {
    return;
  }
  // rustup installs it there, and adds the folder to PATH only in shells that start later.
  const folder = join(homedir(), ".cargo", "bin");
  process.env.PATH = [process.env.PATH, folder].filter(Boolean).join(delimiter);
  if (!which("cargo")) {
    throw new ScriptError(
      "Rust is needed to build the engine: https://www.rust-lang.org/tools/install",
    );
  }
}

/**
 * The arguments of `napi build` for the system that the engine is to run on. A binary that this
 * machine's compiler links needs this machine's glibc or a newer one.
 *
 * @param {string} platform
 * @param {boolean} portable
 * @returns {{ args: string[], env?: NodeJS.ProcessEnv }}
 */
function linking(platform, portable) {
  const target = TARGETS[platform];
  if (platform === platformId() && !(portable && asksForGlibc(platform))) {
    return { args: [] };
  }
  if (!target) {
    throw new ScriptError(`No platform is called ${platform}; there are ${SUPPORTED.join(", ")}`);
  }
  if (!platform.startsWith("linux-")) {
    return { args: ["--target", target] };
  }
  const version = asksForGlibc(platform) ? `.${OLDEST_GLIBC}` : "";
  return { args: ["--cross-compile", "--target", target + version], env: zigbuildEnvironment() };
}

/** @param {string} platform */
function requireStandardLibrary(platform) {
  if (
    platform !== platformId() &&
    which("rustup") &&
    !succeeds("rustup", ["target", "add", TARGETS[platform]])
  ) {
    throw new ScriptError(`Rust's standard library for ${platform} cannot be had`);
  }
}

/**
 * @param {BuildOptions} [options]
 * @returns {string} the path of the binary
 */
function build({ platform = platformId(), portable = false } = {}) {
  const binary = binaryPath(platform);
  if (isUpToDate(platform, portable)) {
    return binary;
  }
  requireCargo();
  const { args, env } = linking(platform, portable);
  requireStandardLibrary(platform);
  console.log(`Building the engine for ${platform} (a few minutes the first time)`);
  const napi = join(ROOT, "node_modules", "@napi-rs", "cli", "dist", "cli.js");
  const flags = ["--platform", "--release", "--no-js", "--dts", TYPES];
  run(process.execPath, [napi, "build", ...flags, ...args], { env });
  const prettier = join(ROOT, "node_modules", "prettier", "bin", "prettier.cjs");
  run(process.execPath, [prettier, "--log-level", "warn", "--write", TYPES]);
  return binary;
}

module.exports = { TYPES, asksForGlibc, binaryPath, build, requireCargo };

if (require.main === module) {
  const options = /** @type {const} */ ({
    platform: { type: "string" },
    portable: { type: "boolean" },
  });
  main({ options }, ({ values }) => {
    installPackages();
    console.log(`The engine is ${build(values)}`);
  });
}
