"use strict";
// The adapter of one namespace. It turns socket.io's calls into messages of the cluster, and
// messages of the cluster into calls of the in-memory adapter.

const { ClusterAdapter, MessageType } = require("socket.io-adapter");

const { coalesceWrites } = require("./coalesce");
const { encodeMsgpack, decodeMsgpack, encodedSize, decodeData } = require("./codec");
const debug = require("./debug");
const { canBeSent, hasRecipients } = require("./fan-out");
const { HAND_OVER, HANDED_OVER } = require("./hand-over");
const { Interest } = require("./interest");
const { isWellFormed } = require("./message-shape");
const { giveBeforeEnd, watchDisconnect } = require("./leaving");
const { emitToAll } = require("./listeners");
const { LocalDelivery } = require("./local-delivery");
const { OVERVIEW, OVERVIEW_RESPONSE, overviewAnswer, targetsOf } = require("./overview");
const { Publisher } = require("./publisher");
const { Recovery } = require("./recovery");
const { Requests } = require("./requests");
const { encodeResponse } = require("./responses");
const { change, isChange } = require("./room-changes");
const { closeRestWithServer, closeWithServer, warnIfAttachedAgain } = require("./server-close");
const { canEncode } = require("./stock");
const { takeOver } = require("./take-over");
const { decodeTargets, encodeTargets } = require("./targets");

/**
 * @typedef {import("./engine").Engine} Engine
 * @typedef {import("./options").Options} Options
 * @typedef {import("./events").NativeEntry} NativeEntry
 * @typedef {import("./targets").Targets} Targets
 */

/** @param {any} adapter */
const isOurs = (adapter) => adapter instanceof RedisStreamsAdapter;

class RedisStreamsAdapter extends ClusterAdapter {
  #engine;
  #options;
  /** @type {import("./namespace").Namespace} */
  #namespace;
  /** @type {import("./open-namespaces").NamespaceListener} */
  #listener;
  /** @type {Promise<void> | undefined} */
  #closing;
  #requests;
  /** @type {Recovery | undefined} */
  #recovery;
  #publisher;
  #interest;
  #local;

