"use strict";
// Asks the node to which a client was connected to hand its session over. The client may be back
// before that node has noticed that the connection is dead.

const { DeadNodes } = require("./dead-nodes");
const { clearInterval, clearTimeout, now, setInterval, setTimeout } = require("./timers");

/**
 * Types of messages, beside those of socket.io-adapter, which end at 13, and those in overview.js. Each
 * is for one node, whose uid is the `requestId`, so that no other node has to decode it.
 */
const HAND_OVER = 66;
const HANDED_OVER = 67;

/** How often to look whether a node that has not answered is still there, ms. */
const CHECK = 1_000;
/** How long to wait for a node that is there, ms: its event loop may be blocked. */
const PATIENCE = 10_000;
/** When all nodes lose Redis together, they are back within this time of each other, ms. */
const GRACE = 3_000;

/** @param {string} owner @returns {SubscriberCount} */
const presumed = (owner) => ({ known: [owner], others: 0, present: [true] });

/** @typedef {import("./native-binding").NativeSubscriberCount} SubscriberCount */
/** @typedef {"released" | "dead" | "busy"} Verdict */

class HandOver {
  #adapter;
  #count;
  #patience;
  /** When this node could reach Redis again, ms; at first long ago. */
  #connectedAt = -Infinity;
  /** @type {Map<string, (verdict: Verdict) => void>} by node and session */
  #waiting = new Map();
  /** The nodes that were not there of late. */
  #dead = new DeadNodes();

  /**
   * @param {any} adapter
   * @param {number} heartbeatTimeout ms
   * @param {(asked: string[]) => Promise<SubscriberCount>} count of the nodes in the namespace
   */
  constructor(adapter, heartbeatTimeout, count) {
    this.#adapter = adapter;
    this.#count = count;
    // A machine that lost its power is known to be dead after the timeout.
    this.#patience = Math.max(PATIENCE, heartbeatTimeout + 2 * CHECK);
  }

  /**
   * @param {string} owner the uid of a node
   * @param {string} pid
   * @param {string} [offset]
   * @returns {Promise<Verdict | "late">} `released`: the node does not have the client any more, and has
   * saved the session; `busy`: the client cannot have it
   */
  ask(owner, pid, offset) {
    if (this.#dead.has(owner)) {
      return Promise.resolve("dead");
    }
    return new Promise((resolve) => {
      const key = `${owner} ${pid}`;
      /** @param {Verdict | "late"} verdict */
      const end = (verdict) => {
        clearInterval(check);
        clearTimeout(timer);
        this.#waiting.delete(key);
        resolve(verdict);
      };
      let looks = 0;
      const look = async () => {
        // While Redis cannot tell, the node counts as alive.
        const { present, known } = await this.#count([owner]).catch(() => presumed(owner));
        // A stopped process still listens, as far as Redis knows. The first look may come before the
        // heartbeats of the nodes that this one has just met.
        const isThere = present[0] && (looks++ === 0 || known.includes(owner));
        if (this.#waiting.get(key) !== end) {
          return;
        }
        if (isThere) {
          // Again each time: the node may only just have begun to listen.
          const data = { requestId: owner, pid, ...(offset !== undefined && { offset }) };
          this.#adapter.publishResponse(owner, { type: HAND_OVER, data });
        } else if (now() - this.#connectedAt > GRACE) {
          this.#dead.add(owner);
          end("dead");
        }
      };
      const check = setInterval(look, CHECK);
      const timer = setTimeout(end, this.#patience, "late");
      // A client that tries twice at one node: its first attempt is over.
      this.#waiting.get(key)?.("busy");
      this.#waiting.set(key, end);
      look();
    });
  }

  /**
   * Another node has the client of a session now.
   *
   * @param {any} message a HAND_OVER
   * @param {(pid: string, offset?: string) => Promise<boolean>} release resolves when the session is saved;
   * with false if the client cannot have it
   */
  async onRequest({ uid, data: { pid, offset, requestId } }, release) {
    if (requestId === this.#adapter.uid) {
      const isBusy = !(await release(pid, offset));
      this.#adapter.publishResponse(uid, {
        type: HANDED_OVER,
        data: { requestId: uid, pid, isBusy },
      });
    }
  }

  /** @param {any} message a HANDED_OVER */
  onAnswer({ uid, data: { pid, requestId, isBusy } }) {
    if (requestId === this.#adapter.uid) {
      this.#waiting.get(`${uid} ${pid}`)?.(isBusy ? "busy" : "released");
    }
  }

  /** The connection to Redis was away: perhaps that of others is still. */
  reconnected() {
    this.#connectedAt = now();
  }

  close() {
    this.#waiting.forEach((end) => end("busy"));
  }
}

module.exports = { HAND_OVER, HANDED_OVER, HandOver };
