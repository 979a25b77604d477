"use strict";
// Requests to the other nodes: fetchSockets, serverSideEmit and broadcasts with acknowledgements. A
// request ends when all living nodes have answered.

const { ClusterAdapter, MessageType } = require("socket.io-adapter");

const { OF_SOCKETS, OVERVIEW, localOverview } = require("./overview");
const { encodeTargets } = require("./targets");
const { PendingRequests } = require("./pending-requests");
const { clearTimeout, nextTick, now, setTimeout } = require("./timers");
const { warnOfHandler } = require("./warnings");

/** The adapter that does the local part; ClusterAdapter's own methods publish. */
const InMemoryAdapter = Object.getPrototypeOf(ClusterAdapter.prototype);

/** How long a request waits for its answers unless told otherwise, ms. */
const DEFAULT_TIMEOUT = 5_000;
/** How long a request waits for earlier changes of rooms, ms. */
const ORDER_TIMEOUT = 1_000;
/** How long `serverCount` waits for a count while Redis is unreachable, ms. */
const COUNT_TIMEOUT = 5_000;
/** How long an adapter that is closed waits for the answers to its requests, ms. */
const CLOSING = 5_000;

/**
 * @typedef {import("./targets").Targets} Targets
 *
 * @typedef {object} Answers what a request has collected; also what `adapter.requests` holds
 * @property {number} type
 * @property {number} current
 * @property {number} expected
 * @property {any[]} responses
 * @property {(...args: any[]) => void} resolve
 * @property {NodeJS.Timeout} timeout
 * @property {(reason: string) => void} giveUp
 */

/** Numbers the requests of this process: all its namespaces, and engines, use channels of their own or
 * differ in the uid. */
let nextRequest = 0;

/** Messages that are always requests. */
const REQUESTS = new Set([MessageType.SERVER_SIDE_EMIT, MessageType.FETCH_SOCKETS, OVERVIEW]);

/** @param {any} message */
const isRequest = ({ type, data }) =>
  REQUESTS.has(type) || (type === MessageType.BROADCAST && data.requestId !== undefined);

class Requests {
  #adapter;
  #engine;
  #requestsVia;
  #pending;
  #closed = false;
  /** True from a broadcast with acknowledgements to this node only until socket.io asks for the number
   * of servers from which to expect some. */
  #onlyThisNode = false;

