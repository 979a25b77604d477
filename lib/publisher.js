"use strict";
// Writes the messages of one namespace to its stream, and does the local part of each in the stream's
// order.

const { AsyncResource } = require("node:async_hooks");
const { MessageType } = require("socket.io-adapter");

const { encodeBroadcast, encodeData } = require("./codec");
const debug = require("./debug");
const { FOR_NOBODY } = require("./events");

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
  #hasRecipients;
  /** @type {Promise<void> | undefined} */
  #ownChange;

  /**
   * @param {Engine} engine
   * @param {import("./namespace").Namespace} namespace
   * @param {object} options
   * @param {string} options.nsp
   * @param {boolean} options.onlyPlaintext
   * @param {boolean} options.keepsDates true if the server's parser sends dates to clients as dates
   * @param {(offset?: string) => void} options.onReached called when a message has reached its turn
   * @param {(opts: Targets) => boolean} options.hasRecipients whether there may be some on this node
   */
  constructor(engine, namespace, options) {
    const { nsp, onlyPlaintext, keepsDates, onReached, hasRecipients } = options;
    this.#engine = engine;
    this.#namespace = namespace;
    this.#nsp = nsp;
    this.#onlyPlaintext = onlyPlaintext;
    this.#keepsDates = keepsDates;
    this.#onReached = onReached;
    this.#hasRecipients = hasRecipients;
  }

  /** The last of this node's joins, leaves and disconnects that is not applied yet. */
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
   * @returns {Promise<string | undefined>} the entry's ID, if it is known
   */
  publish(type, encoded) {
    return new Promise((resolve, reject) => {
      this.#engine.publish(this.#namespace, type, encoded, (error, id) =>
        error ? reject(error) : resolve(id),
      );
    });
  }

  /**
   * Writes a message, and does the local part when its turn in the stream comes. If the message cannot
   * be written or is for this node only, the local part is done at once. Throws only if the data cannot
   * be encoded.
   *
   * @param {number} type of a change of rooms
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
    return this.#write(type, this.encode({ type, data }), opts, local);
  }

  /**
   * The same for a broadcast.
   *
   * @param {any} packet
   * @param {Targets} opts
   * @param {(offset?: string, localPart?: LocalPart) => void} local
   * @returns {Promise<void>} resolved when the local part is done
   */
  broadcastThen(packet, opts, local) {
    if (opts.flags?.local) {
      local();
      return Promise.resolve();
    }
    const encoded = encodeBroadcast(packet, opts, this.#onlyPlaintext, this.#keepsDates);
    return this.#write(MessageType.BROADCAST, encoded, opts, local);
  }

  /**
   * @param {number} type
   * @param {import("./codec").EncodedData} encoded
   * @param {Targets} opts
   * @param {(offset?: string, localPart?: LocalPart) => void} local
   * @returns {Promise<void>}
   */
  #write(type, encoded, opts, local) {
    // Handlers and listeners find the caller's AsyncLocalStorage, as with an adapter that acts at once.
    const caller = new AsyncResource("SocketIORedisPublish", { requireManualDestroy: true });
    /** @type {() => void} */
    let done = () => {};
    /** @type {Promise<void>} */
    const promise = new Promise((resolve) => (done = resolve));
    this.#engine.publish(this.#namespace, type, encoded, (error, offset, localPart) => {
      if (error) {
        debug("message of type %d in %s not published: %s", type, this.#nsp, error.message);
      }
      this.#onReached(offset);
      // Before the local part, because its handlers may throw.
      done();
      try {
        // A socket may have joined since the engine looked.
        if (localPart !== FOR_NOBODY || this.#hasRecipients(opts)) {
          caller.runInAsyncScope(local, undefined, offset, localPart);
        }
      } finally {
        // jest would report it as an open handle until it is collected.
        caller.emitDestroy();
      }
    });
    if (type !== MessageType.BROADCAST) {
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
