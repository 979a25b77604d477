"use strict";
// The JS side of the Rust engine. It hands on the engine's events, keeps the callback of each
// publish and call, and keeps the process alive while one of them is open.

const { Calls } = require("./calls");
const { ClientBuffers } = require("./client-buffers");
const { decodeMsgpack } = require("./codec");
const { CredentialRequests } = require("./credential-requests");
const debug = require("./debug");
const diagnostics = require("./diagnostics");
const { CLOSED, EngineError, closedError, isRefusal } = require("./engine-error");
const { EngineSessions } = require("./engine-sessions");
const { BY_JS } = require("./events");
const { Gathered } = require("./gathered");
const { LateMessages } = require("./late-messages");
const { Namespace } = require("./namespace");
const { NativeEngine } = require("./native");
const { OpenNamespaces } = require("./open-namespaces");
const { Outage } = require("./outage");
const { retentionOf } = require("./retention");
const { Slices } = require("./slices");
const { Tickets } = require("./tickets");
const { clearInterval, setInterval } = require("./timers");
const { warn, warnOfHandler } = require("./warnings");

/**
 * @typedef {import("./native-binding").NativeEvent} NativeEvent
 * @typedef {import("./events").LocalPart} LocalPart
 * @typedef {import("./connection").ConnectionSettings} ConnectionSettings
 * @typedef {import("./options").Options} Options
 * @typedef {import("./native-binding").NativeSubscriberCount} SubscriberCount
 *
 * @typedef {import("./open-namespaces").NamespaceListener} NamespaceListener
 * @typedef {import("../index").Loss} Loss
 *
 * @typedef {object} Published what waits for the end of a publish
 * @property {(error: Error | null, id?: string, localPart?: LocalPart) => void} end called once per
 * publish, in the stream's order: with the entry's ID and what is left to do here, or with an error if
 * it was not written
 * @property {boolean} [wantsId] whether it needs the ID: a string that costs as much as the rest of the
 * end
 */

/**
 * @template {NativeEvent["kind"]} K
 * @typedef {Extract<NativeEvent, { kind: K }>} EventOf
 */

/**
 * @typedef {<K extends "done" | "subscribers" | "restored" | "owned">(
 *   kind: K,
 *   ask: (call: number) => void,
 * ) => Promise<EventOf<K>>} Call asks the engine for something that an event of this kind answers
 */

