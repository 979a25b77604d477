"use strict";
// Loads the Rust engine: the file that NAPI_RS_NATIVE_LIBRARY_PATH names, as with other packages of
// napi-rs, else what `npm run build` left in a checkout, else the platform's package.

const { existsSync } = require("node:fs");
const { join, resolve } = require("node:path");

const { version } = require("../package.json");
const { SUPPORTED, platformId, packageName, binaryName } = require("./platform");

const PATH_VARIABLE = "NAPI_RS_NATIVE_LIBRARY_PATH";
const BUILD =
  "To build it yourself: in a checkout of socket.io-redis-streams-native, with Rust installed, " +
  `run \`npm run build\`, and set ${PATH_VARIABLE} to the file that it names.`;

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
 * @param {string} what for messages
 * @returns {typeof import("./native-binding")}
 */
function open(path, what) {
  let binding;
  try {
    binding = require(path);
  } catch (cause) {
    throw new NativeLoadError(
      `${what}, ${path}, cannot be loaded: ${/** @type {Error} */ (cause).message}.`,
      cause,
    );
  }
  // The two halves speak a private interface that may change with every release.
  if (binding.VERSION !== version) {
    throw new NativeLoadError(
      `${what}, ${path}, is ${binding.VERSION ? `version ${binding.VERSION}` : "another addon"}, ` +
        `but version ${version} of socket.io-redis-streams-native is needed.`,
    );
  }
  return binding;
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

/**
 * @param {string} platform
 * @param {unknown} cause
 */
function notSupported(platform, cause) {
  return new NativeLoadError(
    `There is no engine for ${platform} (Node.js ${process.version}). ` +
      `Supported are ${SUPPORTED.join(", ")}.`,
    cause,
  );
}

/** @param {string} platform */
function openPackage(platform) {
  const name = packageName(platform);
  let manifest;
  try {
    manifest = require(`${name}/package.json`);
  } catch (cause) {
    throw (SUPPORTED.includes(platform) ? notInstalled : notSupported)(platform, cause);
  }
  if (manifest.version !== version) {
    throw new NativeLoadError(
      `${name} is version ${manifest.version}, but version ${version} is needed. ` +
        `To correct it: \`npm install ${name}@${version}\`.`,
    );
  }
  return open(name, `The engine for ${platform}`);
}

function load() {
  const chosen = process.env[PATH_VARIABLE];
  if (chosen) {
    return open(resolve(chosen), `The engine that ${PATH_VARIABLE} names`);
  }
  const platform = platformId();
  const local = join(__dirname, "..", binaryName(platform));
  return existsSync(local) ? open(local, `The engine for ${platform}`) : openPackage(platform);
}

module.exports = load();
