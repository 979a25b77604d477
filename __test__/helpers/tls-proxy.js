// TLS that asks for a client certificate, in front of a server that was built without it.

"use strict";

const { once } = require("node:events");
const net = require("node:net");
const tls = require("node:tls");

/**
 * @param {number} target the server's port
 * @param {ReturnType<typeof import("../connection/certificates").makeCertificates>} certificates
 */
async function startTlsProxy(target, { server: cert, serverKey: key, ca }) {
  /** @type {Set<net.Socket>} */
  const open = new Set();
  const proxy = tls.createServer(
    { cert, key, ca, requestCert: true, rejectUnauthorized: true, noDelay: true },
    (client) => {
      const server = net.connect({ port: target, host: "127.0.0.1", noDelay: true });
      for (const [from, to] of [
        [client, server],
        [server, client],
      ]) {
        open.add(from);
        from.on("error", () => {}); // "close" follows
        from.on("close", () => {
          open.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    },
  );
  proxy.on("tlsClientError", () => {}); // the client is told
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    port: /** @type {net.AddressInfo} */ (proxy.address()).port,
    stop() {
      open.forEach((socket) => socket.destroy());
      proxy.close();
    },
  };
}

module.exports = { startTlsProxy };