  /**
   * @param {any} adapter its `requests` and `ackRequests` hold the open requests, as test suites
   * for upstream expect
   * @param {import("./engine").Engine} engine
   * @param {import("./options").Options["requestsVia"]} requestsVia
   */
  constructor(adapter, engine, requestsVia) {
    this.#adapter = adapter;
    this.#engine = engine;
    this.#requestsVia = requestsVia;
    this.#pending = new PendingRequests(
      (asked) => engine.countSubscribers(adapter.nsp.name, asked),
      engine.openRequests,
    );
  }

  /** Begins with this node's uid, because the engine hands over only answers to its own requests. */
  #nextId() {
    return this.#adapter.uid + (nextRequest++).toString(16).padStart(16, "0");
  }

  /**
   * Whether a message travels over PUB/SUB. An engine that has ended does not: what needs no answer is
   * written to the stream then, where other nodes accept it, too.
   *
   * @param {any} message
   */
  isSent(message) {
    if (this.#requestsVia !== "pubsub" || !isRequest(message)) {
      return false;
    }
    return !this.#engine.closed || message.data.requestId !== undefined;
  }

  /**
   * Sends a request over PUB/SUB.
   *
   * @param {Uint8Array} payload msgpack of a whole message
   * @param {boolean} isAnswered whether the other nodes answer it
   * @returns {Promise<"">} rejects if it was not taken
   */
  async send(payload, isAnswered) {
    const nsp = this.#adapter.nsp.name;
    if (isAnswered) {
      this.#pending.useCount(this.#engine.requestAndCount(nsp, payload));
    } else {
      this.#engine.request(nsp, payload);
    }
    return "";
  }

  /** Another node joined or left. */
  refresh() {
    this.#pending.refresh();
  }

  /**
   * The number of servers, this one included. Never rejects, because socket.io handles no rejection:
   * while Redis is unreachable, it resolves with the last known number.
   *
   * @returns {Promise<number>}
   */
  async serverCount() {
    if (this.#onlyThisNode || this.#isAlone()) {
      this.#onlyThisNode = false;
      return 1;
    }
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    /** @type {Promise<undefined>} */
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, COUNT_TIMEOUT, undefined).unref();
    });
    // Not `lastCount` unless there is no other: another request may have set it meanwhile.
    const taken = await Promise.race([this.#pending.count(), late]).catch(() => {});
    clearTimeout(timer);
    const { known, others } = taken ?? this.#pending.lastCount;
    return 1 + known.length + others;
  }

  /** @param {any} response */
  onResponse(response) {
    this.#pending.answer(response.data.requestId, response.uid, response);
  }

  /**
   * @param {Targets} opts
   * @returns {Promise<any[]>} local sockets, then details of remote ones
   */
  async fetchSockets(opts) {
    const local = this.#whenOrdered(() => InMemoryAdapter.fetchSockets.call(this.#adapter, opts));
    if (opts.flags?.local || this.#isAlone()) {
      return local;
    }
    /** @type {Promise<any[]>} */
    const remote = new Promise((resolve, reject) => {
      this.#collect({
        type: MessageType.FETCH_SOCKETS,
        data: { opts: encodeTargets(opts) },
        timeout: opts.flags?.timeout || DEFAULT_TIMEOUT,
        responses: [],
        pick: (data) => data.sockets,
        resolve,
        fail: (error, responses) => reject(Object.assign(error, { responses })),
      });
    });
    return (await Promise.all([local, remote])).flat();
  }

  /**
   * Asks nodes of this package for names or a number, in one round trip. If the count of the nodes, which
   * comes with the request, shows that others listen, too, all nodes are asked for their sockets.
   *
   * @param {import("./overview").Subject} subject
   * @param {Targets} opts
   * @returns {Promise<import("./overview").Overview[]>} one of each node, or one of all together
   */
  async overview(subject, opts) {
    const isLocal = opts.flags?.local || this.#isAlone();
    if (!isLocal && this.#requestsVia === "stream") {
      return [OF_SOCKETS[subject](await this.fetchSockets(opts))];
    }
    const local = this.#whenOrdered(() => localOverview(this.#adapter, subject, opts));
    if (isLocal) {
      return [await local];
    }
    const timeout = opts.flags?.timeout || DEFAULT_TIMEOUT;
    const deadline = now() + timeout;
    /** @type {Promise<import("./overview").Overview[] | undefined>} */
    const remote = new Promise((resolve, reject) => {
      this.#collect({
        type: OVERVIEW,
        data: { opts: encodeTargets(opts), subject },
        timeout,
        responses: [],
        pick: (data) => [data.overview],
        onOthers: () => resolve(undefined),
        resolve,
        fail: (error, responses) => reject(Object.assign(error, { responses })),
      });
    });
    const [own, others] = await Promise.all([local, remote]);
    if (others !== undefined) {
      return [own, ...others];
    }
    const flags = { ...opts.flags, timeout: Math.max(1, deadline - now()) };
    return [OF_SOCKETS[subject](await this.fetchSockets({ ...opts, flags }))];
  }

  /**
   * Does the local part of a request after the changes of rooms that were made before it.
   *
   * @param {() => any} work
   * @param {Promise<void> | undefined} [before] what to wait for
   * @param {number} [patience] for how long, ms
   * @returns {Promise<any> | undefined} resolves with the result of the work; undefined if the work was
   * done at once and has no result
   */
  #whenOrdered(work, before = this.#adapter.publisher.ownChange, patience = ORDER_TIMEOUT) {
    if (before === undefined) {
      return work();
    }
    const late = new Promise((resolve) => setTimeout(resolve, patience).unref());
    return Promise.race([before, late]).then(work);
  }

  /** @param {any[]} packet event, arguments, and a callback if the caller wants answers */
  serverSideEmit(packet) {
    const type = MessageType.SERVER_SIDE_EMIT;
    const ack = packet[packet.length - 1];
    if (typeof ack !== "function") {
      this.#adapter.publish({ type, data: { packet } });
      return;
    }
    packet.pop();
    if (this.#isAlone()) {
      return ack(null, []);
    }
    this.#collect({
      type,
      data: { packet },
      timeout: DEFAULT_TIMEOUT,
      responses: [],
      pick: (data) => [data.packet],
      resolve: (responses) => ack(null, responses),
      fail: (error, responses) => ack(error, responses),
    });
  }

  /**
   * Publishes a request and collects one answer from each node.
   *
   * @param {object} request
   * @param {number} request.type
   * @param {object} request.data
   * @param {number} request.timeout ms
   * @param {any[]} request.responses the list to which answers are added
   * @param {(data: any) => any[]} request.pick takes the responses out of an answer
   * @param {() => void} [request.onOthers] if only nodes of this package understand the request: called
   * instead of `resolve` or `fail` if others listen
   * @param {(responses: any[]) => void} request.resolve
   * @param {(error: Error, responses: any[]) => void} request.fail
   */
  #collect({ type, data, timeout, responses, pick, onOthers, resolve, fail }) {
    const requestId = this.#nextId();
    const end = () => {
      clearTimeout(answers.timeout);
      this.#adapter.requests.delete(requestId);
      this.#pending.close(requestId);
    };
    /** @param {Error} error */
    const endWith = (error) => {
      end();
      try {
        fail(error, responses);
      } catch (thrown) {
        warnOfHandler("a callback for the answers of other servers has thrown", thrown);
      }
    };
    /** @param {string} reason */
    const giveUp = (reason) => {
      const { current, expected } = answers;
      endWith(new Error(`${reason}: only ${current} responses received out of ${expected}`));
    };
    /** @type {Answers} */
    const answers = {
      type,
      current: 0,
      expected: 0,
      responses,
      resolve,
      giveUp,
      timeout: setTimeout(giveUp, timeout, "timeout reached"),
    };
    try {
      const published = this.#adapter.publishAndReturnOffset({
        type,
        data: { ...data, requestId },
      });
      // Nobody gets a request that was refused, for example by a full queue.
      published.catch(
        (/** @type {Error} */ error) => this.#adapter.requests.has(requestId) && endWith(error),
      );
    } catch (error) {
      clearTimeout(answers.timeout);
      throw error;
    }
    this.#adapter.requests.set(requestId, answers);
    this.#pending.open(requestId, {
      begin: ({ known, others }) => {
        answers.expected = known.length + others;
        if (onOthers && others > 0) {
          end();
          onOthers();
        }
      },
      accept: (_uid, response) => {
        answers.current++;
        responses.push(...pick(response.data));
        return true;
      },
      leave: () => {},
      complete: () => {
        end();
        resolve(responses);
      },
    });
  }

  /**
   * @param {any} packet
   * @param {Targets} opts
   * @param {(clients: number) => void} clientCountCallback called once per server
   * @param {(...args: any[]) => void} ack called once per client that acknowledges
   */
  broadcastWithAck(packet, opts, clientCountCallback, ack) {
    // While Redis is away, local clients can still answer within the caller's time-out.
    const patience = Math.min(ORDER_TIMEOUT, (opts.flags?.timeout ?? DEFAULT_TIMEOUT) / 2);
    const send = () => {
      const callbacks = [clientCountCallback, ack];
      InMemoryAdapter.broadcastWithAck.call(this.#adapter, packet, opts, ...callbacks);
    };
    const local = (/** @type {Promise<void> | undefined} */ before) =>
      this.#whenOrdered(send, before, patience)?.catch((error) =>
        warnOfHandler("a packet could not be sent to local clients", error),
      );
    if (opts.flags?.local || this.#isAlone()) {
      this.#onlyThisNode = true;
      nextTick(() => (this.#onlyThisNode = false));
      local(this.#adapter.publisher.ownChange);
      return;
    }
    this.#onlyThisNode = false;
    const requestId = this.#nextId();
    this.#adapter.publish({
      type: MessageType.BROADCAST,
      data: { packet, requestId, opts: encodeTargets(opts) },
    });
    const end = () => {
      clearTimeout(timer);
      this.#adapter.ackRequests.delete(requestId);
      this.#pending.close(requestId);
    };
    const timer = setTimeout(end, opts.flags?.timeout);
    this.#adapter.ackRequests.set(requestId, { clientCountCallback, ack });
    this.#pending.open(requestId, new AckWaiter(clientCountCallback, ack, end));
    // Clients of other nodes get it behind what this node has emitted before, and so do those here.
    local(this.#adapter.publisher.lastOwn);
  }

  /**
   * Waits until the open requests have ended, within a time limit, and gives up the rest. Handlers of a
   * closing server or namespace make requests, too ("is the room empty now?"): Socket.IO closes the
   * adapter before it calls the `disconnect` handlers of an empty namespace, and nobody there may catch
   * an error.
   *
   * @returns {Promise<void>}
   */
  async close() {
    await this.#pending.idle(CLOSING);
    this.#closed = true;
    this.#adapter.requests.forEach((/** @type {Answers} */ answers) => {
      answers.giveUp("the adapter was closed");
    });
  }

  /**
   * Whether no other node can be asked, since the server has closed. If only the adapter was closed (that
   * of an empty namespace, which a handler may still hold), it is opened again until it is answered.
   */
  #isAlone() {
    if (this.#closed && !this.#engine.closed) {
      this.#closed = false;
      const closeAgain = this.#adapter.reopen();
      this.close().then(closeAgain);
    }
    return this.#closed;
  }
}

