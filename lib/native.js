"use strict";
// Loads the Rust engine: what `npm run build` left in a checkout, else the platform's package.

const { existsSync } = require("node:fs");
const { join } = require("node:path");

const { version } = require("../package.json");
const { SUPPORTED, platformId, packageName, binaryName } = require("./platform");

const BUILD =
  "To build it yourself: in a checkout of socket.io-redis-streams-native, with Rust installed, run `npm run build`.";

class NativeLoadError extends Error {
  /**
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(message, cause) {
    super(`${message} ${BUILD}`, { cause });
    this.name = "NativeLoadError";
    this.code = "ERR_SIO_REDIS_NATIVE";
  }
}

/**
 * @param {string} path
 * @param {string} platform
 */
function open(path, platform) {
  try {
    return require(path);
  } catch (cause) {
    throw new NativeLoadError(
      `The engine for ${platform}, ${path}, cannot be loaded: ${/** @type {Error} */ (cause).message}.`,
      cause,
    );
  }
}

/**
 * npm leaves an optional dependency out without a word, so its absence needs the causes spelled out.
 *
 * @param {string} platform
 * @param {unknown} cause
 */
function notInstalled(platform, cause) {
  const name = packageName(platform);
  return new NativeLoadError(
    `The engine for ${platform} is not installed: the package ${name} is missing. ` +
      "It is an optional dependency, which npm leaves out with --omit=optional or with " +
      "a lock file or node_modules folder that was made on another platform. " +
      `To add it: \`npm install ${name}@${version}\`.`,
    cause,
  );
}

function load() {
  const platform = platformId();
  const local = join(__dirname, "..", binaryName(platform));
  if (existsSync(local)) {
    return open(local, platform);
  }

  const name = packageName(platform);
  let manifest;
  try {
    manifest = require(`${name}/package.json`);
  } catch (cause) {
    if (SUPPORTED.includes(platform)) {
      throw notInstalled(platform, cause);
    }
    throw new NativeLoadError(
      `There is no engine for ${platform} (Node.js ${process.version}). ` +
        `Supported are ${SUPPORTED.join(", ")}.`,
      cause,
    );
  }
  // The two halves speak a private interface that may change with every release.
  if (manifest.version !== version) {
    throw new NativeLoadError(
      `${name} is version ${manifest.version}, but version ${version} is needed. ` +
        `To correct it: \`npm install ${name}@${version}\`.`,
    );
  }
  return open(name, platform);
}

/** @type {typeof import("./native-binding")} */
module.exports = load();
