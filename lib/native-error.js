"use strict";
// The errors for an engine that cannot be loaded. They explain why, and what to do about it.

const { version } = require("../package.json");
const { SUPPORTED, packageName } = require("./platform");

const NAME = "socket.io-redis-streams-native";
/** The environment variable with the path of a binary to load instead of the platform's package. */
const PATH_VARIABLE = "SOCKET_IO_REDIS_STREAMS_NATIVE_PATH";

class NativeLoadError extends Error {
  /**
   * @param {string} message
   * @param {unknown} [cause]
   */
  constructor(message, cause) {
    super(message, { cause });
    this.name = "NativeLoadError";
    this.code = "ERR_SIO_REDIS_NATIVE";
  }
}

/**
 * npm, pnpm and Yarn leave an optional dependency out without an error.
 *
 * @param {string} platform
 * @param {unknown} cause
 */
function notInstalled(platform, cause) {
  return new NativeLoadError(
    `The engine for ${platform} is not installed: the package ${packageName(platform)} is ` +
      "missing. It is an optional dependency, which npm leaves out with --omit=optional, or with " +
      "a node_modules folder or a lock file that was made on another platform. Remove " +
      "node_modules, and install on this platform, with `npm install --include=optional` or " +
      "`npm ci --include=optional`.",
    cause,
  );
}

/**
 * @param {string} platform
 * @param {unknown} cause
 */
function bundled(platform, cause) {
  return new NativeLoadError(
    `The engine for ${platform} cannot be loaded from this bundle. It is a shared library, which ` +
      `no bundler can put into a JavaScript file. Mark "${NAME}" as external (esbuild and bun: ` +
      `--external:${NAME}; webpack: externals; Rollup: external; Vite: ssr.external; Next.js: ` +
      `serverExternalPackages), and install it where the bundle runs.`,
    cause,
  );
}

/** @param {string} platform */
function notSupported(platform) {
  return new NativeLoadError(
    `There is no engine for ${platform} (Node.js ${process.version}). There is one for ` +
      `${SUPPORTED.join(", ")}. Either build it: get the source of ${NAME} ${version}, run ` +
      "`npm run build` there, which needs Rust, and set the environment variable " +
      `${PATH_VARIABLE} to the .node file that it makes. Or use @socket.io/redis-streams-adapter ` +
      "on this machine: its nodes and ours work in one cluster.",
  );
}

/**
 * @param {string} what the engine and its origin, for the message
 * @param {{ code?: string, message: string }} cause
 */
function notLoadable(what, cause) {
  const reason =
    cause.code === "ERR_DLOPEN_DISABLED"
      ? "this process may not load addons. With --permission, add --allow-addons; " +
        "do not start Node.js with --no-addons"
      : cause.message;
  return new NativeLoadError(`${what} cannot be loaded: ${reason}.`, cause);
}

/**
 * @param {string} what the engine and its origin, for the message
 * @param {string | undefined} found its version; undefined if the file is another addon
 * @param {string} [command] installs the right version
 */
function wrongVersion(what, found, command) {
  return new NativeLoadError(
    `${what} is ${found ? `version ${found}` : "another addon"}, but version ${version} is needed.` +
      (command ? ` To correct it: \`${command}\`.` : ""),
  );
}

module.exports = {
  PATH_VARIABLE,
  NativeLoadError,
  notInstalled,
  bundled,
  notSupported,
  notLoadable,
  wrongVersion,
};
