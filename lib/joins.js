"use strict";
// Since when the sockets of a namespace have been in their rooms: a client that comes back gets no broadcast
// to a room from before it joined the room. A room that a socket leaves, and joins again while its connection
// may be broken, counts as never left: what was sent to the room before may not have arrived.

const { now } = require("./timers");

/** The most rooms of a socket that are remembered when it has left them. */
const MOST = 1_000;

/**
 * @typedef {object} Left
 * @property {string} since the last entry before the socket joined the room
 * @property {number} at when the socket left it, ms
 */

class Joins {
  #unnoticed;
  /** By socket and room, the last entry before the join. @type {Map<string, Map<any, string>>} */
  #joined = new Map();
  /** The rooms that each socket has left: first the one that it left longest ago.
   * @type {Map<string, Map<any, Left>>} */
  #left = new Map();

  /** @param {() => number} unnoticed for how long a broken connection may go unnoticed, ms */
  constructor(unnoticed) {
    this.#unnoticed = unnoticed;
  }

  /** @param {string} sid @returns {Map<any, string> | undefined} */
  of(sid) {
    return this.#joined.get(sid);
  }

  /**
   * @param {string} sid
   * @param {any} room
   * @param {string} since the last entry before
   * @returns {boolean} false if the socket was in the room already
   */
  join(sid, room, since) {
    const joined = this.#joined.get(sid) ?? new Map();
    if (joined.has(room)) {
      return false;
    }
    this.#joined.set(sid, joined.set(room, this.#takeLeft(sid, room) ?? since));
    return true;
  }

  /**
   * @param {string} sid
   * @param {any} room
   */
  leave(sid, room) {
    const joined = this.#joined.get(sid);
    const since = joined?.get(room);
    if (since === undefined) {
      return;
    }
    joined?.delete(room);
    const left = this.#left.get(sid) ?? new Map();
    this.#left.set(sid, left.set(room, { since, at: now() }));
    const before = now() - this.#unnoticed();
    for (const [oldest, { at }] of left) {
      if (at > before && left.size <= MOST) {
        break;
      }
      left.delete(oldest);
    }
  }

  /** The socket is gone. @param {string} sid */
  remove(sid) {
    this.#joined.delete(sid);
    this.#left.delete(sid);
  }

  /**
   * @param {string} sid
   * @param {any} room
   * @returns {string | undefined} since when the socket was in a room that it left a moment ago
   */
  #takeLeft(sid, room) {
    const left = this.#left.get(sid);
    const { since, at } = left?.get(room) ?? {};
    left?.delete(room);
    return at !== undefined && at > now() - this.#unnoticed() ? since : undefined;
  }
}

/** Engine.IO's defaults, ms. */
const PING_INTERVAL = 25_000;
const PING_TIMEOUT = 20_000;

/**
 * For how long a broken connection may go unnoticed, ms: a ping may be under way when it breaks, and its
 * answer may arrive.
 *
 * @param {any} server
 */
function unnoticedFor({ engine }) {
  const { pingInterval = PING_INTERVAL, pingTimeout = PING_TIMEOUT } = engine?.opts ?? {};
  return pingInterval + 2 * pingTimeout;
}

module.exports = { Joins, unnoticedFor };
