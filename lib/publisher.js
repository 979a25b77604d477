"use strict";
// Writes the messages of one namespace to its stream, and does the local part of each in the stream's
// order; before that for a socket that is disconnected, and when the server closes.

const { MessageType } = require("socket.io-adapter");

const { encodeBroadcast, encodeData } = require("./codec");
const { Leaving } = require("./leaving");
const { OwnMessage } = require("./own-message");
const { nextTick } = require("./timers");
const { Waiting } = require("./waiting");
const { warnOfHandler } = require("./warnings");

/**
 * @typedef {import("./engine").Engine} Engine
 * @typedef {import("./own-message").Local} Local
 * @typedef {import("./own-message").MessageContext} MessageContext
 * @typedef {import("./targets").Targets} Targets
 */

/** The most packets that a socket is given before it is disconnected, the last ones: about those of 5 ms. While
 * Redis is away, hundreds of thousands may wait, and a server may disconnect many sockets. */
const MOST_GIVEN = 256;

class Publisher {
  #engine;
  #namespace;
  #context;
  #onlyPlaintext;
  #keepsDates;
  /** @type {Promise<void> | undefined} */
  #ownChange;
  /** @type {Waiting | undefined} */
  #waitingNow;
  /** For each socket, the number of the first message after it has connected.
   * @type {WeakMap<object, number>} */
  #connected = new WeakMap();

  /**
   * @param {Engine} engine
   * @param {import("./namespace").Namespace} namespace
   * @param {MessageContext} context
   * @param {object} options
   * @param {boolean} options.onlyPlaintext
   * @param {boolean} options.keepsDates true if the server's parser sends dates to clients as dates
   */
  constructor(engine, namespace, context, { onlyPlaintext, keepsDates }) {
    this.#engine = engine;
    this.#namespace = namespace;
    this.#context = context;
    this.#onlyPlaintext = onlyPlaintext;
    this.#keepsDates = keepsDates;
  }

  /** The last of this node's joins, leaves and disconnects that is not applied yet. */
  get ownChange() {
    return this.#ownChange;
  }

  /** The last message of this node whose local part is not done yet. @returns {Promise<void> | undefined} */
  get lastOwn() {
    return this.#context.last?.done;
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
      this.#engine.publish(this.#namespace, type, encoded, {
        wantsId: true,
        end: (error, id) => (error ? reject(error) : resolve(id)),
      });
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
   * @param {Local} local
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
   * @param {Local} local
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

  /** A socket is connected now, or was before. @param {object} socket */
  connect(socket) {
    if (!this.#connected.has(socket)) {
      this.#connected.set(socket, this.#context.count);
    }
  }

  /**
   * Gives a socket what it gets of the messages that wait, if they were published since it has connected.
   * The other sockets get them at their turn.
   *
   * @param {any} socket that is about to be disconnected
   */
  giveTo(socket) {
    const leaving = new Leaving(socket);
    const first = this.#connected.get(socket) ?? 0;
    const waiting = this.#waiting.concerning(leaving.rooms, MOST_GIVEN);
    const given = waiting.length - MOST_GIVEN;
    for (const [i, message] of waiting.entries()) {
      if (leaving.isOver) {
        return;
      }
      // A change of its rooms counts in any case.
      const isGiven = !message.isBroadcast || (i >= given && message.number >= first);
      if (isGiven && leaving.isMeant(message.opts)) {
        message.giveTo(leaving);
      }
    }
  }

  /** Does the local part of all messages that wait. */
  deliverWaiting() {
    for (const message of this.#waiting.all()) {
      try {
        message.endEarly();
      } catch (error) {
        warnOfHandler("a handler has thrown while a message of the cluster was delivered", error);
      }
    }
  }

  get #waiting() {
    if (this.#waitingNow === undefined) {
      this.#waitingNow = new Waiting(this.#engine, this.#context);
      nextTick(() => (this.#waitingNow = undefined));
    }
    return this.#waitingNow;
  }

  /**
   * @param {number} type
   * @param {import("./codec").EncodedData} encoded
   * @param {Targets} opts
   * @param {Local} local
   * @returns {Promise<void>}
   */
  #write(type, encoded, opts, local) {
    const mayBeForSomebody = this.#ownChange !== undefined || this.#context.hasRecipients(opts);
    const message = new OwnMessage(this.#context, type, opts, local, mayBeForSomebody);
    this.#engine.publish(this.#namespace, type, encoded, message);
    // If the message was refused, it is done already.
    if (!message.isDone) {
      this.#context.last = message;
    }
    const { done } = message;
    if (type !== MessageType.BROADCAST) {
      this.#ownChange = done;
      done.then(() => {
        if (this.#ownChange === done) {
          this.#ownChange = undefined;
        }
      });
    }
    return done;
  }
}

module.exports = { Publisher };
