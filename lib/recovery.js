"use strict";
// Connection state recovery in one namespace: sessions that are kept and given back, since when each
// socket is in its rooms, and what comes in while a recovered socket is not connected yet.

const { MessageType } = require("socket.io-adapter");

const { decodeData, decodeMsgpack, encodeMsgpack } = require("./codec");
const debug = require("./debug");
const { EncodedPacket } = require("./encoded-packet");
const { sendTo } = require("./fan-out");
const { isWellFormed } = require("./message-shape");
const { sessionLifetime } = require("./session-lifetime");
const { clearTimeout, nextTick, setTimeout } = require("./timers");
const { warnOfHandler } = require("./warnings");

/** Packet type of the Socket.IO protocol. */
const EVENT = 2;
/** How long the middlewares may take with a recovered socket before its packets are let go, ms. */
const ARRIVAL_TIMEOUT = 45_000;
/** Before every entry. */
const START = "0-0";
/** Session IDs are 20 characters; whatever is much longer is none. */
const LONGEST_PID = 128;

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./native-binding").NativeMissed} NativeMissed
 *
 * @typedef {object} Arriving a recovered socket on its way through the middlewares
 * @property {any} session as it was in Redis
 * @property {Map<any, string>} since
 * @property {Outgoing[] | undefined} packets what it missed, and what came in for it meanwhile;
 * undefined when it took too long
 * @property {boolean} isTaken false until there is a socket for it: a wrapper of `restoreSession`
 * may have refused it
 * @property {NodeJS.Timeout} timer
 *
 * @typedef {{ encoded: EncodedPacket } | { packet: any }} Outgoing an event packet
 * with its offset
 */

class Recovery {
  #nsp;
  #engine;
  /** How long sessions are kept, ms. */
  #lifetime;
  /** The last entry that was handled here: what a socket joins from now on it is in since then. */
  position = START;
  /** @type {Map<string, Map<any, string>>} socket, room, the last entry from before it joined */
  #joined = new Map();
  /** @type {Map<string, Arriving>} */
  #arriving = new Map();
  /** The last offset that a recovered socket was sent in front of its CONNECT.
   * @type {WeakMap<object, string>} */
  #sentAhead = new WeakMap();

  /**
   * @param {any} nsp
   * @param {import("./engine").Engine} engine
   */
  constructor(nsp, engine) {
    this.#nsp = nsp;
    this.#engine = engine;
    const { maxDisconnectionDuration } = nsp.server.opts.connectionStateRecovery;
    this.#lifetime = sessionLifetime(maxDisconnectionDuration);
  }

  /** True while a recovered socket is not connected yet. */
  get isExpecting() {
    return this.#arriving.size > 0;
  }

  /**
   * @param {string} sid
   * @param {Iterable<any>} rooms
   * @param {Map<any, string | undefined>} created those of them that had no member here: what went
   * there up to this entry was not even handed to us
   */
  join(sid, rooms, created) {
    const arriving = this.#arriving.get(sid);
    if (arriving) {
      arriving.isTaken = true;
    }
    const joined = this.#joined.get(sid) ?? new Map();
    this.#joined.set(sid, joined);
    for (const room of rooms) {
      if (!joined.has(room)) {
        joined.set(room, arriving?.since.get(room) ?? later(this.position, created.get(room)));
      }
    }
    const socket = this.#nsp.sockets.get(sid);
    if (arriving && socket) {
      this.#arriving.delete(sid);
      clearTimeout(arriving.timer);
      if (arriving.packets) {
        // The middlewares have let it pass, and its CONNECT is written right after this.
        this.#sendAhead(socket, arriving);
      } else {
        // Its session is back in Redis: it may come again, and gets everything then.
        nextTick(() => socket.conn.close());
      }
    }
  }

