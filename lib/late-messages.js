"use strict";
// Writes what is emitted after the adapter was closed: "a user has left" of a `disconnect` handler that
// first asks a database, for example. An engine that only writes is started for it, and ends when that
// is done.

const { encodedSize } = require("./codec");
const { CLOSED, closedError } = require("./engine-error");
const { warn, warnOfHandler } = require("./warnings");

/** About what a waiting message takes beside its data, bytes. */
const OVERHEAD = 1_024;

/**
 * @typedef {import("./engine").Engine} Engine
 * @typedef {import("./engine").Published} Published
 * @typedef {import("./codec").EncodedData} EncodedData
 * @typedef {{ nsp: string, type: number, data: EncodedData, published: Published }} Message
 */

class LateMessages {
  #start;
  #bound;
  /** The messages that wait for the engine before to end, in order. @type {Message[]} */
  #waiting = [];
  #bytes = 0;
  #isWriting = false;
  #lost = 0;

  /**
   * @param {() => Engine} start starts an engine that only writes
   * @param {number} bound of what waits, bytes
   */
  constructor(start, bound) {
    this.#start = start;
    this.#bound = bound;
  }

  /**
   * @param {Promise<unknown> | undefined} ending resolves when the closed engine has written everything:
   * what was emitted before comes before
   * @param {string} nsp
   * @param {number} type
   * @param {EncodedData} data
   * @param {Published} published
   */
  publish(ending, nsp, type, data, published) {
    const bytes = this.#bytes + OVERHEAD + encodedSize(data);
    if (bytes > this.#bound) {
      this.#lose();
      published.end(closedError("the adapter is closed, and more waits than `publishQueueBytes`"));
      return;
    }
    this.#bytes = bytes;
    this.#waiting.push({ nsp, type, data, published });
    if (!this.#isWriting) {
      this.#isWriting = true;
      this.#write(ending);
    }
  }

  /** @param {Promise<unknown>} [ending] */
  async #write(ending) {
    await ending;
    while (this.#waiting.length > 0) {
      const messages = this.#waiting.splice(0);
      this.#bytes = 0;
      const engine = this.#startFor(messages);
      messages.forEach((message) => engine && this.#hand(engine, message));
      await engine?.end();
      this.#warn();
    }
    this.#isWriting = false;
  }

  /**
   * @param {Message[]} messages which end at once if no engine can be started
   * @returns {Engine | undefined}
   */
  #startFor(messages) {
    try {
      return this.#start();
    } catch (error) {
      for (const message of messages) {
        try {
          this.#end(message, /** @type {Error} */ (error));
        } catch (thrown) {
          warnOfHandler("a handler has thrown while a message was delivered", thrown);
        }
      }
    }
  }

  /**
   * @param {Engine} engine
   * @param {Message} message
   */
  #hand(engine, message) {
    const { nsp, type, data, published } = message;
    engine.publish(engine.openToWrite(nsp), type, data, {
      wantsId: published.wantsId,
      // This engine knows no recipients here.
      end: (error, id) => this.#end(message, error, id),
    });
  }

  /**
   * @param {Message} message
   * @param {Error | null} error
   * @param {string} [id]
   */
  #end({ published }, error, id) {
    this.#lost += error ? 1 : 0;
    published.end(error, id);
  }

  #lose() {
    this.#lost++;
    if (!this.#isWriting) {
      this.#warn();
    }
  }

  #warn() {
    if (this.#lost > 0) {
      const messages = this.#lost === 1 ? "1 message that was" : `${this.#lost} messages that were`;
      this.#lost = 0;
      warn(
        CLOSED,
        `${messages} emitted after the adapter was closed did not reach other servers: is ` +
          "Redis down? Await what handlers of `disconnect` do before you close the server",
      );
    }
  }
}

module.exports = { LateMessages };
