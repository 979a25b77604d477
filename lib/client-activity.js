"use strict";
// Tells when a client sends something. All namespaces of a connection share one listener, since Node.js
// warns of more than ten.

/**
 * @typedef {() => void} OnData
 *
 * @typedef {object} Watched
 * @property {Set<OnData>} callbacks
 * @property {() => void} listener calls them
 */

/** @type {WeakMap<any, Watched>} */
const connections = new WeakMap();

/**
 * @param {any} conn a connection of Engine.IO
 * @param {OnData} onData called for each packet of the client
 */
function watch(conn, onData) {
  const watched = connections.get(conn);
  if (watched) {
    watched.callbacks.add(onData);
    return;
  }
  const callbacks = new Set([onData]);
  const listener = () => callbacks.forEach((callback) => callback());
  connections.set(conn, { callbacks, listener });
  conn.on("data", listener);
}

/**
 * @param {any} conn
 * @param {OnData} onData
 */
function unwatch(conn, onData) {
  const watched = connections.get(conn);
  watched?.callbacks.delete(onData);
  if (watched?.callbacks.size === 0) {
    connections.delete(conn);
    conn.off("data", watched.listener);
  }
}

module.exports = { unwatch, watch };
