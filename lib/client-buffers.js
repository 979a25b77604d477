"use strict";
// Bounds what waits for each client (`clientBufferBytes`). engine.io keeps the packets of a client
// that does not read without limit: https://github.com/socketio/socket.io/issues/4435

const debug = require("./debug");
const { isHeld } = require("./held-writes");
const { setImmediate } = require("./timers");

/** What a waiting packet takes besides its bytes, measured: objects of engine.io and Node.js. */
const PACKET_OVERHEAD = 300;

/** The connections that have a buffer. @type {WeakSet<object>} */
const watched = new WeakSet();

/**
 * @typedef {object} Packet of engine.io
 * @property {string | Buffer} [data]
 * @property {{ wsPreEncodedFrame?: Buffer[], isMissed?: boolean }} [options]
 */

/** @param {Packet} packet @returns {number} what it takes while it waits, bytes */
function sizeOf({ data, options }) {
  const frames = options?.wsPreEncodedFrame;
  if (frames !== undefined) {
    // Beside the frame, engine.io keeps the text that is in it.
    return frames.reduce((bytes, { length }) => bytes + 2 * length, PACKET_OVERHEAD);
  }
  const bytes = typeof data === "string" ? Buffer.byteLength(data) : (data?.length ?? 0);
  return bytes + PACKET_OVERHEAD;
}

/**
 * What waits for one client: packets in engine.io's `writeBuffer`, and bytes that engine.io has handed
 * to the transport and the network has not taken.
 *
 * Two things are not counted, since a client could never receive them otherwise: the packets that a
 * recovered client has missed, and one packet that is larger than the limit by itself.
 */
class ClientBuffer {
  #conn;
  #limit;
  #onOver;
  /** Bytes in `writeBuffer` that count. */
  #queued = 0;
  /** Bytes in `writeBuffer` that do not count. */
  #exempt = 0;
  /** The same, of what was handed to the transport last. */
  #exemptSent = 0;
  /** Bytes handed to a transport that does not tell how many wait. */
  #sending = 0;
  /** Polling: the responses that the client has not read. @type {Set<import("node:http").ServerResponse>} */
  #responses = new Set();
  #isJudging = false;

  /**
   * @param {any} conn the Engine.IO socket
   * @param {number} limit bytes
   * @param {(waiting: number) => void} onOver called before the connection is ended
   */
  constructor(conn, limit, onOver) {
    this.#conn = conn;
    this.#limit = limit;
    this.#onOver = onOver;
    // engine.io emits the one right before it queues a packet, the other right before it hands all
    // queued packets to the transport.
    conn.on("packetCreate", (/** @type {Packet} */ packet) => this.#add(packet));
    conn.on("flush", (/** @type {Packet[]} */ packets) => this.#onFlush(packets));
  }

  /** @param {Packet} packet */
  #add(packet) {
    const { data, options } = packet;
    const waits = !this.#conn.transport.writable;
    // A connection is held only if its transport is ready for more.
    if ((!waits || isHeld(this.#conn)) && this.#sending === 0) {
      this.#exemptSent = 0; // all that was sent has left
    }
    if (!waits) {
      // A character has up to 3 bytes, in the text and in the frame.
      const mayBeLarge = (data?.length ?? 0) * 6 + PACKET_OVERHEAD > this.#limit;
      if (!mayBeLarge && !options?.isMissed) {
        return;
      }
    }
    const size = sizeOf(packet);
    if (options?.isMissed || (size > this.#limit && this.#exempt + this.#exemptSent === 0)) {
      this.#exempt += size;
    } else if (waits) {
      this.#queued += size;
      if (!this.#isJudging && this.#waiting > this.#limit) {
        this.#isJudging = true;
        // Nothing is sent while user code emits in a loop. A client gets what the network takes at once.
        setImmediate(() => this.#judge());
      }
    }
  }

  /** @param {Packet[]} packets */
  #onFlush(packets) {
    this.#exemptSent = this.#exempt;
    this.#exempt = this.#queued = 0;
    const { transport } = this.#conn;
    if (transport.socket?.bufferedAmount !== undefined) {
      return; // a WebSocket
    }
    const bytes = packets.reduce((sum, packet) => sum + sizeOf(packet), 0);
    this.#sending += bytes;
    const { res } = transport;
    if (res) {
      this.#responses.add(res);
      res.once("close", () => {
        this.#responses.delete(res);
        this.#sending -= bytes;
      });
    } else {
      transport.once("drain", () => (this.#sending -= bytes));
    }
  }

  /** Bytes that count. */
  get #waiting() {
    const inTransport = this.#sending + (this.#conn.transport.socket?.bufferedAmount ?? 0);
    return this.#queued + Math.max(0, inTransport - this.#exemptSent);
  }

  #judge() {
    // What is held has not been offered to the network yet.
    if (isHeld(this.#conn)) {
      setImmediate(() => this.#judge());
      return;
    }
    this.#isJudging = false;
    const waiting = this.#waiting;
    if (waiting > this.#limit && this.#conn.readyState === "open") {
      this.#onOver(waiting);
      this.#end(waiting);
    }
  }

  /**
   * Ends the connection for a reason after which socket.io saves the session, and frees what waits.
   *
   * @param {number} waiting
   */
  #end(waiting) {
    const { transport } = this.#conn;
    const message = `${waiting} bytes waited for this client (clientBufferBytes: ${this.#limit})`;
    const error = Object.assign(new Error(message), { code: "ERR_SIO_REDIS_SLOW_CLIENT" });
    transport.discard?.(); // polling would wait for the client's next request
    try {
      this.#conn.onError(error);
    } finally {
      // Also if a `disconnect` handler has thrown. engine.io has only asked for the end of the WebSocket:
      // that would wait behind what is not read.
      transport.socket?.terminate?.();
      this.#responses.forEach((response) => response.destroy());
    }
  }
}

class ClientBuffers {
  #limit;
  #onSlow;

  /**
   * @param {number} limit per client, bytes
   * @param {(message: Omit<import("../index").SlowClientMessage, "server" | "uid">) => void} onSlow
   *   called before the connection of a slow client is ended
   */
  constructor(limit, onSlow) {
    this.#limit = limit;
    this.#onSlow = onSlow;
  }

  /** @param {any} socket that has connected to a namespace; its client may have others */
  watch(socket) {
    const conn = socket?.conn;
    // Bun's connections have no such events.
    if (typeof conn?.onError !== "function" || watched.has(conn)) {
      return;
    }
    watched.add(conn);
    new ClientBuffer(conn, this.#limit, (bytes) => {
      const sockets = [...socket.client.sockets.values()].map(({ id, nsp }) => ({
        id,
        namespace: nsp.name,
      }));
      debug("%d bytes wait for a client, its connection is ended: %o", bytes, sockets);
      this.#onSlow({ sockets, bytes, transport: conn.transport.name });
    });
  }
}

module.exports = { ClientBuffers };
