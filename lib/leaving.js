"use strict";
// A socket that the server disconnects gets what this node has emitted to it before, as with an adapter
// that delivers at once: `io.to(id).emit("bye"); socket.disconnect()`. What still waits for its turn in
// the stream is sent to this socket alone, in front of the end.

const { MessageType } = require("socket.io-adapter");

const { notify } = require("./fan-out");
const { warnOfHandler } = require("./warnings");

/** socket.io's own `disconnect()`, a property of the prototype whose method is replaced. */
const STOCK = Symbol("disconnect of socket.io");
/** What gives a socket of each adapter what waits for it. @type {WeakMap<object, (socket: any) => void>} */
const givers = new WeakMap();
/** The sockets that get nothing more before they end. @type {WeakSet<object>} */
const served = new WeakSet();

/** @typedef {import("./targets").Targets} Targets */

/** A socket about to end, and what the messages that wait mean for it. */
class Leaving {
  #socket;
  #isOver = false;
  /** Its rooms after the messages that were looked at. @type {Set<any>} */
  rooms;

  /** @param {any} socket */
  constructor(socket) {
    this.#socket = socket;
    this.rooms = new Set(socket.rooms);
  }

  /** True if it gets no further message. A listener for outgoing packets may have ended it. */
  get isOver() {
    return this.#isOver || !this.#socket.connected;
  }

  /** @param {Targets} targets */
  isMeant({ rooms, except }) {
    const isIn = (/** @type {Iterable<any>} */ some) =>
      [...some].some((room) => this.rooms.has(room));
    return (rooms.size === 0 || isIn(rooms)) && !isIn(except ?? []);
  }

  /**
   * @param {any} packet
   * @param {{ volatile?: boolean, compress?: boolean }} [flags]
   */
  send(packet, { volatile, compress } = {}) {
    if (this.#socket._anyOutgoingListeners?.length) {
      notify(this.#socket, packet);
    }
    this.#socket.packet(packet, { volatile, compress });
  }

  /**
   * What a message that changes rooms, or disconnects sockets, means for it.
   *
   * @param {number} type
   * @param {any} data
   */
  change(type, { rooms }) {
    if (type === MessageType.SOCKETS_JOIN) {
      rooms.forEach((/** @type {any} */ room) => this.rooms.add(room));
    } else if (type === MessageType.SOCKETS_LEAVE) {
      rooms.forEach((/** @type {any} */ room) => this.rooms.delete(room));
    } else {
      this.#isOver = true;
    }
  }
}

/**
 * @param {any} adapter
 * @param {(socket: any) => void} give called before a socket of the adapter is disconnected
 */
function giveBeforeEnd(adapter, give) {
  givers.set(adapter, give);
}

/**
 * Lets the `disconnect()` of a socket, and of all others of its class, ask the adapter first.
 *
 * @param {any} socket
 */
function watchDisconnect(socket) {
  const prototype = Object.getPrototypeOf(socket);
  const stock = prototype.disconnect;
  if (prototype[STOCK] !== undefined || typeof stock !== "function") {
    return;
  }
  prototype[STOCK] = stock;
  /** @this {any} @param {boolean} [close] */
  prototype.disconnect = function disconnect(close) {
    // To close a connection, socket.io calls this once more for each socket of the connection.
    if (!close) {
      serve(this);
    }
    return stock.call(this, close);
  };
}

/** @param {any} socket */
function serve(socket) {
  if (!socket.connected || served.has(socket)) {
    return;
  }
  served.add(socket);
  try {
    givers.get(socket.adapter)?.(socket);
  } catch (error) {
    warnOfHandler("a client was disconnected without packets that could not be sent", error);
  }
}

/**
 * Called before `disconnectSockets()` disconnects a socket at its place in the stream: the socket does not
 * get what stands behind it.
 *
 * @param {any} socket
 */
function endInOrder(socket) {
  served.add(socket);
}

module.exports = { Leaving, endInOrder, giveBeforeEnd, watchDisconnect };
