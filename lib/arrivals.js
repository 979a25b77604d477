"use strict";
// Recovered sockets that are on their way through the middlewares. What they missed, and what comes
// for them meanwhile, is kept until socket.io connects them.

const { endConnection } = require("./end-socket");
const { sendDecodedTo, sendTo } = require("./fan-out");
const { writeTogether } = require("./held-writes");
const { noteSent } = require("./last-sent");
const { offsetOf } = require("./missed");
const { clearTimeout, setTimeout } = require("./timers");
const { warnOfHandler } = require("./warnings");

/** How long the middlewares may take with a recovered socket before its packets are dropped, ms. */
const ARRIVAL_TIMEOUT = 45_000;

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./missed").Outgoing} Outgoing
 *
 * @typedef {object} Arriving a recovered socket on its way through the middlewares
 * @property {any} session as it was in Redis, with its new generation
 * @property {string} [offset] the last one that the client has received
 * @property {Map<any, string>} since for each room of the session, the last entry before the socket
 * joined it
 * @property {Set<any>} rooms those that the socket is in by now
 * @property {Outgoing[]} packets what the socket missed, and what arrived for it meanwhile
 * @property {boolean} isTaken true once the socket exists; a wrapper of `restoreSession` may have
 * refused it
 * @property {NodeJS.Timeout} timer
 */

class Arrivals {
  #nsp;
  #drop;
  #keep;
  /** By private session ID. @type {Map<string, Arriving>} */
  #ofSession = new Map();
  /** By socket ID. @type {Map<string, Arriving>} */
  #arriving = new Map();
  /** The arriving sockets in each room, so that {@link keep} finds those that a packet is for.
   * @type {Map<any, Set<string>>} */
  #inRoom = new Map();
  /** The last offset that was sent to a recovered socket before its CONNECT.
   * @type {WeakMap<object, string>} */
  #sentAhead = new WeakMap();

  /**
   * @param {any} nsp
   * @param {(session: any) => void} drop called with the session of a socket that never came
   * @param {(session: any) => void} keep called with the session of a socket that has moved to another
   * adapter, and ended
   */
  constructor(nsp, drop, keep) {
    this.#nsp = nsp;
    this.#drop = drop;
    this.#keep = keep;
  }

  get size() {
    return this.#arriving.size;
  }

  /** @param {string} sid */
  get(sid) {
    return this.#arriving.get(sid);
  }

  /** @param {string} pid @returns {Arriving | undefined} */
  ofSession(pid) {
    return this.#ofSession.get(pid);
  }

  /**
   * Prepares for the socket of a restored session, which socket.io is about to create.
   *
   * @param {any} session
   * @param {string | undefined} offset
   * @param {Map<any, string>} since
   * @param {Outgoing[]} packets
   */
  expect(session, offset, since, packets) {
    /** @type {Arriving} */
    const arriving = {
      session,
      offset,
      since,
      rooms: new Set(),
      packets,
      isTaken: false,
      timer: setTimeout(() => this.#giveUp(arriving), ARRIVAL_TIMEOUT).unref(),
    };
    this.#arriving.set(session.sid, arriving);
    this.#ofSession.set(session.pid, arriving);
  }

  /**
   * The socket exists, and has joined a room.
   *
   * @param {Arriving} arriving
   * @param {any} room
   */
  join(arriving, room) {
    arriving.rooms.add(room);
    const { sid } = arriving.session;
    this.#inRoom.set(room, (this.#inRoom.get(room) ?? new Set()).add(sid));
  }

  /**
   * @param {string} sid
   * @param {any} room
   */
  leave(sid, room) {
    this.#arriving.get(sid)?.rooms.delete(room);
    const sids = this.#inRoom.get(room);
    if (sids?.delete(sid) && sids.size === 0) {
      this.#inRoom.delete(room);
    }
  }

  /** Forgets a socket that has come, or that never will. @param {Arriving} arriving */
  remove({ session: { sid, pid }, rooms, timer }) {
    clearTimeout(timer);
    for (const room of rooms) {
      this.leave(sid, room);
    }
    this.#arriving.delete(sid);
    this.#ofSession.delete(pid);
  }

  /**
   * Sends a recovered socket the packets that it missed. Like every other adapter, it does so before the
   * CONNECT, so that the client's state is complete when its `connect` handler runs.
   *
   * @param {any} socket
   * @param {Arriving} arriving
   */
  sendAhead(socket, { packets, session, offset: received }) {
    this.#noteAhead(socket, packets, session);
    const last = packets.at(-1);
    if (last || received !== undefined) {
      noteSent(socket, last ? offsetOf(last) : received);
    }
    if (last) {
      writeTogether(socket.conn);
    }
    const sent = packets.filter((outgoing) => send(socket, outgoing));
    if (sent.length < packets.length) {
      this.#noteAhead(socket, sent, session);
    }
  }

  /**
   * @param {any} socket
   * @param {Outgoing[]} packets what it is sent before its CONNECT
   * @param {any} session
   */
  #noteAhead(socket, packets, { ahead }) {
    let offset;
    for (let i = packets.length - 1; i >= 0 && offset === undefined; i--) {
      offset = offsetOf(packets[i]);
    }
    offset ??= ahead;
    if (offset === undefined) {
      this.#sentAhead.delete(socket);
    } else {
      this.#sentAhead.set(socket, offset);
    }
  }