/**
 * Collects acknowledgements from clients of other nodes. socket.io waits for the number of servers at
 * the time of the broadcast, and for the number of clients that they report. So this reports a node's
 * number of clients only when all of them have acknowledged. If the node is gone, it reports the
 * number of clients that have.
 */
class AckWaiter {
  #clientCountCallback;
  #ack;
  #end;
  /** @type {Map<string, { clients?: number, acks: number }>} */
  #nodes = new Map();

  /**
   * @param {(clients: number) => void} clientCountCallback
   * @param {(...args: any[]) => void} ack
   * @param {() => void} end
   */
  constructor(clientCountCallback, ack, end) {
    this.#clientCountCallback = clientCountCallback;
    this.#ack = ack;
    this.#end = end;
  }

  begin() {}

  /**
   * @param {string} uid
   * @param {any} response
   */
  accept(uid, { type, data }) {
    const node = this.#nodes.get(uid) ?? { acks: 0 };
    this.#nodes.set(uid, node);
    if (type === MessageType.BROADCAST_CLIENT_COUNT) {
      node.clients = data.clientCount;
    } else {
      node.acks++;
      this.#ack(data.packet);
    }
    const isComplete = node.clients === node.acks;
    if (isComplete) {
      this.#clientCountCallback(node.acks);
    }
    return isComplete;
  }

  /** @param {string} [uid] */
  leave(uid) {
    this.#clientCountCallback((uid !== undefined && this.#nodes.get(uid)?.acks) || 0);
  }

  complete() {
    this.#end();
  }
}

module.exports = { Requests };
