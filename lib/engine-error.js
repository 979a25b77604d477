"use strict";
// Errors of the engine, as users get them.

/** An error of the engine, with its stable code. */
class EngineError extends Error {
  /**
   * @param {{ code: string, message: string }} error
   * @param {{ cause?: unknown }} [options]
   */
  constructor({ code, message }, options) {
    super(message, options);
    this.name = "SocketIORedisError";
    this.code = code;
  }
}

/** The code when an adapter or an emitter was closed. */
const CLOSED = "ERR_SIO_REDIS_CLOSED";

/** @param {string} message */
const closedError = (message) => new EngineError({ code: CLOSED, message });

/**
 * Whether the error is a refusal of the engine, with one of its codes.
 *
 * @param {any} error
 * @returns {error is EngineError}
 */
function isRefusal(error) {
  return String(error?.code).startsWith("ERR_SIO_REDIS_");
}

module.exports = { CLOSED, EngineError, closedError, isRefusal };
