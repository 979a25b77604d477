"use strict";
// The emitter sends messages to the clients and servers of a cluster from a process that is not a
// server. It has the name and the methods of @socket.io/redis-streams-emitter.

const { BroadcastOperator } = require("./broadcast-operator");
const { connectionSettings, refuseSecondClient } = require("./connection");
const { Engine } = require("./engine");
const { resolveOptions } = require("./options");
const { Outbox } = require("./outbox");
const { warn } = require("./warnings");

/** Errors and warnings about the user's arguments begin with this. */
const CALLER = "Emitter";

/** The emitter of one namespace. It is the operator for all sockets of the namespace. */
class Emitter extends BroadcastOperator {
  #outbox;
  #nsp;

  /**
   * @param {any} redisClient as in `createAdapter`; within this class, the outbox to share
   * @param {import("../index").RedisStreamsAdapterOptions & Record<string, any>} [opts]
   * @param {string} [nsp]
   */
  constructor(redisClient, opts, nsp = "/") {
    const name = nameOf(nsp);
    const outbox = redisClient instanceof Outbox ? redisClient : openOutbox(redisClient, opts);
    super(outbox.channel(name));
    this.#outbox = outbox;
    this.#nsp = name;
  }

  /**
   * The emitter of another namespace, over the same connections.
   *
   * @param {string} nsp
   */
  of(nsp) {
    return new Emitter(this.#outbox, undefined, nsp);
  }

  /**
   * Resolves when everything that was emitted before, in all namespaces, is in Redis.
   *
   * @returns {Promise<void>}
   */
  flush() {
    return this.#outbox.flush();
  }

  /**
   * Flushes, and closes the connections of all namespaces.
   *
   * @returns {Promise<void>}
   */
  close() {
    return this.#outbox.close();
  }

  /** Counters of all namespaces, and the queue of this one's stream; see index.d.ts. */
  stats() {
    return this.#outbox.stats(this.#nsp);
  }
}

/**
 * @param {any} redisClient
 * @param {any} opts
 */
function openOutbox(redisClient, opts) {
  refuseSecondClient(opts, CALLER);
  const settings = connectionSettings(redisClient, { warn, caller: CALLER });
  const options = resolveOptions(opts, { warn, caller: CALLER });
  return new Outbox(new Engine(settings, options, { role: "emitter", given: opts }), options);
}

/**
 * The namespace's name, with a leading "/" as in Socket.IO.
 *
 * @param {unknown} nsp
 */
function nameOf(nsp) {
  if (typeof nsp !== "string") {
    throw new TypeError(`Emitter: the namespace must be a string, not ${typeof nsp}`);
  }
  return nsp.startsWith("/") ? nsp : `/${nsp}`;
}

module.exports = { Emitter };
