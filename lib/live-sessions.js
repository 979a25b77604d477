"use strict";
// Keeps the sessions of connected sockets in Redis, so that they survive their node. A session is
// written when its socket has connected, soon after its rooms have changed, and, since nobody tells
// when `socket.data` changes, looked at while its client sends something.

const { unwatch, watch } = require("./client-activity");
const { encodeMsgpack } = require("./codec");
const debug = require("./debug");
const { clearInterval, now, setImmediate, setInterval, setTimeout } = require("./timers");

/** The least time between two writes, ms: what changes meanwhile is written together. */
const PAUSE = 20;
/** The time between two looks for sessions that must be written again, ms. */
const INTERVAL = 5_000;
/** After this time, the session of an active client is written also if it has not changed, ms: it tells
 * how far the client has been sent everything. */
const UNCHANGED = 60_000;
/** Sessions that are not written for this long expire an hour later, ms. */
const RENEWAL = 30 * 60_000;
/** The most sessions that are written together, and about the longest time to encode sessions, ms: then
 * other callbacks of the event loop run. Data may be large, and user code runs in it (`toJSON`, getters). */
const SLICE = 200;
const SLICE_TIME = 10;

/** The generations of sessions, by socket: a socket may move to another adapter (`take-over.js`).
 * @type {WeakMap<object, number>} */
const generations = new WeakMap();

/**
 * @typedef {object} LiveSession
 * @property {any} socket
 * @property {number} generation numbers the restores of the session
 * @property {boolean} isNew whether it has no record in Redis yet
 * @property {number} writtenAt ms
 * @property {number} [written] a hash of the rooms and the data at that time
 * @property {() => void} onData its client has sent something
 *
 * @typedef {object} State a session that must be written
 * @property {LiveSession} live
 * @property {Buffer} encoded msgpack of its `{ sid, pid, rooms, data }`
 */

class LiveSessions {
  #write;
  #drop;
  #isLocalOnly;
  #isOn;
  /** The sockets that are connected, by ID: first the one whose session was written longest ago.
   * @type {Map<string, LiveSession>} */
  #sessions = new Map();
  /** The socket IDs, by private session ID. @type {Map<string, string>} */
  #sids = new Map();
  /** Sockets whose session must be written. @type {Set<string>} */
  #changed = new Set();
  /** Sockets whose client has sent something since their session was written. @type {Set<string>} */
  #active = new Set();
  /** Those at which the look that is under way has not looked yet. @type {Set<string>} */
  #unseen = new Set();
  /** Sockets whose session was written while packets had no entries in the stream: nobody would be
   * recovered by it. @type {Set<string>} */
  #unusable = new Set();
  #isWriting = false;
  #isLooking = false;
  /** When sessions were last written, ms. */
  #wroteAt = -PAUSE;
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /**
   * @param {boolean} isOn false: sessions are only numbered
   * @param {(states: State[]) => boolean} write returns whether a client can be recovered by them
   * @param {(live: LiveSession) => void} drop takes what was written of a session away
   * @param {() => boolean} isLocalOnly whether packets have no entries in the stream now
   */
  constructor(isOn, write, drop, isLocalOnly) {
    this.#isOn = isOn;
    this.#write = write;
    this.#drop = drop;
    this.#isLocalOnly = isLocalOnly;
  }

  /**
   * @param {any} socket
   * @param {number} [generation] if the session was restored
   */
  add(socket, generation) {
    const onData = () => this.#active.add(socket.id);
    const live = {
      socket,
      generation: generation ?? generations.get(socket) ?? 1,
      isNew: generation === undefined,
      writtenAt: 0,
      onData,
    };
    generations.set(socket, live.generation);
    this.#sessions.set(socket.id, live);
    this.#sids.set(socket.pid, socket.id);
    if (this.#isOn) {
      // The handlers of the connection may set `socket.data` after waiting for something.
      this.#active.add(socket.id);
      watch(socket.conn, onData);
      this.#timer ??= setInterval(() => this.#look(), INTERVAL).unref();
      this.change(socket.id);
    }
  }

  /** @param {string} sid */
  has(sid) {
    return this.#sessions.has(sid);
  }

  /**
   * @param {string} pid
   * @returns {any} its socket, if it is connected here
   */
  socketOf(pid) {
    return this.#sessions.get(this.#sids.get(pid) ?? "")?.socket;
  }

