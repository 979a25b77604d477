"use strict";
// Holds back what a slice of packets writes to clients, so that each client gets its packets in one write:
// a system call for each packet and client takes most of the time of a large fan-out. The writes are
// done in turns of bounded time, like the slices.

const { streamOf } = require("./coalesce");
const { nextTick, now } = require("./timers");

/** The transport of a connection whose writes are held. */
const HELD = Symbol("held transport");
/** How many connections are written to between two looks at the clock. */
const UNWATCHED = 16;

/** @param {any} conn of engine.io @returns {boolean} whether its writes were held. They are now */
function hold(conn) {
  const transport = conn?.transport;
  // If the transport is busy, it keeps the packets anyway. Bun's engine is another one.
  if (transport?.writable !== true || typeof conn.flush !== "function") {
    return false;
  }
  // As during a write. What is volatile is discarded, as it is behind a packet that was just sent.
  transport.writable = false;
  conn[HELD] = transport;
  return true;
}

/** @param {any} conn */
function release(conn) {
  const transport = conn[HELD];
  conn[HELD] = undefined;
  transport.writable = true;
  if (transport.readyState === "open") {
    conn.flush();
  } else if (transport.res) {
    transport.send([{ type: "noop" }]); // as engine.io ends the request of a connection that it closes
  }
}

/** @param {any} conn */
function isHeld(conn) {
  return conn[HELD] !== undefined;
}

/**
 * Keeps what is written to a connection until the tick ends, and then hands it to the transport at once.
 * Otherwise the first packet would go alone: it would end a long-polling request that waits, and the
 * client would have the rest one request later.
 *
 * @param {any} conn
 */
function writeTogether(conn) {
  if (hold(conn)) {
    nextTick(release, conn);
  }
}

class HeldWrites {
  /** @type {any[]} */
  #conns = [];
  /** The first that is still held. */
  #next = 0;
  /** How long the writes have taken since the last ones were complete, ms. */
  #taken = 0;
  #took = 0;
  /** True while a slice is handled. Nothing is held outside of it, since nothing would release it. */
  isOpen = false;

  /** How long it took to do all writes when that was last done, ms. */
  get took() {
    return this.#took;
  }

  /** True after {@link flush} had not enough time. */
  get isBehind() {
    return this.#next > 0;
  }

  /**
   * Called before a packet of a slice is written that is not volatile: for a volatile one, the connection
   * would be busy. HTTP long-polling is left as it is, since packets that share a response share its
   * compression too.
   *
   * @param {any} conn of engine.io
   */
  hold(conn) {
    if (this.isOpen && conn?.transport?.name !== "polling" && hold(conn)) {
      this.#conns.push(conn);
    }
  }

  /**
   * Does the writes.
   *
   * @param {number} time after which it stops, ms
   * @param {(error: unknown) => void} thrown called if a listener of the user's throws
   */
  flush(time, thrown) {
    const conns = this.#conns;
    const start = now();
    let took = 0;
    while (this.#next < conns.length && took < time) {
      const end = Math.min(this.#next + UNWATCHED, conns.length);
      while (this.#next < end) {
        this.#write(conns[this.#next++], thrown);
      }
      took = now() - start;
    }
    this.#taken += took;
    if (this.#next === conns.length) {
      this.#conns = [];
      this.#next = 0;
      this.#took = this.#taken;
      this.#taken = 0;
    }
  }

  /** @param {any} conn @param {(error: unknown) => void} thrown */
  #write(conn, thrown) {
    try {
      release(conn);
      // Several packets were corked until the tick ends. Then the system calls would come all at once.
      streamOf(conn)?.uncork();
    } catch (error) {
      thrown(error);
    }
  }
}

module.exports = { HeldWrites, isHeld, writeTogether };
