"use strict";
// cargo-zigbuild and its zig, which links against any version of glibc and for other systems.

const { delimiter, join } = require("node:path");

const { fromPyPI } = require("./pypi");

/** @returns {NodeJS.ProcessEnv} the environment in which `napi build --cross-compile` finds them */
function zigbuildEnvironment() {
  const folder = fromPyPI("zigbuild");
  return {
    ...process.env,
    PATH: [join(folder, "bin"), process.env.PATH].join(delimiter),
    CARGO_ZIGBUILD_ZIG_PATH: join(folder, "ziglang", "zig"),
  };
}

module.exports = { zigbuildEnvironment };
