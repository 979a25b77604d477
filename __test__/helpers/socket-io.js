// The version of Socket.IO that the tests run with (see old-socket-io.js), and what older ones cannot do.

"use strict";

const { dirname, join } = require("node:path");

const { version } = require(join(dirname(require.resolve("socket.io")), "..", "package.json"));

const numberOf = (/** @type {string} */ of) =>
  of.split(".").reduce((sum, part) => 1_000 * sum + Number(part), 0);

/**
 * For the `skip` option of a test that Socket.IO cannot pass before a version.
 *
 * @param {string} since
 * @param {string} reason completes "Socket.IO cannot pass this before …: …"
 * @returns {string | false}
 */
function cannotBefore(since, reason) {
  return numberOf(version) < numberOf(since)
    ? `Socket.IO cannot pass this before ${since}: ${reason}`
    : false;
}

module.exports = { cannotBefore };
