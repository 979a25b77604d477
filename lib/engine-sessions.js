"use strict";
// What the engine does with sessions of connection state recovery: it saves and restores them, and knows
// the positions in the stream that a session notes.

const debug = require("./debug");
const { END } = require("./entry-ids");
const { SharedPackets } = require("./shared-packets");

/**
 * @typedef {import("./native-binding").NativeEvent} NativeEvent
 * @typedef {Extract<NativeEvent, { kind: "restored" }>} RestoredEvent
 * @typedef {Extract<NativeEvent, { kind: "owned" }>} Owned
 * @typedef {Omit<RestoredEvent, "missed"> & { missed: import("./shared-packets").Missed[] }} Restored
 */

class EngineSessions {
  #native;
  #call;
  #packets = new SharedPackets();
  /** How many sessions were refused without asking the engine. */
  refused = 0;

  /**
   * @param {import("./native-binding").NativeEngine} native
   * @param {import("./engine").Call} call
   */
  constructor(native, call) {
    this.#native = native;
    this.#call = call;
  }

  /**
   * @param {string} nsp
   * @returns {string} the ID of the last own entry that was delivered here while the stream could not
   * be read; the highest ID while packets have no entry in the stream
   */
  deliveredAhead(nsp) {
    return this.#native.deliveredAhead(nsp);
  }

  /**
   * @param {string} nsp
   * @returns {boolean} whether packets are delivered here that have no entry in the stream
   */
  isLocalOnly(nsp) {
    return this.deliveredAhead(nsp) === END;
  }

  /**
   * @param {string} nsp
   * @returns {string | undefined} stands for all packets without an entry that clients of this node have
   * got; undefined if there were none
   */
  localMark(nsp) {
    return this.#native.localMark(nsp) ?? undefined;
  }

  /**
   * @param {string} nsp
   * @returns {string} the ID of the entry after which this node began to read
   */
  readSince(nsp) {
    return this.#native.readSince(nsp);
  }

  /**
   * @param {string} nsp
   * @param {string} after the ID of an entry
   * @returns {string | undefined} the ID of the entry up to which the clients of this node were sent
   * everything that was for them; undefined if that is not certain for what came behind `after`
   */
  sentUpTo(nsp, after) {
    return this.#native.sentUpTo(nsp, after) ?? undefined;
  }

  /**
   * Saves the session of a client that has gone.
   *
   * @param {string} nsp
   * @param {string} pid
   * @param {number} generation
   * @param {Uint8Array} session
   * @param {number} keep ms
   */
  end(nsp, pid, generation, session, keep) {
    this.#native.endSession(nsp, pid, generation, session, keep);
  }

  /**
   * Writes the sessions of connected clients, in one call: each call wakes the engine.
   *
   * @param {string} nsp
   * @param {import("./native-binding").NativeSession[]} sessions
   * @param {Uint8Array} encoded the sessions one after the other; each ends at its `end`
   * @param {number} keep for how long they are honoured if this node dies, ms
   */
  keep(nsp, sessions, encoded, keep) {
    this.#native.keepSessions(nsp, sessions, encoded, keep);
  }

  /**
   * The client of a session has left for good.
   *
   * @param {string} nsp
   * @param {string} pid
   * @param {number} generation
   * @param {number} keep for how long the session could be restored, ms
   */
  drop(nsp, pid, generation, keep) {
    this.#native.dropSession(nsp, pid, generation, keep);
  }

  /**
   * Resolves when what was saved of a session is in Redis.
   *
   * @param {string} nsp
   * @param {string} pid
   */
  async waitFor(nsp, pid) {
    await this.#call("done", (call) => this.#native.waitForSession(call, nsp, pid));
  }

  /**
   * @param {string} nsp
   * @param {string} pid
   * @param {string} [offset] absent if the client has received nothing yet
   * @param {{ owner: string, isDead: boolean }} [gone] the node that does not have the client any more
   * @returns {Promise<Restored | Owned>}
   */
  async restore(nsp, pid, offset, gone) {
    const kind = /** @type {"restored" | "owned"} */ ("restored");
    const answer = await this.#call(kind, (call) => {
      try {
        this.#native.restoreSession(call, nsp, pid, offset, gone?.owner, gone?.isDead ?? false);
      } catch (error) {
        // The engine found this on the JS thread, where it cannot write debug lines.
        debug("%s", /** @type {Error} */ (error).message);
        throw error;
      }
    });
    if (answer.kind !== "restored") {
      return answer;
    }
    // This continues before the next slice is drained.
    const take = (/** @type {number[]} */ places) => this.#native.missedOf(answer.call, places);
    return { ...answer, missed: this.#packets.share(nsp, answer.missed, take) };
  }

  /** Counts and reports a session that was refused without asking the engine. @param {string} why */
  refuse(why) {
    this.refused++;
    debug("session not restored: %s", why);
  }

  /** Entries were lost, and their IDs may come again. */
  forgetPackets() {
    this.#packets.clear();
  }
}

module.exports = { EngineSessions };
