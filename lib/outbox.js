"use strict";
// Tracks what an emitter has emitted in all its namespaces, until it is written or has failed.

const { encodeData } = require("./codec");
const { CLOSED, EngineError, closedError } = require("./engine-error");
const { warn } = require("./warnings");

/** @typedef {import("./engine").Engine} Engine */

/** The messages that were emitted between two flushes. */
class Span {
  #reasonOf;
  #emitted = 0;
  #ended = 0;
  #failed = 0;
  /** The error of the first message that failed. @type {EngineError | undefined} */
  #error;
  /** @type {(() => void) | undefined} */
  #onEnd;

  /** @param {(error: Error) => EngineError} reasonOf called for each message that failed */
  constructor(reasonOf) {
    this.#reasonOf = reasonOf;
  }

  begin() {
    this.#emitted++;
  }

  /** A message was written, or failed. @param {Error | null} error */
  end(error) {
    this.#ended++;
    if (error) {
      this.#failed++;
      const reason = this.#reasonOf(error);
      this.#error ??= reason;
    }
    if (this.#ended === this.#emitted) {
      this.#onEnd?.();
    }
  }

  /**
   * Resolves when all messages are written or have failed. After this call, none is added.
   *
   * @returns {Promise<void>}
   */
  ended() {
    return new Promise((resolve) => {
      this.#onEnd = resolve;
      if (this.#ended === this.#emitted) {
        resolve();
      }
    });
  }

  /** Throws if a message has failed. */
  check() {
    const cause = this.#error;
    if (cause !== undefined) {
      const message = `${this.#failed} of ${this.#emitted} messages were not written: ${cause.message}`;
      throw Object.assign(new EngineError({ code: cause.code, message }, { cause }), {
        failed: this.#failed,
      });
    }
  }
}

class Outbox {
  #engine;
  #onlyPlaintext;
  /** The messages since the last flush. */
  #span = new Span((error) => this.#reasonOf(error));
  /** Settles when all messages of earlier spans are written or have failed. @type {Promise<unknown>} */
  #earlier = Promise.resolve();
  /** The number of messages that were given up at the close. */
  #givenUp = 0;
  /** @type {Promise<void> | undefined} */
  #closing;

  /**
   * @param {Engine} engine
   * @param {import("./options").Options} options
   */
  constructor(engine, { onlyPlaintext }) {
    this.#engine = engine;
    this.#onlyPlaintext = onlyPlaintext;
  }

  /**
   * Opens a channel for the messages of a namespace.
   *
   * @param {string} nsp
   * @returns {import("./broadcast-operator").Channel}
   */
  channel(nsp) {
    const namespace = this.#engine.openToWrite(nsp);
    return { nsp, publish: (type, data) => this.#publish(namespace, type, data) };
  }

  /**
   * Throws if the data cannot be encoded, and after `close()`.
   *
   * @param {import("./namespace").Namespace} namespace
   * @param {number} type
   * @param {any} data
   */
  #publish(namespace, type, data) {
    if (this.#closing !== undefined) {
      throw closedError("the emitter is closed");
    }
    const encoded = encodeData(type, data, this.#onlyPlaintext);
    this.#engine.publish(namespace, type, encoded, this.#span);
    // Counted only here: if the data cannot be encoded, the call above throws, and nothing was emitted.
    this.#span.begin();
  }

  /**
   * @param {any} error with which the engine has failed a message
   * @returns {EngineError} the reason for users
   */
  #reasonOf(error) {
    if (error.code !== CLOSED) {
      return error;
    }
    this.#givenUp++;
    return closedError("the emitter was closed before it was known that Redis had taken them");
  }

  /**
   * Resolves when everything that was emitted before is in Redis. Rejects if a message that was emitted
   * since the last flush will not be written. Nobody has to handle the rejection, because each failure
   * is a warning as well.
   *
   * @returns {Promise<void>}
   */
  flush() {
    const span = this.#span;
    this.#span = new Span((error) => this.#reasonOf(error));
    const ended = Promise.all([this.#earlier, span.ended()]).then(() => {});
    this.#earlier = ended;
    const flushed = ended.then(() => span.check());
    flushed.catch(() => {});
    return flushed;
  }

  /** @param {string} nsp */
  stats(nsp) {
    const { published, failed, doubtful, reconnects, queueLength, queueBytes } =
      this.#engine.stats(nsp);
    return { published, failed, doubtful, reconnects, queueLength, queueBytes };
  }

  /**
   * Flushes, within the engine's time limit, and closes the connections.
   *
   * @returns {Promise<void>} rejects as `flush()` does
   */
  close() {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  /** @returns {Promise<void>} */
  #end() {
    const flushed = this.flush();
    const ended = this.#engine.end().then(async () => {
      if (this.#givenUp > 0) {
        const messages = this.#givenUp === 1 ? "1 message was" : `${this.#givenUp} messages were`;
        const message = `the emitter was closed before ${messages} written: is Redis down?`;
        warn(CLOSED, message);
        await flushed;
        // These were emitted before an earlier flush, and its promise may have been ignored.
        throw Object.assign(closedError(message), { failed: this.#givenUp });
      }
      return flushed;
    });
    ended.catch(() => {});
    return ended;
  }
}

module.exports = { Outbox };