class Engine {
  #native;
  #slices;
  #server;
  /** Counters of what only JS sees; `stats` adds them to the engine's. */
  #counts = { malformed: 0, slowClients: 0 };
  #namespaces = new OpenNamespaces((nsp) => this.#native.streamIndex(nsp));
  /** @type {Tickets<Published>} */
  publishes = new Tickets();
  gathered = new Gathered((ticket, published) => this.#wait(ticket, published));
  #calls = new Calls();
  /** Undefined for an emitter. @type {LateMessages | undefined} */
  #late;
  /** The requests of all namespaces that wait for answers, by their IDs. @type {Map<string, any>} */
  openRequests = new Map();
  #queueIsFull = false;
  #outage = new Outage();
  /** Sessions of connection state recovery. */
  sessions;
  #credentials;
  /** Undefined without a limit. @type {ClientBuffers | undefined} */
  clientBuffers;
  /** A timer that does nothing. While it is referenced, the process stays alive. */
  #keepAlive = setInterval(() => {}, 2 ** 30).unref();
  /** True when the native engine has ended. It then answers no more, and its counters stay. */
  #ended = false;
  /** Set when the last namespace, or an emitter, is closed. @type {Promise<unknown> | undefined} */
  #ending;

  /**
   * @param {ConnectionSettings} settings
   * @param {Options} options
   * @param {{ role?: "node" | "emitter", server?: any, given?: any }} [owner] the role (an emitter only
   *   writes), the Socket.IO server that this engine works for, and the options as the user gave them
   */
  constructor(settings, options, { role = "node", server, given = options } = {}) {
    this.#server = server;
    const askCredentials = settings.credentials !== undefined;
    this.#native = new NativeEngine(
      JSON.stringify({ ...settings, askCredentials }),
      JSON.stringify({ ...options, ...retentionOf(given, server), role }),
      Boolean(debug.enabled),
      () => this.#slices.take(),
    );
    this.#slices = new Slices(this.#native, this.#handlers(), () => this.#mayExit());
    this.sessions = new EngineSessions(this.#native, (kind, ask) => this.#call(kind, ask));
    this.#credentials = new CredentialRequests(this.#native, settings);
    if (role === "node") {
      const start = () => new Engine(settings, options, { role: "emitter", given });
      this.#late = new LateMessages(start, options.publishQueueBytes);
    }
    if (options.clientBufferBytes > 0) {
      this.clientBuffers = new ClientBuffers(options.clientBufferBytes, (slow) => {
        this.#counts.slowClients++;
        diagnostics.publishSlowClient(() => ({ ...this.#origin, ...slow }));
      });
    }
  }

  get ended() {
    return this.#ended;
  }

  /** True from the moment at which the last namespace, or an emitter, was closed. */
  get closed() {
    return this.#ending !== undefined;
  }

  /** What the slices of events write to clients. */
  get writes() {
    return this.#slices.writes;
  }

  /** Does the writes to clients that wait for the end of a slice. */
  writeNow() {
    this.#slices.writeNow();
  }

  /** Names this node, 16 hex digits; the same in all its namespaces. */
  get uid() {
    return this.#native.uid;
  }

  /**
   * @param {string} nsp
   * @param {boolean} recovery whether the namespace has connection state recovery
   * @param {boolean} encode whether the engine encodes its packets for clients
   * @param {NamespaceListener} listener
   * @param {Namespace} [before] of the adapter before: it goes on, and no event is left out
   * @returns {Namespace}
   */
  open(nsp, recovery, encode, listener, before) {
    const namespace =
      before?.handOn() ?? new Namespace(this.#native.open(nsp, recovery, encode), nsp);
    this.#namespaces.add(namespace.handle, { nsp, listener });
    return namespace;
  }

  /**
   * Opens a namespace for requests, unless another adapter has it open: the answers come to that one.
   *
   * @param {string} nsp
   * @param {NamespaceListener} listener
   * @returns {() => void} closes it
   */
  reopen(nsp, listener) {
    if (this.#namespaces.has(nsp)) {
      return () => {};
    }
    const namespace = this.open(nsp, false, false, listener);
    return () => this.close(namespace);
  }

  /**
   * @param {Namespace} namespace
   * @param {string} room
   * @param {boolean} hasMembers
   * @returns {string | undefined} the entry up to which broadcasts to the room did not come here
   */
  setRoom(namespace, room, hasMembers) {
    return this.#slices.turn.setRoom(namespace, room, hasMembers);
  }

  /**
   * A namespace for an emitter, which receives nothing. It does not have to be closed.
   *
   * @param {string} nsp
   */
  openToWrite(nsp) {
    return new Namespace(this.#native.open(nsp, false, false), nsp);
  }

  /**
   * Resolves once everything that the namespace published is written, or at once if another adapter has
   * it. Closing the last namespace ends the engine.
   *
   * @param {Namespace} namespace
   */
  async close({ name, handle, isHandedOn }) {
    if (isHandedOn) {
      return;
    }
    this.gathered.flush();
    this.#namespaces.delete(handle);
    if (this.#namespaces.size > 0) {
      // The engine may end before it has answered.
      const ask = (/** @type {number} */ call) => this.#native.closeNamespace(call, name, handle);
      await this.#call("done", ask).catch(() => {});
      return;
    }
    await this.end();
  }

  /** Resolves once everything is written or given up, and all connections are closed. */
  async end() {
    this.gathered.flush();
    this.#ending ??= this.#call("done", (call) => this.#native.close(call));
    await this.#ending;
    this.#ended = true;
    this.#credentials.stop();
    this.#outage.stop();
    this.#native.release();
    this.#calls.rejectAll(closedError("the adapter is closed"));
    clearInterval(this.#keepAlive);
  }

  /**
   * Throws only when the data cannot be encoded.
   *
   * @param {Namespace} namespace
   * @param {number} type
   * @param {import("./codec").EncodedData} data
   * @param {Published} published
   */
  publish(namespace, type, data, published) {
    if (!this.closed && this.gathered.take(namespace, type, data, published)) {
      return;
    }
    let ticket;
    try {
      ticket = namespace.publish(type, data);
    } catch (error) {
      if (!isRefusal(error)) {
        throw error;
      }
      if (error.code === CLOSED && this.#late !== undefined) {
        return this.#late.publish(this.#ending, namespace.name, type, data, published);
      }
      this.#warnOfFullQueue(error);
      return published.end(error);
    }
    this.#wait(ticket, published);
  }

  /**
   * @param {number} ticket
   * @param {Published} published
   */
  #wait(ticket, published) {
    if (this.publishes.size === 0) {
      this.#keepAlive.ref();
    }
    this.publishes.add(ticket, published);
  }

  /**
   * Publishes a request, and counts the nodes that get it.
   *
   * @param {string} nsp
   * @param {Uint8Array} payload msgpack of a whole message, for the other nodes
   * @returns {Promise<SubscriberCount>}
   * @throws {EngineError} if the request was not taken
   */
  requestAndCount(nsp, payload) {
    const ask = (/** @type {number} */ call) => this.request(nsp, payload, call);
    return this.#call("subscribers", ask).then(({ subscribers }) => subscribers);
  }

  /**
   * @param {string} nsp
   * @param {Uint8Array} payload msgpack of a whole message, for the other nodes
   * @param {number} [call] answered by the number of nodes
   */
  request(nsp, payload, call) {
    // The request goes behind what is in the queue.
    this.gathered.flush();
    try {
      this.#native.request(nsp, payload, call);
    } catch (error) {
      this.#warnOfFullQueue(/** @type {EngineError} */ (error));
      throw error;
    }
  }

  /**
   * @param {string} nsp
   * @param {string} uid
   * @param {Uint8Array} payload msgpack of a whole message, for one node
   */
  respond(nsp, uid, payload) {
    this.gathered.flush();
    this.#native.respond(nsp, uid, payload);
  }

  /**
   * @param {string} nsp
   * @param {string[]} asked the uids for which the count reports whether they listen
   */
  async countSubscribers(nsp, asked) {
    const { subscribers } = await this.#call("subscribers", (call) =>
      this.#native.countSubscribers(call, nsp, asked),
    );
    return subscribers;
  }

  /**
   * @param {string} nsp
   * @returns {import("../index").AdapterStats}
   */
  stats(nsp) {
    this.gathered.flush();
    const { malformed, slowClients } = this.#counts;
    const stats = this.#native.stats(nsp);
    stats.malformed += malformed;
    stats.restoresRefused += this.sessions.refused;
    return /** @type {any} */ (Object.assign(stats, { slowClients }));
  }

  /** The counters, and the state of each stream that has an open namespace. */
  statsOfStreams() {
    const byStream = new Map();
    for (const { nsp } of this.#namespaces.ofStream()) {
      const index = this.#native.streamIndex(nsp);
      if (!byStream.has(index)) {
        byStream.set(index, this.stats(nsp));
      }
    }
    return [...byStream.values()];
  }

  /**
   * Counts and reports a message that JS could not decode.
   *
   * @param {string} what
   * @param {unknown} why
   */
  skipped(what, why) {
    this.#counts.malformed++;
    debug("%s skipped: %s", what, why);
  }

  /**
   * @template {"done" | "subscribers" | "restored" | "owned"} K
   * @param {K} _kind the kind of event that answers the call
   * @param {(call: number) => void} ask
   * @returns {Promise<EventOf<K>>}
   */
  #call(_kind, ask) {
    if (this.#ended) {
      return Promise.reject(closedError("the adapter is closed"));
    }
    const answered = this.#calls.begin(ask);
    this.#keepAlive.ref();
    return answered;
  }

  /** @returns {import("./events").Handlers} */
  #handlers() {
    return {
      broadcast: (broadcast) =>
        this.#namespaces.get(broadcast.namespace)?.listener.onBroadcast(broadcast),
      published: (ticket, ms, seq, localPart) => {
        const published = this.#takePublished(ticket);
        published?.end(null, published.wantsId ? `${ms}-${seq}` : undefined, localPart);
      },
      message: (namespace, payload) => this.#namespaces.get(namespace)?.listener.onPayload(payload),
      rare: (event) => this.#handle(event),
      thrown: (error) =>
        warnOfHandler("a handler has thrown while a message of the cluster was delivered", error),
    };
  }

  /** Lets the process end if nothing is open. */
  #mayExit() {
    if (this.publishes.size === 0 && this.#calls.size === 0) {
      this.#keepAlive.unref();
    }
  }

  /** @param {NativeEvent} event */
  #handle(event) {
    switch (event.kind) {
      case "entry":
        return this.#namespaces.get(event.namespace)?.listener.onEntry(event);
      case "published":
        return this.#onPublished(event);
      case "done":
      case "subscribers":
      case "restored":
      case "owned":
        return this.#calls.take(event.call)?.resolve(event);
      case "failed":
        return this.#calls.take(event.call)?.reject(new EngineError(event.error));
      case "lost":
        return this.#onLost(event);
      case "members":
        return this.#onMembersChanged(event);
      case "sessionTaken":
        return this.#namespaces.get(event.namespace)?.listener.onSessionTaken(event);
      case "recordsInDoubt":
        return this.#namespaces.tellAll((listener) => listener.onReconnected());
      case "sessionExpired":
        return this.#onSessionExpired(event);
      case "reconnected":
        return this.#onReconnected(event);
      case "credentials":
        return this.#credentials.provide(event.request);
      case "warning":
        if (event.isOutage) {
          this.#outage.begin();
        }
        return warn(event.error.code, event.error.message);
      case "outageOver":
        return this.#outage.end();
      case "debug":
        return debug("%s", event.line);
    }
  }

  /** @param {EventOf<"published">} event */
  #onPublished({ ticket, id, error }) {
    const published = this.#takePublished(ticket, error);
    published?.end(error ? new EngineError(error) : null, id, BY_JS);
  }

