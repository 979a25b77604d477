"use strict";
// The adapter of one namespace: socket.io's calls become messages of the cluster, and the
// cluster's messages become calls of the in-memory adapter.

const { ClusterAdapter, MessageType } = require("socket.io-adapter");

const { coalesceWrites } = require("./coalesce");
const { encodeMsgpack, decodeMsgpack, encodedSize, decodeData } = require("./codec");
const debug = require("./debug");
const { EncodedPacket } = require("./encoded-packet");
const { FOR_NOBODY } = require("./events");
const { canBeSent, canEncode, canFanOut, fanOut, hasRecipients } = require("./fan-out");
const { isWellFormed } = require("./message-shape");
const { OVERVIEW, OVERVIEW_RESPONSE, overviewAnswer, targetsOf } = require("./overview");
const { emitToAll } = require("./listeners");
const { Publisher } = require("./publisher");
const { Recovery } = require("./recovery");
const { Requests, isRequest } = require("./requests");
const { encodeResponse } = require("./responses");
const { takeOver } = require("./take-over");
const { decodeTargets, encodeTargets } = require("./targets");

/** The adapter that does the local part; ClusterAdapter's own methods publish. */
const InMemoryAdapter = Object.getPrototypeOf(ClusterAdapter.prototype);

/**
 * @typedef {import("./engine").Engine} Engine
 * @typedef {import("./options").Options} Options
 * @typedef {import("./events").NativeEntry} NativeEntry
 * @typedef {import("./targets").Targets} Targets
 * @typedef {import("./events").LocalPart} LocalPart
 */

class RedisStreamsAdapter extends ClusterAdapter {
  #engine;
  #options;
  /** @type {import("./native-binding").NativeNamespace} */
  #namespace;
  /** @type {Promise<void> | undefined} */
  #closing;
  #requests;
  /** @type {Recovery | undefined} */
  #recovery;
  #publisher;
  /** The adapter that the namespace had before, when it has one late or anew. */
  #previous;

