// Clients that come back in a chaos run, and the judgement on those that had to start fresh: whether
// their session could not be there, or was refused without need.

"use strict";

/** @typedef {import("./client").LedgerClient} LedgerClient */

/** What the client brought was not enough for a restore: it had not received anything yet. */
const NOTHING = "nothing to restore";
/** These say that a session or its offset is wrong, which it never is here. */
const NEVER = /damaged|trimmed|not in the stream|no entry ID|recovery is off|were lost/;
/** There was no session. */
const MISSING = /no such session|session or offset not found|no session/;

/** ms that a node may take to save a session, when Redis is in trouble meanwhile. */
const SAVING = 5_000;

/** When something was in trouble. */
class Trouble {
  constructor() {
    this.open = 0;
    this.lastEnd = 0;
  }

  /** @param {() => unknown} work */
  async during(work) {
    this.open++;
    try {
      await work();
    } finally {
      this.open--;
      this.lastEnd = Date.now();
    }
  }

  /** Whether it was at any moment after this one. @param {number} time */
  wasSince(time) {
    return this.open > 0 || this.lastEnd >= time;
  }
}

/** A client with its own choices. */
class Traveller {
  /**
   * @param {LedgerClient} client
   * @param {() => number} chance
   */
  constructor(client, chance) {
    this.client = client;
    this.chance = chance;
    /** Waits for its session to be saved before it comes back. */
    this.isPatient = chance() < 0.5;
    this.isComingBack = false;
    /** The node that it was connected to last, as a sender. */
    this.home = -1;
    this.droppedAt = 0;
    /** The session that it comes back with. @type {string | undefined} */
    this.pid = undefined;
    /** To which nodes it tried to come back since it dropped, and when. */
    this.attempts = /** @type {{ sender: number, at: number }[]} */ ([]);
    /** It saw its session in Redis before the first attempt. */
    this.sawSession = false;
  }

  /** It has dropped, and comes back. */
  begin() {
    this.droppedAt = Date.now();
    this.pid = this.client.pid;
    this.attempts = [];
    this.sawSession = false;
  }
}

/**
 * @typedef {object} FreshStart a client that was not recovered
 * @property {string} who
 * @property {string} [pid] of the session that it came with
 * @property {string} [reason] what its node says
 * @property {boolean} sawSession it had been in Redis before the client came back
 * @property {number} home the node that it was connected to before, as a sender
 * @property {number} droppedAt
 * @property {boolean} wasInTrouble one of the nodes that it tried, since it did
 */

class Returns {
  constructor() {
    /** @type {FreshStart[]} */
    this.freshStarts = [];
  }

  /** @param {FreshStart} start */
  add(start) {
    this.freshStarts.push(start);
  }

  /**
   * @param {(pid: string) => Promise<boolean>} exists whether a session is in Redis now, at the end
   * @param {Map<number, number>} killed when which sender was killed
   */
  async judge(exists, killed) {
    /** How often clients started fresh, by cause. @type {Record<string, number>} */
    const fresh = {};
    /** Those that had no cause. @type {string[]} */
    const unjustified = [];
    for (const start of this.freshStarts) {
      const { who, reason = NOTHING, sawSession, home, droppedAt } = start;
      // It may live on for a while, and be killed before it could save the session.
      const killedAfter = (killed.get(home) ?? Infinity) - droppedAt;
      const wasKilled = killedAfter < SAVING;
      const cause = await causeOf(start, wasKilled, exists);
      if (cause === undefined) {
        const saved = sawSession ? "saved" : "not seen";
        const end = `its node was killed after ${killedAfter} ms`;
        unjustified.push(`${who}, session ${saved}, ${end}: ${reason}`);
      }
      const what = cause ?? reason;
      fresh[what] = (fresh[what] ?? 0) + 1;
    }
    return { fresh, unjustified };
  }
}

/**
 * Why a client could not be recovered; nothing when it should have been.
 *
 * @param {FreshStart} start
 * @param {boolean} wasKilled its node, before or soon after it dropped
 * @param {(pid: string) => Promise<boolean>} exists
 * @returns {Promise<string | undefined>}
 */
async function causeOf({ pid, reason = NOTHING, sawSession, wasInTrouble }, wasKilled, exists) {
  if (reason === NOTHING) {
    return "it had received nothing";
  }
  if (NEVER.test(reason)) {
    return undefined;
  }
  if (!MISSING.test(reason)) {
    return wasInTrouble ? `in vain until the end: ${reason.replace(/:\d+/, "")}` : undefined;
  }
  // What is saved, or put back, after the client has asked for it stays: it has another one now.
  if (pid !== undefined && (await exists(pid))) {
    return "it was back before its session was saved";
  }
  if (wasKilled && !sawSession) {
    return "its node was killed before it saved the session";
  }
  // It was taken out, and the answer was lost or the node that had asked for it was killed.
  return wasInTrouble ? "the session was taken by an attempt that was cut off" : undefined;
}

module.exports = { Returns, Traveller, Trouble };
