// Clients that come back in a chaos run, and the judgement on those that had to start fresh: whether
// Redis could not be asked for their session, or it was refused without need.

"use strict";

/** @typedef {import("./client").LedgerClient} LedgerClient */

/**
 * The session could not be found, or not in time; or the client left while its node could not write
 * to Redis again yet, after it had been refused.
 */
const MISSING =
  /no such session|no session|not handed over|does not hand it over|too far behind|Redis|timed out|connection|ahead of the stream/i;
/** Nobody knows which packets the client holds. */
const UNSURE = /may hold packets of its last recovery|did not finish the last restore|it is in use/;
/** The node was killed before it had noted that the session was restored. */
const UNFINISHED = /did not finish the last restore/;

/**
 * ms after a client has connected until its session is in Redis, with the time that a busy machine
 * takes.
 */
const SAVING = 500;

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
    /** The node that it was connected to last, as a sender, and since when. */
    this.home = -1;
    this.connectedAt = 0;
    /** That of the time before it dropped, and with what it comes back. */
    this.before = {
      ...{ home: -1, connectedAt: 0, droppedAt: 0 },
      ...{ pid: /** @type {string | undefined} */ (undefined) },
      ...{ offset: /** @type {string | undefined} */ (undefined) },
    };
    /** To which nodes it tried to come back since it dropped, and when. */
    this.attempts = /** @type {{ sender: number, at: number }[]} */ ([]);
    /** It saw its session in Redis before the first attempt. */
    this.sawSession = false;
  }

  /** It has connected. @param {number} sender */
  arrive(sender) {
    this.home = sender;
    this.connectedAt = Date.now();
  }

  /** It has dropped, and comes back. */
  begin() {
    this.before = {
      home: this.home,
      connectedAt: this.connectedAt,
      droppedAt: Date.now(),
      pid: this.client.pid,
      offset: this.client.offset,
    };
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
 * @property {number} tries how often it tried to come back
 * @property {number} connectedFor ms, to its node before
 * @property {number} killedAfter ms from its drop until its node was killed, negative if that was before
 * @property {boolean} wasInTrouble Redis, or the way of one of its nodes to Redis, since it connected
 * @property {boolean} wasRefused Redis has refused packets since it connected, or since the last
 *   packet that it has received
 */

class Returns {
  /** How often clients started fresh, by cause. @type {Record<string, number>} */
  fresh = {};
  /** Those that had no cause. @type {string[]} */
  unjustified = [];

  /** @param {FreshStart} start */
  add(start) {
    const { who, sawSession, connectedFor, killedAfter } = start;
    const reason = (start.reason ?? "no reason").replace(/:\d+/, "");
    const cause = causeOf({ ...start, reason });
    if (cause === undefined) {
      const saved = sawSession ? "saved" : "not seen";
      const course = `connected for ${connectedFor} ms, its node was killed after ${killedAfter} ms`;
      this.unjustified.push(`${who}, session ${saved}, ${course}: ${reason}`);
    }
    const what = cause ?? reason;
    this.fresh[what] = (this.fresh[what] ?? 0) + 1;
  }
}

/**
 * Why a client could not be recovered; nothing when it should have been.
 *
 * @param {FreshStart & { reason: string }} start
 * @returns {string | undefined}
 */
function causeOf({ pid, reason, sawSession, tries, connectedFor, ...start }) {
  if (pid === undefined) {
    return "it had no session";
  }
  if (
    start.wasRefused &&
    /may hold packets|ahead of the stream|were lost|not in the stream|Redis refused/.test(reason)
  ) {
    return "Redis had refused packets or sessions";
  }
  if (UNSURE.test(reason) && tries > 1) {
    return "it was cut off while it was recovered";
  }
  const isMissing = MISSING.test(reason);
  if (isMissing && start.wasInTrouble) {
    return "Redis could not be asked";
  }
  const wasSaved = (sawSession && isMissing) || connectedFor > SAVING;
  return (isMissing || UNFINISHED.test(reason)) && start.killedAfter < SAVING && !wasSaved
    ? "its node was killed right after it had connected"
    : undefined;
}

module.exports = { Returns, Traveller, Trouble };
