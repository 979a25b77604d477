"use strict";
// What the operator has to know goes through `process.emitWarning`: visible by default, can be
// listened for, and never crashes a server.

const { performance } = require("node:perf_hooks");

const debug = require("./debug");

const TYPE = "SocketIORedisWarning";

/**
 * @param {string} code
 * @param {string} message
 */
function warn(code, message) {
  debug("warning %s: %s", code, message);
  process.emitWarning(message, { type: TYPE, code });
}

/** So many warnings of one kind are given in so long a time, ms. */
const MOST = 10;
const INTERVAL = 10_000;
/** By kind. @type {Map<string, { since: number, count: number }>} */
const given = new Map();

/**
 * A handler of the user's has thrown while we delivered something to it. The message came from
 * another server, which must not be able to take this one down; nor may a handler that always
 * throws fill a disk.
 *
 * @param {string} what one of a few constants
 * @param {unknown} error
 */
function warnOfHandler(what, error) {
  const detail = error instanceof Error ? error.stack : String(error);
  debug("%s: %s", what, detail);
  const now = performance.now();
  let kind = given.get(what);
  const left = kind === undefined ? 0 : Math.max(0, kind.count - MOST);
  if (kind === undefined || now - kind.since >= INTERVAL) {
    kind = { since: now, count: 0 };
    given.set(what, kind);
  }
  if (++kind.count > MOST) {
    return;
  }
  const more = kind.count === 1 && left > 0 ? ` (and ${left} more were not warned of)` : "";
  process.emitWarning(`${what}: ${error instanceof Error ? error.message : error}${more}`, {
    type: TYPE,
    code: "ERR_SIO_REDIS_HANDLER",
    detail,
  });
}

module.exports = { warn, warnOfHandler };
