"use strict";
// Connection state recovery in one namespace: saves and restores sessions.

const { Arrivals } = require("./arrivals");
const { decodeMsgpack, encodeAsIs, encodeMsgpack, joinMaps } = require("./codec");
const { doubtAbout } = require("./doubt");
const { endConnection, endSocket } = require("./end-socket");
const { START, isAfter, later } = require("./entry-ids");
const { HandOver } = require("./hand-over");
const { Joins, unnoticedFor } = require("./joins");
const { LiveSessions } = require("./live-sessions");
const { toOutgoing } = require("./missed");
const { Positions } = require("./positions");
const { keepPreConnectSockets } = require("./pre-connect-sockets");
const { NO_OFFSET, recoverWithoutOffset } = require("./recover-without-offset");
const { connectWithoutSession } = require("./refused-sessions");
const { sessionLifetime } = require("./session-lifetime");
const { setImmediate, setTimeout } = require("./timers");
const { turnAway, turnAwayLate } = require("./turn-away");
const { warnOfHandler } = require("./warnings");

/** How long a server that closes waits for restores, ms: what they have taken goes back to Redis. */
const CLOSING = 5_000;
/** socket.io's session IDs have 20 of these characters. The client chooses a part of a key with them. */
const PID = /^[\w-]{1,128}$/;

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./shared-packets").Missed} Missed
 * @typedef {import("./missed").Outgoing} Outgoing
 */

/** What a session has beside upstream's fields (see `Positions.of`). */
const OURS = [
  "nsp",
  "since",
  "ahead",
  "deliveredAhead",
  "localMark",
  "lastSent",
  "sentUpTo",
  "generation",
];

class Recovery {
  /** The adapter of its namespace, which may get another one with the same engine. */
  adapter;
  #nsp;
  #engine;
  #tellsExpired;
  /** How long sessions are kept, ms. */
  #lifetime;
  /** The last entry that was handled here. A socket that joins a room now is a member from here on. */
  position = START;
  #joins;
  /** Recovered sockets that are not connected yet. */
  #arrivals;
  /** Sockets that must not save their session any more. @type {WeakSet<object>} */
  #released = new WeakSet();
  /** The sessions of connected sockets. */
  #live;
  #handOver;
  /** The restores that are under way, by private session ID. @type {Map<string, Promise<any>>} */
  #restoring = new Map();
  /** A server that is closing restores nothing: it could not save the session again in time. */
  #isClosed = false;

