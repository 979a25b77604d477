"use strict";
// The positions in the stream that a session notes beside upstream's fields. They are read once for
// sessions that are written together.

const { END, START, later } = require("./entry-ids");
const { lastSentTo } = require("./last-sent");

class Positions {
  #sessions;
  #nsp;
  #begin;
  #deliveredAhead;
  #localMark;
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
    this.#localMark = sessions.localMark(nsp);
  }

  /** Whether packets have no entries in the stream. Nobody can tell which of them a client has got that
   * leaves meanwhile. */
  get areLocalOnly() {
    return this.#deliveredAhead === END;
  }

  /**
   * Of a session: its namespace, since another one has middlewares of its own; for each room the last entry before the socket joined it, since earlier broadcasts to
   * the room were not for this client; what the client was sent; the last offset that was sent before
   * the CONNECT, and the last own entry that was delivered while the stream could not be read (see
   * `doubtAbout` in lib/doubt.js); and which packets without an entry it has got.
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
    const localMark = this.#localMark;
    return {
      nsp: this.#nsp,
      since,
      ...sent,
      ...(ahead !== undefined && { ahead }),
      ...(deliveredAhead !== START && { deliveredAhead }),
      ...(localMark !== undefined && { localMark }),
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
