"use strict";
// Collects the rooms, the excluded rooms and the flags for what an emitter sends next. As in
// Socket.IO, an operator never changes: each method returns a new one.

const { MessageType } = require("socket.io-adapter");

/** The type of a Socket.IO packet that carries an event. */
const EVENT = 2;

/** The names of Socket.IO's own events on sockets; below, those on servers. */
const RESERVED_BY_SOCKETS = new Set([
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
]);
const RESERVED_BY_SERVERS = new Set(["connect", "connection", "new_namespace"]);

/**
 * Takes the messages of one namespace.
 *
 * @typedef {object} Channel
 * @property {string} nsp
 * @property {(type: number, data: any) => void} publish
 */
/**
 * @typedef {object} Chosen
 * @property {any[]} rooms empty: all sockets of the namespace
 * @property {any[]} except
 * @property {{ volatile?: boolean, compress?: boolean }} flags
 */

class BroadcastOperator {
  #channel;
  #chosen;

  /**
   * @param {Channel} channel
   * @param {Chosen} [chosen]
   */
  constructor(channel, chosen = { rooms: [], except: [], flags: {} }) {
    this.#channel = channel;
    this.#chosen = chosen;
  }

  /** @param {Partial<Chosen>} change */
  #with(change) {
    return new BroadcastOperator(this.#channel, { ...this.#chosen, ...change });
  }

  /** @param {any} room or several */
  to(room) {
    return this.#with({ rooms: union(this.#chosen.rooms, room) });
  }

  /** @param {any} room or several */
  in(room) {
    return this.to(room);
  }

  /** @param {any} room or several */
  except(room) {
    return this.#with({ except: union(this.#chosen.except, room) });
  }

  /** @param {boolean} compress */
  compress(compress) {
    return this.#with({ flags: { ...this.#chosen.flags, compress } });
  }

  get volatile() {
    return this.#with({ flags: { ...this.#chosen.flags, volatile: true } });
  }

  /**
   * @param {any} event
   * @param {...any} args
   * @returns {true}
   */
  emit(event, ...args) {
    refuse(RESERVED_BY_SOCKETS, event, args);
    const packet = { type: EVENT, data: [event, ...args], nsp: this.#channel.nsp };
    this.#channel.publish(MessageType.BROADCAST, { packet, opts: this.#chosen });
    return true;
  }

  /** @param {any} rooms one or several */
  socketsJoin(rooms) {
    this.#channel.publish(MessageType.SOCKETS_JOIN, { rooms: [rooms].flat(), opts: this.#chosen });
  }

  /** @param {any} rooms one or several */
  socketsLeave(rooms) {
    this.#channel.publish(MessageType.SOCKETS_LEAVE, { rooms: [rooms].flat(), opts: this.#chosen });
  }

  /** @param {boolean} [close] whether to close the connections as well */
  disconnectSockets(close = false) {
    this.#channel.publish(MessageType.DISCONNECT_SOCKETS, { close, opts: this.#chosen });
  }

  /**
   * @param {any} event
   * @param {...any} args
   * @returns {true}
   */
  serverSideEmit(event, ...args) {
    refuse(RESERVED_BY_SERVERS, event, args);
    this.#channel.publish(MessageType.SERVER_SIDE_EMIT, { packet: [event, ...args] });
    return true;
  }
}

/**
 * @param {any[]} rooms
 * @param {any} more one or several
 */
function union(rooms, more) {
  return [...new Set([...rooms, ...[more].flat()])];
}

/**
 * Throws if the event's name is reserved, or if the last argument is a callback.
 *
 * @param {Set<string>} reserved
 * @param {any} event
 * @param {any[]} args
 */
function refuse(reserved, event, args) {
  if (reserved.has(event)) {
    throw new Error(`"${event}" is a reserved event name`);
  }
  if (typeof args.at(-1) === "function") {
    throw new TypeError(
      "an emitter gets no acknowledgements, since it is no server: leave out the callback of " +
        `"${String(event)}", or emit from a server`,
    );
  }
}

module.exports = { BroadcastOperator };