  /**
   * @param {any} socket
   * @returns {string | undefined} the last offset that it was sent before its CONNECT
   */
  sentAhead(socket) {
    return this.#sentAhead.get(socket);
  }

  /**
   * Ends a recovered socket whose middlewares still run. Its session is saved then.
   *
   * @param {Arriving} arriving
   * @returns {boolean} false if there is no socket yet
   */
  end(arriving) {
    const { session } = arriving;
    const socket = this.#nsp._preConnectSockets.get(session.sid);
    if (socket === undefined) {
      return false;
    }
    socket._cleanup();
    if (this.#arriving.get(session.sid) === arriving) {
      // Its own adapter is another one by now (`take-over.js`), and knows nothing of the session.
      this.remove(arriving);
      this.#keep(session);
    }
    // socket.io calls it once more when the middlewares are done. The client may be back by then, and
    // its socket has the same ID.
    socket._cleanup = () => {};
    endConnection(socket.conn);
    return true;
  }

  /** Ends those whose middlewares still run. */
  endAll() {
    [...this.#arriving.values()].forEach((arriving) => this.end(arriving));
  }

  /** @param {Arriving} arriving a socket whose middlewares take too long */
  #giveUp(arriving) {
    if (!this.end(arriving) && !arriving.isTaken) {
      this.remove(arriving);
      this.#drop(arriving.session);
    }
  }

  /**
   * Keeps a packet for those that it is for.
   *
   * @param {Outgoing} packet
   * @param {Targets} opts
   */
  keep(packet, opts) {
    for (const sid of this.#in(opts.rooms)) {
      const arriving = this.#arriving.get(sid);
      let isExcepted = false;
      for (const room of opts.except ?? []) {
        isExcepted ||= arriving?.rooms.has(room) ?? false;
      }
      if (!isExcepted) {
        arriving?.packets.push(packet);
      }
    }
  }

  /**
   * @param {Set<any>} rooms
   * @returns {Iterable<string>} the arriving sockets in one of the rooms; all of them if there are none
   */
  #in(rooms) {
    if (rooms.size === 0) {
      return this.#arriving.keys();
    }
    /** @type {Set<string>} */
    const found = new Set();
    for (const room of rooms) {
      this.#inRoom.get(room)?.forEach((sid) => found.add(sid));
    }
    return found;
  }
}

/**
 * @param {any} socket
 * @param {Outgoing} outgoing
 * @returns {boolean} false if it cannot be sent, as if a parser of the user's refuses it
 */
function send(socket, outgoing) {
  try {
    if ("encoded" in outgoing) {
      sendTo(socket, outgoing.encoded);
    } else {
      sendDecodedTo(socket, outgoing.packet);
    }
    return true;
  } catch (error) {
    warnOfHandler("a packet could not be sent to a recovered client", error);
    return false;
  }
}

module.exports = { Arrivals };
