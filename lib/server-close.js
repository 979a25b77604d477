"use strict";
// Closes the adapters that `io.close()` leaves open, and lets it wait for them. Before 4.7.5, Socket.IO
// closes no adapter, and before 4.8 it waits for none. Since then it waits for those of the namespaces
// that there are when it is called. Until they have closed, clients can connect to further namespaces.

const { guardEnd } = require("./end-socket");
const { CLOSED } = require("./engine-error");
const { stopTurningAway } = require("./turn-away");
const { warn } = require("./warnings");

/** The servers whose `close()` closes our adapters. @type {WeakSet<object>} */
const changed = new WeakSet();
/** The servers that wait for their HTTP server to close. @type {WeakSet<object>} */
const watched = new WeakSet();
/** The servers that have closed. @type {WeakSet<object>} */
const ended = new WeakSet();

/** @param {any} server @param {(adapter: any) => boolean} isOurs */
async function closeAdapters(server, isOurs) {
  const adapters = [...server._nsps.values()].map((nsp) => nsp.adapter);
  await Promise.all(adapters.filter(isOurs).map((adapter) => adapter.close()));
}

/**
 * Socket.IO ends the sockets of a namespace one after the other, and its adapter after them. If a handler
 * of the user's threw, it would end the adapter at once: the sessions of the others would be lost.
 *
 * @param {any} server
 * @param {(adapter: any) => boolean} isOurs
 */
function guardSockets(server, isOurs) {
  for (const { adapter, sockets } of server._nsps.values()) {
    if (isOurs(adapter)) {
      sockets.forEach(guardEnd);
    }
  }
}

/** Gives clients what was emitted before. @param {any} server @param {(adapter: any) => boolean} isOurs */
function deliverWaiting(server, isOurs) {
  for (const { adapter } of server._nsps.values()) {
    if (isOurs(adapter)) {
      adapter.deliverWaiting();
    }
  }
}

/**
 * Lets `io.close()` close our adapters in every version of Socket.IO. What it returns resolves, and its
 * callback is called, after they have closed.
 *
 * @param {any} server
 * @param {(adapter: any) => boolean} isOurs
 */
function closeWithServer(server, isOurs) {
  if (changed.has(server)) {
    return;
  }
  changed.add(server);
  const { close } = server;
  server.close = (/** @type {((error?: Error) => void) | undefined} */ fn) => {
    /** Undefined if Socket.IO has waited for the adapters itself. @type {Promise<void> | undefined} */
    let closing;
    const onClosed = (/** @type {Error | undefined} */ error) => {
      // Without an HTTP server, Socket.IO calls this before it returns.
      queueMicrotask(() => (closing ? closing.then(() => fn?.(error)) : fn?.(error)));
    };
    guardSockets(server, isOurs);
    deliverWaiting(server, isOurs);
    const closed = close.call(server, fn && onClosed);
    // It has ended the clients, whose sessions the adapters save before they close.
    const adapters = closeAdapters(server, isOurs);
    if (closed === undefined) {
      closing = adapters;
    }
    return closed ?? adapters;
  };
}

/**
 * Called when an adapter closes. If it is that of the main namespace, the whole server is closing.
 *
 * @param {any} adapter
 * @param {(adapter: any) => boolean} isOurs
 */
function closeRestWithServer(adapter, isOurs) {
  const { server } = adapter.nsp;
  const isMain = () => server.sockets?.adapter === adapter;
  const { httpServer } = server;
  if (!isMain() || typeof httpServer?.once !== "function" || watched.has(server)) {
    return;
  }
  watched.add(server);
  httpServer.once("close", () => {
    watched.delete(server);
    stopTurningAway(adapter);
    // Otherwise the server has got another adapter, and goes on.
    if (isMain()) {
      closeAdapters(server, isOurs);
      ended.add(server);
    }
  });
}

/**
 * Called when a closed adapter gets a client. Warns if its server was attached again, once.
 *
 * @param {any} adapter
 */
function warnIfAttachedAgain({ nsp: { server } }) {
  if (ended.delete(server)) {
    warn(
      CLOSED,
      "a client has connected to a Socket.IO server whose adapter was closed with it: it gets no packets " +
        "of other servers, requests reach this server only, and clients are not recovered. After " +
        "`io.close()`, make a new server, or call `io.adapter(createAdapter(…))` before you attach it again",
    );
  }
}

module.exports = { closeRestWithServer, closeWithServer, warnIfAttachedAgain };
