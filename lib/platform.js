"use strict";
// Which binary of the engine this process needs, in napi-rs's names for platforms.

/** Every platform with a package of its own under npm/; pack.test.js keeps the two alike. */
const SUPPORTED = [
  "linux-x64-gnu",
  "linux-arm64-gnu",
  "linux-x64-musl",
  "linux-arm64-musl",
  "darwin-x64",
  "darwin-arm64",
  "win32-x64-msvc",
];

/**
 * A binary linked against one libc does not load in a Node.js that uses the other.
 *
 * @returns {"gnu" | "musl"}
 */
function linuxLibc() {
  /** @type {{ excludeNetwork?: boolean, getReport(): object } | undefined} */
  const report = process.report;
  if (!report) {
    return "gnu";
  }
  // Without this the report looks up the host name of every open connection, which takes seconds
  // where DNS does not answer. Node.js before 20.13 ignores it.
  const before = report.excludeNetwork;
  report.excludeNetwork = true;
  try {
    const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (
      report.getReport()
    );
    return header.glibcVersionRuntime ? "gnu" : "musl";
  } finally {
    report.excludeNetwork = before;
  }
}

/** @returns {string} for example `linux-x64-gnu`, also for a platform that has no binary */
function platformId() {
  const id = `${process.platform}-${process.arch}`;
  switch (process.platform) {
    case "linux":
      return `${id}-${linuxLibc()}`;
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
