"use strict";
// Namespaces that clients open while their server is closing. `io.close()` waits for the adapters of the
// namespaces that there are when it is called. Until they have closed, clients can connect to further
// ones, whose adapters nobody would close.

/** The HTTP servers that have the listener. @type {WeakSet<object>} */
const watched = new WeakSet();

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
  if (!isMain() || typeof httpServer?.once !== "function" || watched.has(httpServer)) {
    return;
  }
  watched.add(httpServer);
  httpServer.once("close", () => {
    watched.delete(httpServer);
    // Otherwise the server has got another adapter, and goes on.
    if (isMain()) {
      const adapters = [...server._nsps.values()].map((nsp) => nsp.adapter);
      adapters.filter(isOurs).forEach((each) => each.close());
    }
  });
}

module.exports = { closeRestWithServer };
