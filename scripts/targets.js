"use strict";
// Rust's names for the platforms that have a package under npm/.

/**
 * By platform, as in lib/platform.js. `__test__/package/platforms.test.js` compares all places that list
 * the platforms.
 *
 * @type {Record<string, string>}
 */
const TARGETS = {
  "linux-x64-gnu": "x86_64-unknown-linux-gnu",
  "linux-arm64-gnu": "aarch64-unknown-linux-gnu",
  "linux-x64-musl": "x86_64-unknown-linux-musl",
  "linux-arm64-musl": "aarch64-unknown-linux-musl",
  "darwin-x64": "x86_64-apple-darwin",
  "darwin-arm64": "aarch64-apple-darwin",
  "win32-x64-msvc": "x86_64-pc-windows-msvc",
  "win32-arm64-msvc": "aarch64-pc-windows-msvc",
};

module.exports = { TARGETS };
