"use strict";
// Names the binary of the engine that this process needs, by napi-rs's names for platforms.

/** The platforms with a package under npm/; `__test__/package/platforms.test.js` compares both lists. */
const SUPPORTED = [
  "linux-x64-gnu",
  "linux-arm64-gnu",
  "linux-x64-musl",
  "linux-arm64-musl",
  "darwin-x64",
  "darwin-arm64",
  "win32-x64-msvc",
  "win32-arm64-msvc",
];

/** @returns {string} for example `linux-x64-gnu`; also for a platform without a binary */
function platformId() {
  const id = `${process.platform}-${process.arch}`;
  switch (process.platform) {
    case "linux": {
      // Loaded here, because scripts/ use this file before the npm packages are installed.
      const { MUSL, familySync } = require("detect-libc");
      return `${id}-${familySync() === MUSL ? "musl" : "gnu"}`;
    }
    case "win32":
      return `${id}-msvc`;
    default:
      return id;
  }
}

/** @param {string} platform */
function packageName(platform) {
  return `socket.io-redis-streams-native-${platform}`;
}

/** @param {string} platform */
function binaryName(platform) {
  return `socket.io-redis-streams-native.${platform}.node`;
}

module.exports = { SUPPORTED, platformId, packageName, binaryName };