  /**
   * @param {any} nsp
   * @param {Engine} engine
   * @param {Options} options
   */
  constructor(nsp, engine, options) {
    super(nsp);
    this.#previous = nsp.adapter;
    this.#engine = engine;
    this.#options = options;
    // One uid for all namespaces of a node, so that nodes can tell each other apart everywhere.
    // Read-only in its types only.
    /** @type {any} */ (this).uid = engine.uid;
    this.#requests = new Requests(this, options.requestsVia, (asked) =>
      engine.countSubscribers(nsp.name, asked),
    );
    if (nsp.server.opts.connectionStateRecovery) {
      this.#recovery = new Recovery(nsp, engine);
    }
    this.#namespace = engine.open(nsp.name, this.#recovery !== undefined, canEncode(nsp), {
      onEntry: (event) => this.#onEntry(event),
      onBroadcast: (event) => this.#onBroadcast(event),
      onPayload: (payload) => this.#onPayload(payload),
      onMembersChanged: () => this.#requests.refresh(),
      onLost: (loss) => this.#onLost(loss),
    });
    this.#publisher = new Publisher(engine, this.#namespace, {
      nsp: nsp.name,
      onlyPlaintext: options.onlyPlaintext,
      keepsDates: !canEncode(nsp),
      onReached: (offset) => this.#reach(offset),
    });
  }

  /** Called when the namespace has this adapter. */
  init() {
    if (this.#previous !== undefined) {
      takeOver(this, this.#previous);
      this.#previous = undefined;
    }
  }

  // What other nodes send

  /** @param {NativeEntry} event */
  #onEntry(event) {
    let data;
    try {
      data = decodeData(event);
    } catch (error) {
      return this.#skip(`entry ${event.id}`, error);
    }
    this.#reach(event.id);
    this.#receive({ uid: event.uid, nsp: this.nsp.name, type: event.type, data }, event.id);
  }

  /** @param {import("./events").Broadcast} broadcast */
  #onBroadcast(broadcast) {
    if (this.#recovery) {
      this.#recovery.position = broadcast.id;
    }
    this.#send(broadcast.encoded, broadcast, broadcast);
  }

  /** @param {import("../index").Loss} loss */
  #onLost(loss) {
    debug("entries lost in %s: %o", this.nsp.name, loss);
    emitToAll(this, "loss", loss);
  }

  /** @param {string} [position] */
  #reach(position) {
    if (this.#recovery && position !== undefined) {
      this.#recovery.position = position;
    }
  }

  /** @param {Uint8Array} payload */
  #onPayload(payload) {
    let message;
    try {
      message = decodeMsgpack(payload);
    } catch (error) {
      return this.#skip("PUB/SUB message", error);
    }
    this.#receive(message);
  }

  /**
   * @param {any} message
   * @param {string} [offset]
   */
  #receive(message, offset) {
    if (!isWellFormed(message)) {
      return this.#skip(offset ? `entry ${offset}` : "PUB/SUB message", "malformed");
    }
    try {
      this.#act(message, offset);
    } catch (error) {
      // Nested deeper than the stack: its sender could not have sent it to a client of its own.
      if (error instanceof RangeError && !canBeSent(this, message)) {
        return this.#skip(offset ? `entry ${offset}` : "PUB/SUB message", error);
      }
      throw error;
    }
  }

  /**
   * @param {any} message
   * @param {string} [offset]
   */
  #act(message, offset) {
    const { uid, type, data } = message;
    if (uid === this.uid) {
      return;
    }
    if (type === MessageType.BROADCAST && data.requestId === undefined) {
      return this.#broadcastLocally(data.packet, decodeTargets(data.opts), offset);
    }
    if (type === OVERVIEW) {
      return this.publishResponse(uid, overviewAnswer(this, data));
    }
    if (type === OVERVIEW_RESPONSE) {
      return this.onResponse(message);
    }
    this.onMessage(message, /** @type {any} */ (offset));
  }

  /**
   * @param {string} what
   * @param {unknown} why
   */
  #skip(what, why) {
    this.#engine.skipped(`${what} in ${this.nsp.name}`, why);
  }

  /** @param {any} response */
  onResponse(response) {
    this.#requests.onResponse(response);
  }

  // What goes out

  /**
   * @param {any} message
   * @returns {Promise<any>} the entry's ID; empty for what travels over PUB/SUB
   */
  doPublish(message) {
    if (this.#options.requestsVia === "pubsub" && isRequest(message)) {
      const payload = encodeMsgpack(message);
      try {
        this.#engine.request(this.nsp.name, payload);
      } catch (error) {
        return Promise.reject(error);
      }
      return Promise.resolve("");
    }
    return this.#publisher.publish(message.type, this.#publisher.encode(message));
  }

  /**
   * @param {string} requesterUid
   * @param {any} response
   */
  async doPublishResponse(requesterUid, response) {
    if (this.#options.requestsVia === "stream") {
      const encode = (/** @type {any} */ response) => this.#publisher.encode(response);
      const encoded = encodeResponse(response, encode, encodedSize);
      await (encoded && this.#publisher.publish(response.type, encoded));
      return;
    }
    const payload = encodeResponse(response, encodeMsgpack, (bytes) => bytes.length);
    if (payload) {
      this.#engine.respond(this.nsp.name, requesterUid, payload);
    }
  }

  /**
   * @param {any} packet
   * @param {any} opts
   */
  broadcast(packet, opts) {
    const data = { packet, opts: encodeTargets(opts) };
    return this.#publisher.writeThen(MessageType.BROADCAST, data, opts, (offset, localPart) => {
      // A copy: the broadcast of a parent namespace gives each child the same packet, and each
      // adds its own offset.
      const copy = () => ({ ...packet, nsp: this.nsp.name, data: [...packet.data] });
      if (localPart instanceof EncodedPacket) {
        const original = () => this.#withOffset(copy(), opts, offset);
        return this.#send(localPart, opts, opts.flags ?? {}, original);
      }
      // A socket may have joined since the engine looked.
      if (localPart === FOR_NOBODY && !hasRecipients(this, opts)) {
        return;
      }
      this.#broadcastLocally(copy(), opts, offset);
    });
  }

  /**
   * Sends an encoded packet to local sockets.
   *
   * @param {EncodedPacket} encoded
   * @param {Targets} opts
   * @param {{ volatile?: boolean, compress?: boolean }} flags
   * @param {() => any} [original] the packet, where it was emitted here
   */
  #send(encoded, opts, flags, original) {
    if (canFanOut()) {
      fanOut(this, encoded, opts, flags, original);
    } else {
      const { rooms, except } = opts;
      const packet = encoded.decode(this.nsp);
      InMemoryAdapter.broadcast.call(this, packet, { rooms, except, flags });
    }
    if (this.#recovery?.isExpecting && !flags.volatile) {
      this.#recovery.keep({ encoded }, opts);
    }
  }

  /**
   * @param {any} packet
   * @param {Targets} opts
   * @param {string} [offset]
   */
  #withOffset(packet, opts, offset) {
    if (offset !== undefined) {
      // Private in its types only.
      /** @type {any} */ (this).addOffsetIfNecessary(packet, opts, offset);
    }
    return packet;
  }

  /**
   * @param {any} packet
   * @param {Targets} opts
   * @param {string} [offset]
   */
  #broadcastLocally(packet, opts, offset) {
    InMemoryAdapter.broadcast.call(this, this.#withOffset(packet, opts, offset), opts);
    if (this.#recovery?.isExpecting && !opts.flags?.volatile) {
      this.#recovery.keep({ packet }, opts);
    }
  }

  /**
   * @param {any} opts
   * @param {string[]} rooms
   */
  addSockets(opts, rooms) {
    const data = { rooms, opts: encodeTargets(opts) };
    return this.#publisher.writeThen(MessageType.SOCKETS_JOIN, data, opts, () =>
      InMemoryAdapter.addSockets.call(this, opts, rooms),
    );
  }

  /**
   * @param {any} opts
   * @param {string[]} rooms
   */
  delSockets(opts, rooms) {
    const data = { rooms, opts: encodeTargets(opts) };
    return this.#publisher.writeThen(MessageType.SOCKETS_LEAVE, data, opts, () =>
      InMemoryAdapter.delSockets.call(this, opts, rooms),
    );
  }

  /**
   * @param {any} opts
   * @param {boolean} close
   */
  disconnectSockets(opts, close) {
    const data = { close, opts: encodeTargets(opts) };
    return this.#publisher.writeThen(MessageType.DISCONNECT_SOCKETS, data, opts, () =>
      InMemoryAdapter.disconnectSockets.call(this, opts, close),
    );
  }

  // Requests

  /**
   * The changes of rooms that were made here before and are still on their way through the stream:
   * a request does not overtake them, neither on other nodes nor here.
   *
   * @returns {Promise<void> | undefined} nothing is under way
   */
  get ownChange() {
    return this.#publisher.ownChange;
  }

  /** @returns {Promise<number>} never rejects */
  serverCount() {
    return this.#requests.serverCount();
  }

  /**
   * @param {any} opts
   * @returns {Promise<any[]>}
   */
  fetchSockets(opts) {
    return this.#requests.fetchSockets(opts);
  }

  /** @returns {Promise<Set<any>>} the rooms of the namespace on all nodes */
  async allRooms() {
    return new Set((await this.#requests.overview("rooms", targetsOf())).flat());
  }

  /**
   * @param {Parameters<typeof targetsOf>[0]} [opts] which sockets; all by default
   * @returns {Promise<Set<any>>} their IDs, on all nodes
   */
  async socketIds(opts) {
    return new Set((await this.#requests.overview("ids", targetsOf(opts))).flat());
  }

  /**
   * @param {Parameters<typeof targetsOf>[0]} [opts] which sockets; all by default
   * @returns {Promise<number>} how many there are on all nodes
   */
  async countSockets(opts) {
    const counts = await this.#requests.overview("count", targetsOf(opts));
    return counts.map(Number).reduce((sum, count) => sum + count, 0);
  }

  /**
   * @param {any[]} packet
   * @returns {Promise<void>} resolved when the packet is on its way
   */
  async serverSideEmit(packet) {
    this.#requests.serverSideEmit(packet);
  }

  /**
   * @param {any} packet
   * @param {any} opts
   * @param {(clients: number) => void} clientCountCallback
   * @param {(...args: any[]) => void} ack
   */
  broadcastWithAck(packet, opts, clientCountCallback, ack) {
    this.#requests.broadcastWithAck(packet, opts, clientCountCallback, ack);
  }

  // Rooms: the engine is told which ones have a member here, and hands over what is for those

  /**
   * @param {string} id
   * @param {Set<string>} rooms
   */
  addAll(id, rooms) {
    if (this.sids.size === 0) {
      this.#namespace.setHasSockets(true);
      coalesceWrites(this.nsp.server.engine);
    }
    /** @type {Map<string, string | undefined>} room, up to where nothing to it came here */
    const created = new Map();
    for (const room of rooms) {
      if (!this.rooms.has(room)) {
        created.set(room, this.#tellRoom(room, true));
      }
    }
    super.addAll(id, rooms);
    this.#recovery?.join(id, rooms, created);
  }

  /**
   * @param {string} id
   * @param {string} room
   */
  del(id, room) {
    super.del(id, room);
    if (!this.rooms.has(room)) {
      this.#tellRoom(room, false);
    }
    this.#recovery?.leave(id, room);
  }

  /** @param {string} id */
  delAll(id) {
    const rooms = this.sids.get(id) ?? [];
    super.delAll(id);
    for (const room of rooms) {
      if (!this.rooms.has(room)) {
        this.#tellRoom(room, false);
      }
    }
    if (this.sids.size === 0) {
      this.#namespace.setHasSockets(false);
    }
    this.#recovery?.leaveAll(id);
  }

  /**
   * @param {unknown} room broadcasts to rooms that are no strings are handed over anyway
   * @param {boolean} hasMembers
   * @returns {string | undefined} the entry up to which broadcasts to a new room did not come here
   */
  #tellRoom(room, hasMembers) {
    if (typeof room === "string") {
      return this.#namespace.setRoom(room, hasMembers);
    }
  }

  // Connection state recovery

  /** @param {any} session */
  persistSession(session) {
    this.#recovery?.persist(session);
  }

  /**
   * Both parameters come from the client.
   *
   * @param {string} pid
   * @param {string} offset
   * @returns {Promise<any>}
   */
  async restoreSession(pid, offset) {
    if (this.#recovery === undefined) {
      throw new Error("session not restored: recovery is off");
    }
    return this.#recovery.restore(pid, offset);
  }

  /** For the metrics. */
  get engine() {
    return this.#engine;
  }

  /** Counters of this node and the state of this namespace's stream; see index.d.ts. */
  stats() {
    return this.#engine.stats(this.nsp.name);
  }

  /**
   * Resolves once everything that was published is out, or after a few seconds without Redis.
   *
   * @returns {Promise<void>} never rejects
   */
  close() {
    if (this.#closing === undefined) {
      this.#requests.close();
      this.#closing = this.#engine.close(this.nsp.name, this.#namespace.handle);
    }
    return this.#closing;
  }
}

module.exports = { RedisStreamsAdapter };
