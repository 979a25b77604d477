"use strict";
// How long sessions are kept for clients that have gone: socket.io's option
// `maxDisconnectionDuration`, which nobody has checked and which often comes from the environment.

const { inspect } = require("node:util");

const { warn } = require("./warnings");

/** socket.io's default, ms. */
const DEFAULT = 2 * 60 * 1_000;
/** A hundred years, ms: as good as for ever, and any Redis takes it. */
const LONGEST = 100 * 365 * 24 * 3_600 * 1_000;

/** Values that this process was warned of. */
const warnedOf = new Set();

/**
 * A number of milliseconds, also as a string; `Infinity` is a hundred years. Nothing at all is
 * socket.io's default, and so is what is no number, with a warning.
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
