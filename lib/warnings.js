"use strict";
// What the operator has to know goes through `process.emitWarning`: visible by default, can be
// listened for, and never crashes a server.

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

/**
 * A handler of the user's has thrown while we delivered something to it. The message came from
 * another server, which must not be able to take this one down.
 *
 * @param {string} what
 * @param {unknown} error
 */
function warnOfHandler(what, error) {
  const detail = error instanceof Error ? error.stack : String(error);
  debug("%s: %s", what, detail);
  process.emitWarning(`${what}: ${error instanceof Error ? error.message : error}`, {
    type: TYPE,
    code: "ERR_SIO_REDIS_HANDLER",
    detail,
  });
}

module.exports = { warn, warnOfHandler };