  /**
   * @param {number} ticket
   * @param {import("./native-binding").NativeError} [error]
   */
  #takePublished(ticket, error) {
    this.#queueIsFull &&= error !== undefined;
    return this.publishes.take(ticket);
  }

  /** @param {EventOf<"lost">} event */
  #onLost({ stream, reason, entries }) {
    const loss = /** @type {Loss} */ ({ reason, entries });
    this.sessions.forgetPackets();
    const affected = this.#namespaces.ofStream(stream);
    diagnostics.publishLoss(() => ({
      ...this.#origin,
      namespaces: affected.map(({ nsp }) => nsp),
      ...loss,
    }));
    affected.forEach(({ listener }) => listener.onLost(loss));
  }

  /** @param {EventOf<"sessionExpired">} event */
  #onSessionExpired({ namespace, session }) {
    const open = this.#namespaces.get(namespace);
    if (open) {
      const { sid, rooms, data } = /** @type {any} */ (decodeMsgpack(session));
      const expired = { sid, rooms, data };
      const { nsp, listener } = open;
      diagnostics.publishExpired(() => ({ ...this.#origin, namespace: nsp, ...expired }));
      listener.onSessionExpired(expired);
    }
  }

  /** @param {EventOf<"reconnected">} event */
  #onReconnected({ stream, connection, away }) {
    diagnostics.publishReconnect(() => ({
      ...this.#origin,
      namespaces: this.#namespaces.ofStream(stream).map(({ nsp }) => nsp),
      connection: /** @type {any} */ (connection),
      awayMs: away,
    }));
    if (connection === "pubsub") {
      this.#namespaces.tellAll((listener) => listener.onReconnected());
    }
  }

  /** @param {EventOf<"members">} event */
  #onMembersChanged({ namespace, came, left, silent }) {
    const nsp = namespace === undefined ? undefined : this.#namespaces.get(namespace)?.nsp;
    const where = { ...this.#origin, ...(nsp !== undefined && { namespace: nsp }) };
    diagnostics.publishChanges(where, { came, left, silent });
    this.#namespaces.tellAll((listener) => listener.onMembersChanged());
  }

  /** The fields that every message on a diagnostics channel has. */
  get #origin() {
    return { server: this.#server, uid: this.uid };
  }

  /** @param {EngineError} error */
  #warnOfFullQueue(error) {
    if (error.code === "ERR_SIO_REDIS_QUEUE_FULL" && !this.#queueIsFull) {
      this.#queueIsFull = true;
      warn(error.code, error.message);
    }
  }
}

module.exports = { Engine };