  /**
   * Sends what a recovered socket has missed in front of its CONNECT, as every other adapter does:
   * in its `connect` handler the client's state is whole.
   *
   * @param {any} socket
   * @param {Arriving} arriving
   */
  #sendAhead(socket, { packets = [], session }) {
    const offset = packets.length > 0 ? offsetOf(packets[packets.length - 1]) : session.ahead;
    if (offset !== undefined) {
      this.#sentAhead.set(socket, offset);
    }
    for (const outgoing of packets) {
      if ("encoded" in outgoing) {
        sendTo(socket, outgoing.encoded);
      } else {
        socket.notifyOutgoingListeners?.(outgoing.packet);
        socket.packet(outgoing.packet);
      }
    }
  }

  /**
   * @param {string} sid
   * @param {any} room
   */
  leave(sid, room) {
    this.#joined.get(sid)?.delete(room);
  }

  /** @param {string} sid */
  leaveAll(sid) {
    this.#joined.delete(sid);
    const arriving = this.#arriving.get(sid);
    if (arriving && !this.#nsp.sockets.has(sid)) {
      // A middleware refused it, or its connection broke before it was through.
      this.#arriving.delete(sid);
      clearTimeout(arriving.timer);
      if (arriving.packets) {
        this.#keepSession(arriving.session);
      }
    }
  }

  /**
   * Keeps the session of a socket that has gone. Besides upstream's fields it says for each of its
   * rooms the last entry from before it was joined: what went there up to then was not for this
   * client. And the last offset that was sent in front of the CONNECT: see {@link restore}.
   *
   * @param {any} session
   */
  persist(session) {
    const joined = this.#joined.get(session.sid);
    // A client may have come before this node knew where to begin reading.
    const begin = this.#engine.readSince(this.#nsp.name);
    const since = session.rooms.map((/** @type {any} */ room) =>
      later(joined?.get(room) ?? START, begin),
    );
    const socket = this.#nsp.sockets.get(session.sid);
    const sentAhead = (socket && this.#sentAhead.get(socket)) ?? START;
    const ahead = later(sentAhead, this.#engine.deliveredAhead(this.#nsp.name));
    this.#keepSession({ ...session, since, ...(ahead !== START && { ahead }) });
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
      return;
    }
    this.#engine.persistSession(session.pid, encoded, this.#lifetime);
  }

  /**
   * Both parameters come from the client.
   *
   * @param {string} pid
   * @param {string} offset
   * @returns {Promise<any>} as socket.io wants it
   */
  async restore(pid, offset) {
    if (pid.length === 0 || pid.length > LONGEST_PID) {
      this.#engine.restoreRefused("the session ID is none");
      throw new Error("session not restored: the session ID is none");
    }
    const restored = await this.#engine.restoreSession(this.#nsp.name, pid, offset);
    const session = /** @type {any} */ (decodeMsgpack(restored.session));
    if (typeof session.ahead === "string" && isAfter(session.ahead, offset)) {
      // A client keeps what comes before its CONNECT until one comes, and counts it as received only
      // then. This one never got the CONNECT behind those packets, and may hold some of them.
      this.#engine.restoreRefused("its connection broke before the last recovery was complete");
      throw new Error("session not restored: the client may hold packets of its last recovery");
    }
    return this.#expect(session, restored.missed, restored.position);
  }

  /**
   * A session was restored: its socket is about to be made, and gets what it missed.
   *
   * @param {any} session
   * @param {NativeMissed[]} missed broadcasts that the engine takes for missed, or cannot judge
   * @param {string} position up to where that is
   */
  #expect(session, missed, position) {
    if (isAfter(position, this.position)) {
      this.position = position;
    }
    const since = new Map();
    session.rooms.forEach((/** @type {any} */ room, /** @type {number} */ i) => {
      since.set(room, session.since?.[i] ?? START);
    });
    /** @type {Arriving} */
    const arriving = {
      session: { ...session },
      since,
      packets: missed.flatMap((broadcast) => toOutgoing(broadcast, since, this.#nsp.name)),
      isTaken: false,
      timer: setTimeout(() => this.#giveUp(arriving), ARRIVAL_TIMEOUT).unref(),
    };
    this.#arriving.set(session.sid, arriving);
    delete session.since;
    delete session.ahead;
    // socket.io would send them before the middlewares have run, and a client that is refused keeps
    // them all the same. So they are sent from here, when the socket has passed.
    session.missedPackets = [];
    return session;
  }

  /** @param {Arriving} arriving that takes too long */
  #giveUp(arriving) {
    arriving.packets = undefined;
    if (arriving.isTaken) {
      this.#keepSession(arriving.session);
    } else {
      this.#arriving.delete(arriving.session.sid);
    }
  }

  /**
   * Keeps a packet for the recovered sockets that are not connected yet.
   *
   * @param {Outgoing} packet
   * @param {Targets} opts
   */
  keep(packet, opts) {
    for (const [sid, { packets }] of this.#arriving) {
      const rooms = [...(this.#joined.get(sid)?.keys() ?? [])];
      const isIncluded = opts.rooms.size === 0 || rooms.some((room) => opts.rooms.has(room));
      if (isIncluded && !rooms.some((room) => opts.except?.has(room))) {
        packets?.push(packet);
      }
    }
  }
}

/**
 * The offset that a client takes from a packet: its last argument.
 *
 * @param {Outgoing} outgoing
 * @returns {string | undefined}
 */
function offsetOf(outgoing) {
  if ("packet" in outgoing) {
    return outgoing.packet.data.at(-1);
  }
  return /"(\d+-\d+)"\]$/.exec(/** @type {string} */ (outgoing.encoded.parts[0]))?.[1];
}

/**
 * @param {NativeMissed} broadcast
 * @param {Map<any, string>} since the client's rooms
 * @param {string} nsp
 * @returns {Outgoing[]} nothing when it was not missed
 */
function toOutgoing(broadcast, since, nsp) {
  if (broadcast.kind === "packet") {
    return [{ encoded: new EncodedPacket([broadcast.text, ...broadcast.attachments]) }];
  }
  const { id } = broadcast;
  try {
    const data = decodeData(broadcast);
    if (!isWellFormed({ uid: "", nsp: "", type: MessageType.BROADCAST, data })) {
      return [];
    }
    return isMissed(data, id, since)
      ? [{ packet: { type: EVENT, nsp, data: [...data.packet.data, id] } }]
      : [];
  } catch (error) {
    debug("entry %s skipped: %s", id, error);
    return [];
  }
}

/**
 * @param {any} data a broadcast's
 * @param {string} id the entry's
 * @param {Map<any, string>} since the client's rooms
 */
function isMissed({ packet, opts, requestId }, id, since) {
  /** @param {any} room */
  const wasIn = (room) => {
    const joined = since.get(room);
    return joined !== undefined && isAfter(id, joined);
  };
  return (
    packet.type === EVENT &&
    packet.id === undefined &&
    requestId === undefined &&
    opts.flags?.volatile === undefined &&
    (opts.rooms.length === 0 || opts.rooms.some(wasIn)) &&
    !opts.except.some(wasIn)
  );
}

/**
 * @param {string} id
 * @param {string} [other]
 */
function later(id, other) {
  return other !== undefined && isAfter(other, id) ? other : id;
}

/**
 * @param {string} id
 * @param {string} other
 */
function isAfter(id, other) {
  const [ms, seq] = id.split("-").map(Number);
  const [otherMs, otherSeq] = other.split("-").map(Number);
  return ms > otherMs || (ms === otherMs && seq > otherSeq);
}

module.exports = { Recovery };