  /**
   * The rooms of a socket have changed.
   *
   * @param {string} sid
   */
  change(sid) {
    if (!this.#isOn || !this.#sessions.has(sid)) {
      return;
    }
    this.#changed.add(sid);
    if (!this.#isWriting) {
      this.#isWriting = true;
      const pause = this.#wroteAt + PAUSE - now();
      if (pause > 0) {
        setTimeout(() => this.#writeSome(), pause).unref();
      } else {
        // The handlers of the connection run first.
        setImmediate(() => this.#writeSome());
      }
    }
  }

  /** Redis may have lost the sessions, or another node may have taken some of them. */
  changeAll() {
    this.#sessions.forEach((_live, sid) => this.change(sid));
  }

  /**
   * The socket is not connected any more.
   *
   * @param {string} sid
   * @returns {LiveSession | undefined}
   */
  remove(sid) {
    const live = this.#sessions.get(sid);
    if (live !== undefined) {
      unwatch(live.socket.conn, live.onData);
      this.#sessions.delete(sid);
      this.#sids.delete(live.socket.pid);
      this.#changed.delete(sid);
      this.#active.delete(sid);
      this.#unseen.delete(sid);
      this.#unusable.delete(sid);
    }
    if (this.#sessions.size === 0) {
      this.close();
    }
    return live;
  }

  close() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#sessions.forEach(({ socket, onData }) => unwatch(socket.conn, onData));
  }

  #writeSome() {
    /** @type {State[]} */
    const states = [];
    this.#wroteAt = now();
    for (const sid of this.#changed) {
      if (states.length === SLICE || now() >= this.#wroteAt + SLICE_TIME) {
        break;
      }
      this.#changed.delete(sid);
      const live = /** @type {LiveSession} */ (this.#sessions.get(sid));
      // To the end: it was written last.
      this.#sessions.delete(sid);
      this.#sessions.set(sid, live);
      live.writtenAt = this.#wroteAt;
      this.#unusable.delete(sid);
      const encoded = encode(live.socket);
      live.written = hashOf(encoded);
      if (encoded) {
        states.push({ live, encoded });
      } else if (!live.isNew) {
        // The client must not be recovered into rooms that it has left since.
        this.#drop(live);
      }
    }
    const isUsable = this.#write(states);
    for (const { live } of states) {
      live.isNew = false;
      if (!isUsable) {
        this.#unusable.add(live.socket.id);
      }
    }
    this.#isWriting = this.#changed.size > 0;
    if (this.#isWriting) {
      setImmediate(() => this.#writeSome());
    }
  }

  /** Writes the sessions again that may be out of date, or would expire. */
  #look() {
    this.#active.forEach((sid) => this.#unseen.add(sid));
    this.#active.clear();
    if (!this.#isLooking) {
      this.#lookAtSome();
    }
    if (this.#unusable.size > 0 && !this.#isLocalOnly()) {
      this.#unusable.forEach((sid) => this.change(sid));
    }
    const before = now() - RENEWAL;
    for (const [sid, { writtenAt }] of this.#sessions) {
      if (writtenAt > before) {
        break;
      }
      this.change(sid);
    }
  }

  #lookAtSome() {
    const start = now();
    for (const sid of this.#unseen) {
      this.#unseen.delete(sid);
      const live = /** @type {LiveSession} */ (this.#sessions.get(sid));
      const isOld = live.writtenAt < start - UNCHANGED;
      if (isOld || live.written !== hashOf(encode(live.socket))) {
        this.change(sid);
      }
      if (now() >= start + SLICE_TIME) {
        break;
      }
    }
    this.#isLooking = this.#unseen.size > 0;
    if (this.#isLooking) {
      setImmediate(() => this.#lookAtSome());
    }
  }
}

/**
 * @param {any} socket
 * @returns {Buffer | undefined} undefined if its data cannot be encoded
 */
function encode({ id: sid, pid, rooms, data }) {
  try {
    return encodeMsgpack({ sid, pid, rooms: [...rooms], data });
  } catch (error) {
    // When its client leaves, this is warned of.
    debug("the session of socket %s is not kept: %s", sid, error);
    return undefined;
  }
}

/**
 * FNV-1a, 32 bits. It only shows changes: one in four billion stays unseen for a minute.
 *
 * @param {Uint8Array} [bytes]
 * @returns {number | undefined}
 */
function hashOf(bytes) {
  if (bytes === undefined) {
    return undefined;
  }
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) {
    hash = Math.imul(hash ^ bytes[i], 0x01000193);
  }
  return hash;
}

module.exports = { LiveSessions };
