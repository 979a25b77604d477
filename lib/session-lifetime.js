"use strict";
// How long sessions of disconnected clients are kept: socket.io's option `maxDisconnectionDuration`.
// socket.io does not check it, and it often comes from the environment.

const { inspect } = require("node:util");

const { warn } = require("./warnings");

/** socket.io's default, ms. */
const DEFAULT = 2 * 60 * 1_000;
/** A hundred years, ms. It stands for "forever", and every Redis accepts it. */
const LONGEST = 100 * 365 * 24 * 3_600 * 1_000;

/** The values that this process has warned of. */
const warnedOf = new Set();

/**
 * Takes a number of milliseconds, also as a string. `Infinity` becomes a hundred years. If the option
 * is absent, socket.io's default applies; so it does, with a warning, if the value is not a number.
 *
 * @param {unknown} given
 * @returns {number} ms; 0: no session is kept
 */
function sessionLifetime(given) {
  if (given === undefined || given === null || given === "") {
    return DEFAULT;
  }
  const ms = typeof given === "string" ? Number(given) : given;
  if (typeof ms !== "number" || Number.isNaN(ms)) {
    warnOnce(inspect(given, { depth: 0, maxStringLength: 100 }));
    return DEFAULT;
  }
  return Math.min(Math.max(Math.floor(ms), 0), LONGEST);
}

/** @param {string} shown */
function warnOnce(shown) {
  if (!warnedOf.has(shown)) {
    warnedOf.add(shown);
    warn(
      "SIO_REDIS_RECOVERY_DURATION",
      "`connectionStateRecovery.maxDisconnectionDuration` must be a number of milliseconds, not " +
        `${shown}: sessions are kept for ${DEFAULT} ms`,
    );
  }
}

module.exports = { sessionLifetime };
