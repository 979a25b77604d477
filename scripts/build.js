"use strict";
// `npm run build`: builds the engine for this machine, unless the one that is there is up to date.

const { existsSync, readdirSync, statSync } = require("node:fs");
const { homedir } = require("node:os");
const { delimiter, join } = require("node:path");

const { platformId, binaryName } = require("../lib/platform");
const { ROOT, ScriptError, which, run, main } = require("./run");

const BINARY = join(ROOT, binaryName(platformId()));
/** The types of what the binary exports, for `tsc`. They are committed: they show what Rust offers. */
const TYPES = "lib/native-binding.d.ts";
const SOURCES = ["Cargo.toml", "Cargo.lock", "build.rs", "src"];

/**
 * @param {string} path
 * @returns {number} when the newest file at or below the path was changed; 0 when there is none
 */
function newest(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) {
    return 0;
  }
  const below = stat.isDirectory() ? readdirSync(path) : [];
  return Math.max(stat.mtimeMs, ...below.map((name) => newest(join(path, name))));
}

function isUpToDate() {
  return (
    existsSync(join(ROOT, TYPES)) &&
    SOURCES.every((source) => newest(join(ROOT, source)) < newest(BINARY))
  );
}

/** Sees to it that `cargo` can be run. */
function requireCargo() {
  if (which("cargo")) {
    return;
  }
  // rustup puts it there, and on PATH only in shells that are started afterwards.
  const folder = join(homedir(), ".cargo", "bin");
  process.env.PATH = [process.env.PATH, folder].filter(Boolean).join(delimiter);
  if (!which("cargo")) {
    throw new ScriptError(
      "Rust is needed to build the engine: https://www.rust-lang.org/tools/install",
    );
  }
}

/** @returns {string} the path of the binary */
function build() {
  if (isUpToDate()) {
    return BINARY;
  }
  requireCargo();
  console.log("Building the engine (a few minutes the first time)");
  const napi = join(ROOT, "node_modules", "@napi-rs", "cli", "dist", "cli.js");
  run(process.execPath, [napi, "build", "--platform", "--release", "--no-js", "--dts", TYPES]);
  const prettier = join(ROOT, "node_modules", "prettier", "bin", "prettier.cjs");
  run(process.execPath, [prettier, "--log-level", "warn", "--write", TYPES]);
  return BINARY;
}

module.exports = { TYPES, build, requireCargo };

if (require.main === module) {
  main(() => {
    require("./setup").installPackages();
    console.log(`The engine is ${build()}`);
  });
}