  /**
   * @param {any} adapter its namespace has recovery
   * @param {import("./engine").Engine} engine
   * @param {import("./options").Options} options
   */
  constructor(adapter, engine, { liveSessions, expiredSessions, heartbeatTimeout }) {
    const { nsp } = adapter;
    this.adapter = adapter;
    this.#tellsExpired = expiredSessions;
    this.#nsp = nsp;
    this.#engine = engine;
    const { maxDisconnectionDuration } = nsp.server.opts.connectionStateRecovery;
    this.#lifetime = sessionLifetime(maxDisconnectionDuration);
    this.#joins = new Joins(() => unnoticedFor(nsp.server));
    this.#live = new LiveSessions(
      liveSessions && this.#lifetime > 0,
      (states) => this.#write(states),
      ({ socket, generation }) => this.#drop({ pid: socket.pid, generation }),
      () => engine.sessions.isLocalOnly(nsp.name),
    );
    this.#arrivals = new Arrivals(
      nsp,
      (session) => this.#refuse(session),
      (session) => this.#keepSession(session),
    );
    this.#handOver = new HandOver(adapter, heartbeatTimeout, (asked) =>
      engine.countSubscribers(nsp.name, asked),
    );
  }

  /** Called once, when the adapter is complete. */
  prepare() {
    keepPreConnectSockets(this.#nsp);
    connectWithoutSession(this.#nsp);
    recoverWithoutOffset(this.#nsp);
    turnAwayLate(this.#nsp);
  }

  /** True while a recovered socket is not connected yet. */
  get isExpecting() {
    return this.#arrivals.size > 0;
  }

  /**
   * @param {string} sid
   * @param {Iterable<any>} rooms
   * @param {Map<any, string | undefined>} created the rooms that had no member here, each with the
   * entry up to which the engine did not hand over its broadcasts
   */
  join(sid, rooms, created) {
    const arriving = this.#arrivals.get(sid);
    if (arriving) {
      arriving.isTaken = true;
    }
    for (const room of rooms) {
      const since = arriving?.since.get(room) ?? later(this.position, created.get(room));
      if (this.#joins.join(sid, room, since) && arriving) {
        this.#arrivals.join(arriving, room);
      }
    }
    const socket = this.#nsp.sockets.get(sid);
    if (socket === undefined) {
      return;
    }
    if (this.#live.has(sid)) {
      this.#live.change(sid);
    } else {
      this.#live.add(socket, arriving?.session.generation);
    }
    if (arriving) {
      this.#arrivals.remove(arriving);
      // The middlewares have accepted the socket. socket.io writes its CONNECT right after this.
      this.#arrivals.sendAhead(socket, arriving);
    }
  }

  /**
   * @param {string} sid
   * @param {any} room
   */
  leave(sid, room) {
    this.#joins.leave(sid, room);
    this.#live.change(sid);
    this.#arrivals.leave(sid, room);
  }

  /** @param {string} sid */
  leaveAll(sid) {
    const arriving = this.#arrivals.get(sid);
    if (arriving && !this.#nsp.sockets.has(sid)) {
      // A middleware refused the socket, or its connection broke before the middlewares were done.
      this.#arrivals.remove(arriving);
      this.#keepSession(arriving.session);
    }
    this.#joins.remove(sid);
    const live = this.#live.remove(sid);
    if (live && !live.isNew) {
      // Not for a reason for which socket.io keeps sessions. A new session has no record yet.
      this.#drop({ pid: live.socket.pid, generation: live.generation });
    }
  }

  /** Nobody is recovered by a session any more. @param {{ pid: string, generation?: number }} session */
  #drop({ pid, generation = 0 }) {
    this.#engine.sessions.drop(this.#nsp.name, pid, generation, this.#lifetime);
  }

  /**
   * Saves the session of a disconnected socket.
   *
   * @param {any} session
   */
  persist(session) {
    const socket = this.#nsp.sockets.get(session.sid);
    if (socket) {
      if (this.#released.has(socket)) {
        return;
      }
      this.#released.add(socket);
    }
    const live = this.#live.remove(session.sid);
    const positions = this.#positionsOf(session, socket, this.#readPositions());
    this.#keepSession({ ...session, generation: live?.generation, ...positions });
  }

  #readPositions() {
    return new Positions(this.#engine.sessions, this.#nsp.name);
  }

  /**
   * @param {{ sid: string, rooms: Iterable<any> }} session
   * @param {any} socket undefined if it is gone
   * @param {Positions} positions
   */
  #positionsOf(session, socket, positions) {
    const joined = this.#joins.of(session.sid);
    const sentAhead = socket && this.#arrivals.sentAhead(socket);
    return positions.of(session, socket, joined, sentAhead);
  }

  /**
   * Writes the sessions of connected sockets.
   *
   * @param {import("./live-sessions").State[]} states
   * @returns {boolean} false if no client can be recovered by them
   */
  #write(states) {
    const positions = this.#readPositions();
    /** @type {Buffer[]} */
    const all = [];
    let end = 0;
    const sessions = states.map(({ live: { socket, generation, isNew }, encoded }) => {
      const { id: sid, pid, rooms } = socket;
      const noted = this.#positionsOf({ sid, rooms }, socket, positions);
      const session = joinMaps(encoded, encodeAsIs({ generation, ...noted }));
      all.push(session);
      end += session.length;
      return { pid, generation, isNew, end };
    });
    this.#engine.sessions.keep(this.#nsp.name, sessions, Buffer.concat(all), this.#lifetime);
    return !positions.areLocalOnly;
  }

  /** Writes the sessions of all connected sockets again, since Redis may have lost them. */
  refresh() {
    this.#handOver.reconnected();
    this.#live.changeAll();
  }

  /** @param {any} session */
  #keepSession(session) {
    if (this.#lifetime === 0) {
      return;
    }
    let encoded;
    try {
      encoded = encodeMsgpack(session);
    } catch (error) {
      warnOfHandler("`socket.data` cannot be encoded, and was not kept for recovery", error);
      // The record from before is out of date.
      this.#drop(session);
      return;
    }
    this.#engine.sessions.end(
      this.#nsp.name,
      session.pid,
      session.generation ?? 0,
      encoded,
      this.#lifetime,
    );
  }

  /**
   * The client of a session that this node has taken cannot have it.
   *
   * @param {any} session
   */
  #refuse(session) {
    if (this.#tellsExpired) {
      // It is told when it expires.
      this.#keepSession(session);
    } else {
      this.#drop(session);
    }
  }

  /**
   * Both parameters come from the client.
   *
   * @param {string} pid
   * @param {string} given the offset; {@link NO_OFFSET} if the client has received nothing yet
   * @returns {Promise<any>} the session in the form that socket.io expects
   */
  async restore(pid, given) {
    if (!PID.test(pid)) {
      this.#engine.sessions.refuse("the session ID is none");
      throw new Error("session not restored: the session ID is none");
    }
    this.#throwIfClosed();
    const offset = given === NO_OFFSET ? undefined : given;
    // One after the other: each attempt may take the session from the one before.
    const restored = this.#afterRestores(pid).then(() => this.#restore(pid, offset));
    this.#restoring.set(pid, restored);
    try {
      return await restored;
    } finally {
      if (this.#restoring.get(pid) === restored) {
        this.#restoring.delete(pid);
      }
    }
  }

  /** What comes here now is turned away (`turn-away.js`), unless only the adapter was closed. */
  #throwIfClosed() {
    if (this.#isClosed) {
      throw new Error("session not restored: the adapter is closed");
    }
  }

  /**
   * @param {string} pid
   * @returns {Promise<void>} resolves when the restore of a session that is under way is over, and its
   * socket exists; never rejects
   */
  async #afterRestores(pid) {
    const restoring = this.#restoring.get(pid);
    if (restoring) {
      await restoring.catch(() => {});
      // socket.io makes the socket now.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /**
   * @param {string} pid
   * @param {string} [offset]
   */
  async #restore(pid, offset) {
    if (!this.#release(pid, offset)) {
      this.#engine.sessions.refuse("it is in use");
      throw new Error("session not restored: it is in use");
    }
    // The namespace is removed with its last socket, if socket.io is told to do so.
    this.#throwIfClosed();
    let restored = await this.#engine.sessions.restore(this.#nsp.name, pid, offset);
    while (restored.kind === "owned") {
      this.#throwIfClosed();
      // The client was connected to another node, which may not have noticed yet that it has gone.
      const { owner } = restored;
      const verdict = await this.#handOver.ask(owner, pid, offset);
      if (verdict === "busy" || verdict === "late") {
        this.#engine.sessions.refuse(`node ${owner} does not hand it over (${verdict})`);
        throw new Error(`session not restored: node ${owner} does not hand it over`);
      }
      const gone = { owner, isDead: verdict === "dead" };
      restored = await this.#engine.sessions.restore(this.#nsp.name, pid, offset, gone);
    }
    const session = /** @type {any} */ (decodeMsgpack(restored.session));
    const doubt = doubtAbout(session, offset ?? START);
    if (doubt !== undefined) {
      this.#refuse({ ...session, generation: restored.generation });
      this.#engine.sessions.refuse(doubt);
      throw new Error(`session not restored: ${doubt}`);
    }
    if (this.#nsp.sockets.has(session.sid) || this.#arrivals.get(session.sid)) {
      this.#engine.sessions.refuse("its socket exists");
      throw new Error("session not restored: its socket exists");
    }
    session.generation = restored.generation;
    if (this.#isClosed) {
      // For another node, as long as the engine still saves sessions.
      this.#keepSession(session);
    }
    this.#throwIfClosed();
    return this.#expect(session, offset, restored.missed, restored.position);
  }

  /**
   * The client of a session is back, here or at another node. A socket that it has left here ends.
   *
   * @param {string} pid
   * @param {string} [offset]
   * @returns {boolean} false if the client cannot have the session
   */
  #release(pid, offset) {
    const socket = this.#live.socketOf(pid);
    if (socket) {
      if (isAfter(this.#arrivals.sentAhead(socket) ?? START, offset ?? START)) {
        // The client could not be recovered (see `restore`), and the socket may be in use.
        return false;
      }
      endSocket(socket);
      return true;
    }
    const arriving = this.#arrivals.ofSession(pid);
    return arriving === undefined || this.#arrivals.end(arriving);
  }

  /**
   * Another node asks for the session of a client that it has now.
   *
   * @param {any} message
   */
  async onHandOver(message) {
    try {
      await this.#handOver.onRequest(message, async (pid, offset) => {
        await this.#afterRestores(pid);
        const isReleased = this.#release(pid, offset);
        await this.#engine.sessions.waitFor(this.#nsp.name, pid);
        return isReleased;
      });
    } catch (error) {
      // Nobody handles a rejection. If the engine has ended, the other node notices that by itself.
      if (!this.#engine.ended) {
        warnOfHandler("a session was not handed over to another server", error);
      }
    }
  }

  /** @param {any} message */
  onHandedOver(message) {
    this.#handOver.onAnswer(message);
  }

  /**
   * The session of a client that is still connected here is not this node's any more: another node has
   * restored it, or has told that it has expired.
   *
   * @param {{ pid: string, hasExpired: boolean }} event
   */
  onTaken({ pid, hasExpired }) {
    const socket = this.#live.socketOf(pid);
    if (socket) {
      this.#live.remove(socket.id);
      this.#released.add(socket);
      // No other server has a client whose session has expired. A lost connection brings it back.
      hasExpired ? endConnection(socket.conn) : endSocket(socket);
    }
  }

  /**
   * @returns {Promise<unknown> | undefined} resolves when the restores that are under way are over;
   * undefined if there are none
   */
  close() {
    this.#isClosed = true;
    this.#live.close();
    this.#handOver.close();
    this.#arrivals.endAll();
    turnAway(this.adapter);
    if (this.#restoring.size === 0) {
      return undefined;
    }
    const limit = new Promise((resolve) => setTimeout(resolve, CLOSING).unref());
    return Promise.race([Promise.allSettled(this.#restoring.values()), limit]);
  }

  /**
   * Prepares for the socket of a restored session, which socket.io is about to create.
   *
   * @param {any} session
   * @param {string | undefined} offset
   * @param {Missed[]} missed broadcasts that were missed, or that the engine cannot judge
   * @param {string} position the last entry that they cover
   */
  #expect(session, offset, missed, position) {
    if (isAfter(position, this.position)) {
      this.position = position;
    }
    const since = new Map();
    session.rooms.forEach((/** @type {any} */ room, /** @type {number} */ i) => {
      since.set(room, session.since?.[i] ?? START);
    });
    const packets = missed.flatMap((broadcast) => toOutgoing(broadcast, since, this.#nsp.name));
    this.#arrivals.expect({ ...session }, offset, since, packets);
    OURS.forEach((field) => delete session[field]);
    // socket.io would send these before the middlewares run, and a client that the middlewares refuse
    // would keep them. So `join` sends them, when the middlewares have accepted the socket.
    session.missedPackets = [];
    return session;
  }

  /**
   * Keeps a packet for the recovered sockets that are not connected yet.
   *
   * @param {Outgoing} packet
   * @param {Targets} opts
   */
  keep(packet, opts) {
    this.#arrivals.keep(packet, opts);
  }
}

module.exports = { Recovery };
