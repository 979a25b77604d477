"use strict";
// Loads the Rust engine: the file that SOCKET_IO_REDIS_STREAMS_NATIVE_PATH names, otherwise the
// binary that `npm run build` made in a checkout, otherwise the platform's package.

const { existsSync } = require("node:fs");
const { basename, join, resolve } = require("node:path");

const { version } = require("../package.json");
const errors = require("./native-error");
const { platformId, packageName, binaryName } = require("./platform");

/** @typedef {typeof import("./native-binding")} Binding */

/** True if a bundler moved this code to another file, or into an ES module without a file name. */
const isBundled = typeof __filename !== "string" || basename(__filename) !== "native.js";

/**
 * Spells out each package name, because bundlers and file tracers follow only literal calls. Each
 * call is inside `try`, so that they ignore the missing packages of other platforms.
 *
 * @param {string} platform
 * @returns {Binding}
 */
function requirePackage(platform) {
  try {
    switch (platform) {
      case "linux-x64-gnu":
        return require("socket.io-redis-streams-native-linux-x64-gnu");
      case "linux-arm64-gnu":
        return require("socket.io-redis-streams-native-linux-arm64-gnu");
      case "linux-x64-musl":
        return require("socket.io-redis-streams-native-linux-x64-musl");
      case "linux-arm64-musl":
        return require("socket.io-redis-streams-native-linux-arm64-musl");
      case "darwin-x64":
        return require("socket.io-redis-streams-native-darwin-x64");
      case "darwin-arm64":
        return require("socket.io-redis-streams-native-darwin-arm64");
      case "win32-x64-msvc":
        return require("socket.io-redis-streams-native-win32-x64-msvc");
      case "win32-arm64-msvc":
        return require("socket.io-redis-streams-native-win32-arm64-msvc");
    }
  } catch (cause) {
    throw explained(platform, /** @type {NodeJS.ErrnoException} */ (cause));
  }
  throw errors.notSupported(platform);
}

/**
 * @param {string} platform
 * @param {NodeJS.ErrnoException} cause
 */
function explained(platform, cause) {
  const { code = "" } = cause;
  if (isBundled && !code.startsWith("ERR_DLOPEN")) {
    return errors.bundled(platform, cause);
  }
  return code.endsWith("MODULE_NOT_FOUND")
    ? errors.notInstalled(platform, cause)
    : errors.notLoadable(`The engine for ${platform}`, cause);
}

/**
 * Checks the engine's version: JS and Rust share a private interface that may change in any release.
 *
 * @param {Binding} binding
 * @param {string} what the engine and its origin, for messages
 * @param {string} [command] installs the right version
 */
function checked(binding, what, command) {
  if (binding.VERSION !== version) {
    throw errors.wrongVersion(what, binding.VERSION, command);
  }
  return binding;
}

/**
 * @param {string} path
 * @param {string} what the engine and its origin, for messages
 */
function openFile(path, what) {
  const addon = { exports: /** @type {Binding} */ ({}) };
  try {
    // Bundlers warn or fail if `require` gets a path that is known only at run time.
    process.dlopen(addon, path);
  } catch (cause) {
    throw errors.notLoadable(`${what}, ${path},`, /** @type {Error} */ (cause));
  }
  return checked(addon.exports, `${what}, ${path},`);
}

/** @param {string} platform */
function openPackage(platform) {
  const command = `npm install ${packageName(platform)}@${version}`;
  return checked(requirePackage(platform), `The engine for ${platform}`, command);
}

/** @param {string} platform @returns {string | undefined} the path of what `npm run build` made */
function builtHere(platform) {
  const path = isBundled ? undefined : join(__dirname, "..", binaryName(platform));
  return path !== undefined && existsSync(path) ? path : undefined;
}

function load() {
  const chosen = process.env[errors.PATH_VARIABLE];
  if (chosen) {
    return openFile(resolve(chosen), `The engine that ${errors.PATH_VARIABLE} names`);
  }
  const platform = platformId();
  const local = builtHere(platform);
  return local ? openFile(local, `The engine for ${platform}`) : openPackage(platform);
}

module.exports = load();
