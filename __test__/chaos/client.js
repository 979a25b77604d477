// A client that keeps a ledger per session, and that drops and comes back when it is told to.

"use strict";

const { io } = require("socket.io-client");
const { Ledger } = require("./ledger");
const { EVENT, packetId } = require("./packets");
const { WELCOME } = require("./greeting");

/** @typedef {import("./greeting").Welcome} Welcome */

class LedgerClient {
  /**
   * @param {string} name
   * @param {string[]} rooms it is put into them when it connects
   */
  constructor(name, rooms) {
    this.name = name;
    this.rooms = rooms;
    /** @type {Ledger[]} the last one is that of the present session */
    this.ledgers = [];
    /** How often it came back into its session. */
    this.recovered = 0;
    /** What became of it, with what it had received by then and its offset, for people. @type {string[]} */
    this.journey = [];
    /** Called with what the node says to it. @type {(welcome: Welcome) => void} */
    this.onWelcome = () => {};
    this.socket = io("http://127.0.0.1:1", {
      autoConnect: false,
      forceNew: true,
      reconnection: false,
      transports: ["websocket"],
      auth: { rooms },
    });
    this.socket.on("connect", () => this.#onConnect());
    this.socket.on("disconnect", () => this.#note("dropped"));
    this.socket.on(EVENT, (sender, seq) => this.ledger?.add(packetId(sender, seq)));
    this.socket.on(WELCOME, (welcome) => {
      const { recovered, sender } = welcome;
      this.#note(`${recovered ? "recovered" : "fresh"} at node ${sender}`);
      this.onWelcome(welcome);
    });
  }

  /** @param {string} what */
  #note(what) {
    const { length = 0 } = this.ledger?.received ?? [];
    this.journey.push(
      `${what}, session ${this.ledgers.length - 1}, ${length} packets, ${this.offset}`,
    );
  }

  /** @returns {Ledger | undefined} */
  get ledger() {
    return this.ledgers.at(-1);
  }

  /** The secret ID of its session. @returns {string | undefined} */
  get pid() {
    return /** @type {any} */ (this.socket)._pid;
  }

  /** The last entry that it has seen. @returns {string | undefined} */
  get offset() {
    return /** @type {any} */ (this.socket)._lastOffset;
  }

  get isConnected() {
    return this.socket.connected;
  }

  #onConnect() {
    if (this.socket.recovered) {
      this.recovered++;
      return;
    }
    if (this.ledger) {
      this.ledger.isOpen = false;
    }
    this.ledgers.push(new Ledger());
  }

  /**
   * Connects to a node, with session and offset if there are any.
   *
   * @param {string} url
   * @returns {Promise<boolean>} whether it worked
   */
  connect(url) {
    const { socket } = this;
    Object.assign(socket.io, { uri: url });
    return new Promise((resolve) => {
      const done = (/** @type {boolean} */ result) => {
        socket.off("connect", onConnect);
        socket.off("connect_error", onEnd);
        socket.off("disconnect", onEnd);
        socket.io.off("close", onEnd);
        resolve(result);
      };
      const onConnect = () => done(true);
      const onEnd = () => done(false);
      socket.once("connect", onConnect);
      socket.once("connect_error", onEnd);
      socket.once("disconnect", onEnd);
      // Cut before the server has answered, a socket says nothing.
      socket.io.once("close", onEnd);
      socket.connect();
    });
  }

  /** Cuts the transport as a bad network does. */
  cut() {
    const manager = /** @type {any} */ (this.socket.io);
    if (manager._readyState === "open") {
      manager.engine.close();
    } else {
      // A transport that is closed while it opens does not tell the manager, which would wait.
      manager._close();
    }
  }

  /** Leaves for good. */
  disconnect() {
    this.socket.disconnect();
  }

  /**
   * Judges all its sessions.
   *
   * @param {import("./packets").Truth} truth
   * @param {import("./ledger").Tally} tally
   * @param {(id: number) => boolean} [wasRefused] see ledger.js
   */
  judge(truth, tally, wasRefused) {
    const expected = truth.for(this.rooms);
    const before = tally.faults;
    this.ledgers.forEach((ledger, session) =>
      tally.add(`client ${this.name}, session ${session}`, ledger, expected, truth, wasRefused),
    );
    if (tally.faults > before) {
      tally.journeys.push(`client ${this.name} (${this.rooms}): ${this.journey.join("; ")}`);
    }
  }

  /** @param {import("./packets").Truth} truth */
  isComplete(truth) {
    const last = truth.for(this.rooms).at(-1);
    return last === undefined || (this.ledger?.received.lastIndexOf(last) ?? -1) >= 0;
  }
}

module.exports = { LedgerClient };
