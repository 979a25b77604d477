"use strict";
// Writes the messages of one namespace to its stream, and does their local part at their place in it.

const { AsyncResource } = require("node:async_hooks");
const { MessageType } = require("socket.io-adapter");

const { encodeData } = require("./codec");
const debug = require("./debug");

/**
 * @typedef {import("./engine").Engine} Engine
 * @typedef {import("./targets").Targets} Targets
 * @typedef {Parameters<import("./engine").Published>[2]} LocalPart
 */

class Publisher {
  #engine;
  #namespace;
  #nsp;
  #onlyPlaintext;
  #keepsDates;
  #onReached;
  /** @type {Promise<void> | undefined} */
  #ownChange;

  /**
   * @param {Engine} engine
   * @param {import("./native-binding").NativeNamespace} namespace
   * @param {object} options
   * @param {string} options.nsp
   * @param {boolean} options.onlyPlaintext
   * @param {boolean} options.keepsDates whether clients get dates as such
   * @param {(offset?: string) => void} options.onReached called when a message has its place
   */
  constructor(engine, namespace, { nsp, onlyPlaintext, keepsDates, onReached }) {
    this.#engine = engine;
    this.#namespace = namespace;
    this.#nsp = nsp;
    this.#onlyPlaintext = onlyPlaintext;
    this.#keepsDates = keepsDates;
    this.#onReached = onReached;
  }

  /** The last of our own joins, leaves and disconnects that is under way. */
  get ownChange() {
    return this.#ownChange;
  }

  /**
   * @param {{ type: number, data?: any }} message
   * @returns {import("./codec").EncodedData}
   */
  encode({ type, data }) {
    return encodeData(type, data, this.#onlyPlaintext, this.#keepsDates);
  }

  /**
   * @param {number} type
   * @param {import("./codec").EncodedData} encoded
   * @returns {Promise<string | undefined>} the entry's ID, as far as it is known
   */
  publish(type, encoded) {
    return new Promise((resolve, reject) => {
      this.#engine.publish(this.#namespace, type, encoded, (error, id) =>
        error ? reject(error) : resolve(id),
      );
    });
  }

  /**
   * Writes a message and does the local part at its place in the stream; at once when it could not
   * be written, and when it is for this node only. Throws only when the data cannot be encoded.
   *
   * @param {number} type
   * @param {any} data
   * @param {Targets} opts
   * @param {(offset?: string, localPart?: LocalPart) => void} local
   * @returns {Promise<void>} resolved when the local part is done
   */
  writeThen(type, data, opts, local) {
    if (opts.flags?.local) {
      local();
      return Promise.resolve();
    }
    const isChange = type !== MessageType.BROADCAST;
    // What handlers of the change find in an AsyncLocalStorage, as with an adapter that changes at
    // once. Broadcasts run no handlers but outgoing listeners, and are too many for it.
    const run = isChange ? AsyncResource.bind(local) : local;
    /** @type {() => void} */
    let done = () => {};
    /** @type {Promise<void>} */
    const promise = new Promise((resolve) => (done = resolve));
    const encoded = this.encode({ type, data });
    this.#engine.publish(this.#namespace, type, encoded, (error, offset, localPart) => {
      if (error) {
        debug("message of type %d in %s not published: %s", type, this.#nsp, error.message);
      }
      this.#onReached(offset);
      // Before the handlers of the local part, which may throw.
      done();
      run(offset, localPart);
    });
    if (isChange) {
      this.#ownChange = promise;
      promise.then(() => {
        if (this.#ownChange === promise) {
          this.#ownChange = undefined;
        }
      });
    }
    return promise;
  }
}

module.exports = { Publisher };
