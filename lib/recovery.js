"use strict";
// Connection state recovery in one namespace. It saves and restores sessions, keeps the entry at which
// each socket joined its rooms, and holds packets for recovered sockets that are not connected yet.

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
/** How long the middlewares may take with a recovered socket before its packets are dropped, ms. */
const ARRIVAL_TIMEOUT = 45_000;
/** Before every entry. */
const START = "0-0";
/** Session IDs have 20 characters; anything longer than this is not a session ID. */
const LONGEST_PID = 128;

/**
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./native-binding").NativeMissed} NativeMissed
 *
 * @typedef {object} Arriving a recovered socket on its way through the middlewares
 * @property {any} session as it was in Redis
 * @property {Map<any, string>} since
 * @property {Outgoing[] | undefined} packets what the socket missed, and what arrived for it
 * meanwhile; undefined if the middlewares took too long
 * @property {boolean} isTaken true once the socket exists; a wrapper of `restoreSession` may have
 * refused it
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
  /** The last entry that was handled here. A socket that joins a room now is a member from here on. */
  position = START;
  /** @type {Map<string, Map<any, string>>} by socket and room, the last entry before the join */
  #joined = new Map();
  /** @type {Map<string, Arriving>} */
  #arriving = new Map();
  /** The arriving sockets in each room, so that {@link keep} finds those that a packet is for.
   * @type {Map<any, Set<string>>} */
  #arrivingIn = new Map();
  /** The last offset that was sent to a recovered socket before its CONNECT.
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
   * @param {Map<any, string | undefined>} created the rooms that had no member here, each with the
   * entry up to which the engine did not hand over its broadcasts
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
        if (arriving) {
          this.#arrivingIn.set(room, (this.#arrivingIn.get(room) ?? new Set()).add(sid));
        }
      }
    }
    const socket = this.#nsp.sockets.get(sid);
    if (arriving && socket) {
      this.#stopExpecting(sid, arriving);
      if (arriving.packets) {
        // The middlewares have accepted the socket. socket.io writes its CONNECT right after this.
        this.#sendAhead(socket, arriving);
      } else {
        // The session is in Redis again: the client can come back, and then gets everything.
        nextTick(() => socket.conn.close());
      }
    }
  }

  /**
   * Sends a recovered socket the packets that it missed. Like every other adapter, it does so before the
   * CONNECT, so that the client's state is complete when its `connect` handler runs.
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
    this.#keepNoneFor(sid, room);
  }

  /** @param {string} sid */
  leaveAll(sid) {
    const arriving = this.#arriving.get(sid);
    if (arriving && !this.#nsp.sockets.has(sid)) {
      // A middleware refused the socket, or its connection broke before the middlewares were done.
      this.#stopExpecting(sid, arriving);
      if (arriving.packets) {
        this.#keepSession(arriving.session);
      }
    }
    this.#joined.delete(sid);
  }

  /**
   * @param {string} sid
   * @param {Arriving} arriving
   */
  #stopExpecting(sid, arriving) {
    clearTimeout(arriving.timer);
    this.#arriving.delete(sid);
    for (const room of this.#joined.get(sid)?.keys() ?? []) {
      this.#keepNoneFor(sid, room);
    }
  }

  /**
   * @param {string} sid
   * @param {any} room
   */
  #keepNoneFor(sid, room) {
    const sids = this.#arrivingIn.get(room);
    if (sids?.delete(sid) && sids.size === 0) {
      this.#arrivingIn.delete(room);
    }
  }

  /**
   * Saves the session of a disconnected socket. In addition to upstream's fields, it holds for each room
   * the last entry before the socket joined: earlier broadcasts to the room were not for this client.
   * It also holds the last offset that was sent before the CONNECT: see {@link restore}.
   *
   * @param {any} session
   */
  persist(session) {
    const joined = this.#joined.get(session.sid);
    // The client may have connected before this node knew where its reading begins.
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
   * @returns {Promise<any>} the session in the form that socket.io expects
   */
  async restore(pid, offset) {
    if (pid.length === 0 || pid.length > LONGEST_PID) {
      this.#engine.restoreRefused("the session ID is none");
      throw new Error("session not restored: the session ID is none");
    }
    const restored = await this.#engine.restoreSession(this.#nsp.name, pid, offset);
    const session = /** @type {any} */ (decodeMsgpack(restored.session));
    if (typeof session.ahead === "string" && isAfter(session.ahead, offset)) {
      // A client holds back packets that arrive before its CONNECT, and counts them as received when the
      // CONNECT arrives. This client never got the CONNECT, and may still hold some of the packets.
      this.#engine.restoreRefused("its connection broke before the last recovery was complete");
      throw new Error("session not restored: the client may hold packets of its last recovery");
    }
    return this.#expect(session, restored.missed, restored.position);
  }

  /**
   * Prepares for the socket of a restored session, which socket.io is about to create.
   *
   * @param {any} session
   * @param {NativeMissed[]} missed broadcasts that were missed, or that the engine cannot judge
   * @param {string} position the last entry that they cover
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
    // socket.io would send these before the middlewares run, and a client that the middlewares refuse
    // would keep them. So `join` sends them, when the middlewares have accepted the socket.
    session.missedPackets = [];
    return session;
  }

  /** @param {Arriving} arriving a socket whose middlewares take too long */
  #giveUp(arriving) {
    arriving.packets = undefined;
    if (arriving.isTaken) {
      this.#keepSession(arriving.session);
    } else {
      this.#stopExpecting(arriving.session.sid, arriving);
    }
  }

  /**
   * Keeps a packet for the recovered sockets that are not connected yet.
   *
   * @param {Outgoing} packet
   * @param {Targets} opts
   */
  keep(packet, opts) {
    for (const sid of this.#arrivingFor(opts.rooms)) {
      const joined = this.#joined.get(sid);
      let isExcepted = false;
      for (const room of opts.except ?? []) {
        isExcepted ||= joined?.has(room) ?? false;
      }
      if (!isExcepted) {
        this.#arriving.get(sid)?.packets?.push(packet);
      }
    }
  }

  /**
   * @param {Set<any>} rooms
   * @returns {Iterable<string>} the arriving sockets in one of the rooms; all of them if there are none
   */
  #arrivingFor(rooms) {
    if (rooms.size === 0) {
      return this.#arriving.keys();
    }
    /** @type {Set<string>} */
    const found = new Set();
    for (const room of rooms) {
      this.#arrivingIn.get(room)?.forEach((sid) => found.add(sid));
    }
    return found;
  }
}

/**
 * The offset that a client takes from a packet: the packet's last argument.
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
 * @param {Map<any, string>} since by room of the client, the last entry before it joined
 * @param {string} nsp
 * @returns {Outgoing[]} empty if the client did not miss it
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
 * @param {any} data of a broadcast
 * @param {string} id of its entry
 * @param {Map<any, string>} since by room of the client, the last entry before it joined
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
