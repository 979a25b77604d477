"use strict";
// A message that this node has published, and what is left to do here when its turn in the stream comes.
// One object holds all of it, since a node may publish some 100,000 messages per second.

const { AsyncResource } = require("node:async_hooks");

const { MessageType } = require("socket.io-adapter");

const debug = require("./debug");
const { BY_JS, FOR_NOBODY } = require("./events");

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./events").LocalPart} LocalPart
 *
 * @typedef {import("./leaving").Leaving} Leaving
 *
 * @typedef {(offset?: string, localPart?: LocalPart, leaving?: Leaving) => void} Local does the local part;
 * with `leaving`, only what it means for that socket
 *
 * @typedef {object} MessageContext what the messages of a namespace share
 * @property {string} nsp
 * @property {boolean} wantsOffsets whether the messages need the IDs of their entries
 * @property {(offset?: string) => void} onReached called when a message has reached its turn
 * @property {(opts: Targets) => boolean} hasRecipients whether there may be some on this node
 * @property {number} count how many messages there were so far
 * @property {OwnMessage} [last] the last message whose local part is not done yet
 */

class OwnMessage {
  /** @type {() => void} */
  #resolve = () => {};
  #context;
  #type;
  #opts;
  /** Undefined when it is done. @type {Local | undefined} */
  #local;
  #caller;
  /** True from the moment at which its turn has come, or at which it is known to have none. */
  isDone = false;
  /** Resolved when the local part is done. @type {Promise<void>} */
  done = new Promise((resolve) => (this.#resolve = resolve));

  /**
   * @param {MessageContext} context
   * @param {number} type
   * @param {Targets} opts
   * @param {Local} local the local part
   * @param {boolean} mayBeForSomebody whether it may be for sockets that this node has by now, or that
   * changes of rooms before it add
   */
  constructor(context, type, opts, local, mayBeForSomebody) {
    /** Its number among those of the namespace. */
    this.number = context.count++;
    this.#context = context;
    this.#type = type;
    this.#opts = opts;
    this.#local = local;
    // Handlers and listeners find the caller's AsyncLocalStorage, as with an adapter that acts at once.
    // That adapter would call none if nobody gets the message.
    this.#caller = mayBeForSomebody
      ? new AsyncResource("SocketIORedisPublish", { requireManualDestroy: true })
      : undefined;
  }

  get wantsId() {
    return this.#context.wantsOffsets;
  }

  get isBroadcast() {
    return this.#type === MessageType.BROADCAST;
  }

  get opts() {
    return this.#opts;
  }

  /** @param {MessageContext} context of a namespace */
  isOf(context) {
    return this.#context === context;
  }

  /**
   * Does the local part. The engine calls this when the turn of the message comes, or with the reason
   * why the message is not in the stream.
   *
   * @param {Error | null} error
   * @param {string} [offset] if it is known and {@link wantsId}
   * @param {LocalPart} [localPart]
   */
  end(error, offset, localPart) {
    const { nsp, onReached, hasRecipients } = this.#context;
    if (error) {
      debug("message of type %d in %s not published: %s", this.#type, nsp, error.message);
    }
    onReached(offset);
    this.isDone = true;
    if (this.#context.last === this) {
      this.#context.last = undefined;
    }
    // Before the local part, because its handlers may throw. Who waits continues after it.
    this.#resolve();
    const local = this.#local;
    this.#local = undefined;
    try {
      // A socket may have joined since the engine looked.
      if (local && (localPart !== FOR_NOBODY || hasRecipients(this.#opts))) {
        this.#act(local, offset, localPart);
      }
    } finally {
      // jest would report it as an open handle until it is collected.
      this.#caller?.emitDestroy();
    }
  }

  /** Does the local part now, before the turn of the message. */
  endEarly() {
    const local = this.#local;
    this.#local = undefined;
    if (local) {
      this.#act(local, undefined, BY_JS);
    }
  }

  /** Gives a socket what it gets of the local part. The others still wait. @param {Leaving} leaving */
  giveTo(leaving) {
    if (this.#local) {
      this.#act(this.#local, undefined, BY_JS, leaving);
    }
  }

  /**
   * @param {Local} local
   * @param {string} [offset]
   * @param {LocalPart} [localPart]
   * @param {Leaving} [leaving]
   */
  #act(local, offset, localPart, leaving) {
    if (this.#caller === undefined) {
      local(offset, localPart, leaving);
    } else {
      this.#caller.runInAsyncScope(local, undefined, offset, localPart, leaving);
    }
  }
}

module.exports = { OwnMessage };
