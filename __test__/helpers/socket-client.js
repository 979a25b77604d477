// A real Socket.IO client that keeps a record of what it receives.

"use strict";

const { io } = require("socket.io-client");
const { once, waitFor } = require("./wait");

/**
 * @typedef {object} SocketClientOptions
 * @property {string} [nsp] the namespace, default "/"
 * @property {string} [path] of the server, default "/socket.io"
 * @property {object} [auth]
 * @property {Record<string, string>} [query]
 * @property {string[]} [transports] default websocket only
 * @property {any} [parser]
 * @property {boolean} [reconnection] by itself, default false
 * @property {number} [reconnectionDelay] in ms
 * @property {number} [timeout] of an attempt to connect, in ms
 * @property {number} [randomizationFactor]
 * @property {boolean} [withCredentials] whether cookies are kept
 * @property {Record<string, string>} [extraHeaders]
 */

class SocketClient {
  /**
   * @param {string} url
   * @param {SocketClientOptions} [options]
   */
  constructor(url, { nsp = "/", transports = ["websocket"], ...options } = {}) {
    this.nsp = nsp;
    this.socket = io(url + nsp, { transports, forceNew: true, reconnection: false, ...options });
    /** Every event received, in order, as `[event, ...args]`. @type {any[][]} */
    this.record = [];
    this.socket.onAny((...args) => {
      this.record.push(args.filter((arg) => typeof arg !== "function"));
    });
  }

  /** The id of the server's socket; the last known one while disconnected. */
  get id() {
    return /** @type {string} */ (this.lastId);
  }

  /**
   * Waits until the client is connected.
   *
   * @param {number} [timeout] in ms
   */
  async connected(timeout) {
    const { socket } = this;
    await Promise.race([
      once(socket, "connect", timeout),
      new Promise((_, reject) => socket.once("connect_error", reject)),
    ]);
    this.lastId = socket.id;
    return this;
  }

  /**
   * The arguments of each `event` received so far.
   *
   * @param {string} event
   * @returns {any[][]}
   */
  received(event) {
    return this.record.filter(([name]) => name === event).map(([, ...args]) => args);
  }

  /**
   * Waits until at least `count` times `event` was received, and returns the arguments of each.
   *
   * @param {string} event
   * @param {number} [count]
   */
  async receives(event, count = 1) {
    await waitFor(() => this.received(event).length >= count, {
      what: () =>
        `${count} × "${event}" at the client ${this.id}, which received ${this.received(event).length}; ` +
        `its last events: ${JSON.stringify(this.record.slice(-10))}`,
    });
    return this.received(event);
  }

  /** Cuts the transport as a bad network does; the session may be recovered. */
  cut() {
    this.socket.io.engine.close();
  }

  /**
   * Connects again, to another server when `url` is given, with session and offset if there are any.
   *
   * @param {string} [url]
   * @param {number} [timeout] in ms
   */
  reconnect(url, timeout) {
    if (url) {
      Object.assign(this.socket.io, { uri: url });
    }
    const connected = this.connected(timeout);
    this.socket.connect();
    return connected;
  }

  disconnect() {
    this.socket.disconnect();
  }
}

/**
 * @param {string} url of a server, without namespace
 * @param {SocketClientOptions} [options]
 * @returns {Promise<SocketClient>} connected
 */
async function connectClient(url, options) {
  const client = new SocketClient(url, options);
  try {
    return await client.connected();
  } catch (error) {
    client.disconnect(); // it may go on trying
    throw error;
  }
}

module.exports = { connectClient, SocketClient };
