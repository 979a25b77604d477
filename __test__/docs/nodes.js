// What tests of the documents run on: a Redis that is open in every way, nodes and clients.

"use strict";

const { once } = require("node:events");
const { createServer } = require("node:http");
const { after, before } = require("node:test");
const { Server } = require("socket.io");

const { makeCertificates } = require("../connection/certificates");
const { startOpen } = require("../connection/servers");
const { createAdmin } = require("../helpers/clients");
const { connectClient } = require("../helpers/socket-client");

/** @typedef {import("node:test").TestContext} TestContext */

/**
 * A Redis for the tests of a file, which also speaks TLS and listens on a unix socket.
 *
 * @returns a context that is filled before the first test
 */
function useOpenRedis() {
  const context =
    /** @type {{ certificates: ReturnType<typeof makeCertificates>, redis: Awaited<ReturnType<typeof startOpen>>, admin: Awaited<ReturnType<typeof createAdmin>> }} */ ({});
  before(async () => {
    context.certificates = makeCertificates();
    context.redis = await startOpen(context.certificates);
    context.admin = await createAdmin(context.redis);
  });
  after(async () => {
    await context.admin?.close();
    await context.redis?.stop();
    context.certificates?.remove();
  });
  return context;
}

/**
 * A node in this process, which ends with the test.
 *
 * @param {TestContext} t
 * @param {any} adapter
 * @param {Record<string, any>} [options] of Socket.IO's `Server`
 */
async function startNode(t, adapter, options) {
  const http = createServer();
  const io = new Server(http, { adapter, ...options });
  t.after(() => io.close());
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
  return { io, url: `http://127.0.0.1:${port}` };
}

/**
 * A client that ends with the test.
 *
 * @param {TestContext} t
 * @param {string} url
 */
async function connect(t, url) {
  const client = await connectClient(url);
  t.after(() => client.disconnect());
  return client;
}

/** @param {Server} io */
function adapterOf(io) {
  return /** @type {import("../..").RedisStreamsAdapter} */ (
    /** @type {unknown} */ (io.of("/").adapter)
  );
}

module.exports = { useOpenRedis, startNode, connect, adapterOf };
