"use strict";
// Installs cargo-zigbuild and its zig, which links against any version of glibc and for other systems.
// Both come from PyPI, checked by hash, into target/.

const { existsSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { delimiter, join } = require("node:path");

const { ROOT, ScriptError, which, succeeds } = require("./run");

const FOLDER = join(ROOT, "target", "zigbuild");
const REQUIREMENTS = join(__dirname, "zigbuild-requirements.txt");
/** The installed requirements. Written last, so that an interrupted installation is noticed. */
const INSTALLED = join(FOLDER, "requirements.txt");

function isInstalled() {
  return (
    existsSync(INSTALLED) && readFileSync(INSTALLED, "utf8") === readFileSync(REQUIREMENTS, "utf8")
  );
}

function install() {
  const python = which("python3");
  if (!python) {
    throw new ScriptError("Python 3 with pip is needed, to fetch cargo-zigbuild from PyPI");
  }
  console.log("Fetching cargo-zigbuild and zig from PyPI");
  rmSync(FOLDER, { recursive: true, force: true });
  const quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"];
  const what = ["--target", FOLDER, "--require-hashes", "--requirement", REQUIREMENTS];
  if (!succeeds(python, ["-m", "pip", "install", ...quiet, "--only-binary=:all:", ...what])) {
    throw new ScriptError("cargo-zigbuild and zig could not be had from PyPI, see above");
  }
  writeFileSync(INSTALLED, readFileSync(REQUIREMENTS));
}

/** @returns {NodeJS.ProcessEnv} the environment in which `napi build --cross-compile` finds them */
function zigbuildEnvironment() {
  if (!isInstalled()) {
    install();
  }
  return {
    ...process.env,
    PATH: [join(FOLDER, "bin"), process.env.PATH].join(delimiter),
    CARGO_ZIGBUILD_ZIG_PATH: join(FOLDER, "ziglang", "zig"),
  };
}

module.exports = { zigbuildEnvironment };