  /**
   * @param {any} nsp
   * @param {Engine} engine
   * @param {Options} options
   */
  constructor(nsp, engine, options) {
    super(nsp);
    this.#engine = engine;
    this.#options = options;
    // All namespaces of a node have one uid, so that nodes recognize each other in every namespace.
    // The field is read-only only in the types.
    /** @type {any} */ (this).uid = engine.uid;
    this.#requests = new Requests(this, engine, options.requestsVia);
    // What is under way goes on, if only the adapter is another one.
    const previous = isOurs(nsp.adapter) && nsp.adapter.#isOpenIn(engine) ? nsp.adapter : undefined;
    if (nsp.server.opts.connectionStateRecovery) {
      const recovery = (previous && previous.#recovery) ?? new Recovery(this, engine, options);
      recovery.adapter = this;
      this.#recovery = recovery;
    }
    this.#local = new LocalDelivery(this, engine.writes, this.#recovery);
    this.#listener = {
      onEntry: (event) => this.#onEntry(event),
      onBroadcast: (event) => this.#onBroadcast(event),
      onPayload: (payload) => this.#onPayload(payload),
      onMembersChanged: () => this.#requests.refresh(),
      onLost: (loss) => this.#onLost(loss),
      onReconnected: () => this.#recovery?.refresh(),
      onSessionTaken: (event) => this.#recovery?.onTaken(event),
      onSessionExpired: (session) => emitToAll(this, "sessionExpired", session),
    };
    const hasRecovery = this.#recovery !== undefined;
    const before = previous && previous.#namespace;
    this.#namespace = engine.open(nsp.name, hasRecovery, canEncode(nsp), this.#listener, before);
    this.#interest = new Interest(engine, this.#namespace);
    const context = {
      nsp: nsp.name,
      count: 0,
      wantsOffsets: hasRecovery,
      onReached: (/** @type {string | undefined} */ offset) => this.#reach(offset),
      hasRecipients: (/** @type {Targets} */ opts) => hasRecipients(this, opts),
    };
    this.#publisher = new Publisher(engine, this.#namespace, context, {
      onlyPlaintext: options.onlyPlaintext,
      keepsDates: !canEncode(nsp),
    });
    giveBeforeEnd(this, (socket) => this.#publisher.giveTo(socket));
    // Not in init(): Socket.IO calls it since 4.8.2.
    this.#recovery?.prepare();
    closeWithServer(nsp.server, isOurs);
    if (nsp.adapter !== undefined) {
      takeOver(this, nsp.adapter);
    }
  }

  /** @param {Engine} engine */
  #isOpenIn(engine) {
    return this.#engine === engine && this.#closing === undefined;
  }

  // Messages from other nodes

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
    const offset = this.#recovery && broadcast.id;
    this.#reach(offset);
    this.#local.sendEncoded(broadcast.encoded, broadcast, broadcast, offset);
  }

  /** @param {import("../index").Loss} loss */
  #onLost(loss) {
    debug("entries lost in %s: %o", this.nsp.name, loss);
    this.#recovery?.refresh();
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
      // The data is nested too deeply for the stack. Its sender could not send it to its own clients.
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
    const { uid, nsp, type, data } = message;
    if (uid === this.uid) {
      return;
    }
    if (type === MessageType.BROADCAST && data.requestId === undefined) {
      const opts = decodeTargets(data.opts);
      return this.#local.sendReceived(data.packet, opts, offset);
    }
    if (isChange(type) && nsp === this.nsp.name) {
      return change(this, type, data, decodeTargets(data.opts));
    }
    if (type === OVERVIEW) {
      return this.publishResponse(uid, overviewAnswer(this, data));
    }
    if (type === OVERVIEW_RESPONSE) {
      return this.onResponse(message);
    }
    if (type === HAND_OVER) {
      return void this.#recovery?.onHandOver(message);
    }
    if (type === HANDED_OVER) {
      return this.#recovery?.onHandedOver(message);
    }
    if (type === MessageType.SERVER_SIDE_EMIT) {
      // Its handlers may end connections or the process.
      this.#engine.writeNow();
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

  // Messages to other nodes

  /**
   * @param {any} message
   * @returns {Promise<any>} the entry's ID; empty if the message travels over PUB/SUB
   */
  doPublish(message) {
    if (this.#requests.isSent(message)) {
      return this.#requests.send(encodeMsgpack(message), message.data.requestId !== undefined);
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
    return this.#publisher.broadcastThen(packet, opts, this.#local.partOf(packet, opts));
  }

  /**
   * @param {any} opts
   * @param {string[]} rooms
   */
  addSockets(opts, rooms) {
    return this.#change(MessageType.SOCKETS_JOIN, { rooms }, opts);
  }

  /**
   * @param {any} opts
   * @param {string[]} rooms
   */
  delSockets(opts, rooms) {
    return this.#change(MessageType.SOCKETS_LEAVE, { rooms }, opts);
  }

  /**
   * @param {any} opts
   * @param {boolean} close
   */
  disconnectSockets(opts, close) {
    return this.#change(MessageType.DISCONNECT_SOCKETS, { close }, opts);
  }

  /**
   * @param {number} type
   * @param {any} data
   * @param {Targets} opts
   */
  #change(type, data, opts) {
    const message = { ...data, opts: encodeTargets(opts) };
    return this.#publisher.writeThen(type, message, opts, (_offset, _part, leaving) =>
      leaving ? leaving.change(type, data) : change(this, type, data, opts),
    );
  }

  // Requests

  /** A request must not overtake what it has published and not yet applied, on other nodes nor here. */
  get publisher() {
    return this.#publisher;
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
   * Throws what cannot be encoded, where the user can catch it: nobody handles the promise.
   *
   * @param {any[]} packet
   * @returns {Promise<void>} resolved when the packet is on its way
   */
  serverSideEmit(packet) {
    this.#requests.serverSideEmit(packet);
    return Promise.resolve();
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

  // Rooms: the adapter tells the engine which rooms have members here, and gets their broadcasts

  /**
   * @param {string} id
   * @param {Set<string>} rooms
   */
  addAll(id, rooms) {
    if (this.sids.size === 0) {
      this.#namespace.setHasSockets(true);
      coalesceWrites(this.nsp.server.engine);
      if (this.#closing) {
        warnIfAttachedAgain(this);
      }
    }
    const socket = this.nsp.sockets.get(id);
    // A recovered socket gets its rooms before the namespace has it.
    if (socket !== undefined) {
      this.#engine.clientBuffers?.watch(socket);
      watchDisconnect(socket);
      this.#publisher.connect(socket);
    }
    // Only recovery needs it, and a server has many rooms.
    const created = this.#recovery && new Map();
    this.#interest.add(this.rooms, rooms, created);
    super.addAll(id, rooms);
    if (created) {
      this.#recovery?.join(id, rooms, created);
    }
  }

  /**
   * @param {string} id
   * @param {any} rooms one, or a set of them, as socket.io-adapter takes after 2.5
   */
  del(id, rooms) {
    super.del(id, rooms);
    const left = rooms instanceof Set ? rooms : [rooms];
    this.#interest.remove(this.rooms, left);
    for (const room of left) {
      this.#recovery?.leave(id, room);
    }
  }

  /** @param {string} id */
  delAll(id) {
    const rooms = this.sids.get(id) ?? [];
    super.delAll(id);
    this.#interest.remove(this.rooms, rooms);
    if (this.sids.size === 0) {
      this.#namespace.setHasSockets(false);
    }
    this.#recovery?.leaveAll(id);
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

  /** lib/metrics/source.js reads it. */
  get engine() {
    return this.#engine;
  }

  /** Counters of this node and the state of this namespace's stream; see index.d.ts. */
  stats() {
    return this.#engine.stats(this.nsp.name);
  }

  /** Opens the namespace again for requests after `close()`. @returns {() => void} closes it again */
  reopen() {
    return this.#engine.reopen(this.nsp.name, this.#listener);
  }

  /**
   * Called before the whole server closes. With recovery, clients get what still waits from the server to
   * which they go.
   */
  deliverWaiting() {
    if (this.#recovery === undefined) {
      this.#publisher.deliverWaiting();
    }
  }

  /**
   * Resolves once the requests of this node are answered and everything that was published is written,
   * or after a few seconds without Redis.
   *
   * @returns {Promise<void>} never rejects
   */
  close() {
    if (this.#closing === undefined) {
      closeRestWithServer(this, isOurs);
      const { isHandedOn } = this.#namespace;
      const over = [this.#requests.close(), isHandedOn ? undefined : this.#recovery?.close()];
      const end = () => this.#engine.close(this.#namespace);
      this.#closing = Promise.all(over).then(end);
    }
    return this.#closing;
  }
}

module.exports = { RedisStreamsAdapter };
