"use strict";
// The positions in the stream that a session notes beside upstream's fields. They are read once for
// sessions that are written together.

const { START, later } = require("./entry-ids");
const { lastSentTo } = require("./last-sent");

class Positions {
  #sessions;
  #nsp;
  #begin;
  #deliveredAhead;
  /** @type {Map<string, string | undefined>} */
  #sentUpTo = new Map();

  /**
   * @param {import("./engine-sessions").EngineSessions} sessions
   * @param {string} nsp
   */
  constructor(sessions, nsp) {
    this.#sessions = sessions;
    this.#nsp = nsp;
    // The client may have connected before this node knew where its reading begins.
    this.#begin = sessions.readSince(nsp);
    this.#deliveredAhead = sessions.deliveredAhead(nsp);
  }

  /**
   * Of a session: for each room the last entry before the socket joined it, since earlier broadcasts to
   * the room were not for this client; what the client was sent; the last offset that was sent before
   * the CONNECT, and the last own entry that was delivered while the stream could not be read (see
   * `doubtAbout` in lib/recovery.js).
   *
   * @param {object} session
   * @param {string} session.sid
   * @param {Iterable<any>} session.rooms
   * @param {any} socket undefined if it is gone
   * @param {Map<any, string>} [joined] by room, the last entry before the join
   * @param {string} [ahead]
   */
  of({ sid, rooms }, socket, joined, ahead) {
    const began = (/** @type {any} */ room) => later(joined?.get(room) ?? START, this.#begin);
    const since = Array.from(rooms, began);
    const sent = socket && this.#sent(socket, began(sid));
    const deliveredAhead = this.#deliveredAhead;
    return {
      since,
      ...sent,
      ...(ahead !== undefined && { ahead }),
      ...(deliveredAhead !== START && { deliveredAhead }),
    };
  }

  /**
   * What a client has been sent: the offset of the last packet, and how far the stream held nothing
   * more for it. A client that comes back with this offset has missed nothing up to there, also if it
   * was idle for so long that the entry is not in the stream any more.
   *
   * @param {any} socket
   * @param {string} began the last entry before its session
   * @returns {{ lastSent: string, sentUpTo: string } | undefined} undefined if it is not certain
   */
  #sent(socket, began) {
    const last = lastSentTo(socket);
    const lastSent = last && later(last, began);
    const sentUpTo = lastSent && this.#upTo(lastSent);
    return lastSent && sentUpTo ? { lastSent, sentUpTo } : undefined;
  }

  /** @param {string} lastSent */
  #upTo(lastSent) {
    if (!this.#sentUpTo.has(lastSent)) {
      this.#sentUpTo.set(lastSent, this.#sessions.sentUpTo(this.#nsp, lastSent));
    }
    return this.#sentUpTo.get(lastSent);
  }
}

module.exports = { Positions };
