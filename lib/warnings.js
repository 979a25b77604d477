"use strict";
// Reports to the operator through `process.emitWarning`: visible by default, can be listened for, and
// never crashes a server.

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

/** The largest number of warnings of one kind in the period below. */
const MOST = 10;
const INTERVAL = 10_000;
/** The warnings of the current period, by kind. @type {Map<string, { since: number, count: number }>} */
const given = new Map();

/**
 * Warns that a handler of the user's has thrown while it handled a message. The error must not end
 * this server, because the message came from another one. The number of warnings is limited, because a
 * handler that always throws could fill a disk.
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
