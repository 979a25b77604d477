// What a node reports when what it connects to is not what the settings say: another protocol, TLS or
// none, a database that does not exist. The message names what to change.

"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const net = require("node:net");
const { after, before, test } = require("node:test");
const { Server } = require("socket.io");

const { createAdapter } = require("../..");
const { ask, startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { makeCertificates } = require("./certificates");
const { startOpen } = require("./servers");

// The nodes here have no HTTP server, and the adapter keeps no process alive on its own.
const alive = setInterval(() => {}, 60_000);
/** @type {any[]} */
const warnings = [];
/** @param {any} warning */
const listener = (warning) => warnings.push(warning);
process.on("warning", listener);

/** @type {ReturnType<typeof makeCertificates>} */
let certificates;
/** @type {Awaited<ReturnType<typeof startOpen>>} */
let open;
/** @type {import("../helpers/redis-server").RedisServer} */
let redis;
before(async () => {
  certificates = makeCertificates();
  [open, redis] = await Promise.all([startOpen(certificates), startRedis()]);
});
after(async () => {
  clearInterval(alive);
  process.off("warning", listener);
  await Promise.all([open?.stop(), redis?.remove()]);
  certificates?.remove();
});

/**
 * What a node reports until `enough` says so.
 *
 * @param {string} url
 * @param {{ options?: any, use?: (node: Server) => unknown, enough?: () => any }} [how]
 */
async function reported(url, { options, use, enough = () => warnings.length > 0 } = {}) {
  warnings.splice(0);
  const node = new Server({ adapter: createAdapter(url, options) });
  const adapter = node.of("/").adapter;
  try {
    await use?.(node);
    await waitFor(enough, { what: "enough warnings" });
  } finally {
    await adapter.close();
  }
  return warnings.splice(0).map(({ code, message }) => ({ code, message }));
}

test("a database that does not exist is reported once, as what it is", async () => {
  const connections = async () =>
    Number((await ask(redis.port, ["INFO stats"], /total_connections_received:(\d+)/))[1]);
  const before = await connections();
  // By then the reader, the writer and PUB/SUB have tried, and some of them more than once.
  const enough = async () => (await connections()) > before + 20;
  const options = { channelPrefix: "of-99" };
  const said = await reported(`redis://127.0.0.1:${redis.port}/99`, { options, enough });
  assert.equal(said.length, 1, JSON.stringify(said));
  assert.match(said[0].message, /refused SELECT: .*`databases`/);
});

test("a server with TLS, and a URL without", async () => {
  const [{ code, message }] = await reported(`redis://127.0.0.1:${open.tlsPort}`);
  assert.equal(code, "ERR_SIO_REDIS_CONNECTION");
  assert.match(message, new RegExp(`127\\.0\\.0\\.1:${open.tlsPort}.*expect TLS.*rediss://`));
});

test("a server without TLS, and a URL with", async () => {
  // As Redis does, which waits for the end of a line.
  const silent = net.createServer((socket) => socket.on("error", () => {}));
  await new Promise((resolve) => silent.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {net.AddressInfo} */ (silent.address());
  const settings = { host: "127.0.0.1", port, tls: {}, connectTimeout: 200 };
  const [{ code, message }] = await reported(/** @type {any} */ (settings));
  silent.close();
  assert.equal(code, "ERR_SIO_REDIS_CONNECTION");
  assert.match(message, new RegExp(`127\\.0\\.0\\.1:${port}.*TLS handshake.*redis://`));
});

for (const protocol of ["redis", "rediss"]) {
  test(`a web server, by ${protocol}://`, async () => {
    const web = http.createServer((_, response) => response.end("hello"));
    await new Promise((resolve) => web.listen(0, "127.0.0.1", () => resolve(undefined)));
    const { port } = /** @type {net.AddressInfo} */ (web.address());
    const said = await reported(`${protocol}://127.0.0.1:${port}`);
    web.close();
    web.closeAllConnections();
    for (const { message } of said) {
      assert.match(message, new RegExp(`127\\.0\\.0\\.1:${port}.*(not Redis's protocol|not TLS)`));
      assert.doesNotMatch(message, /\n/);
    }
  });
}

test("sharded PUB/SUB that the server does not know", async () => {
  const old = await startRedis({
    args: ["--rename-command", "SSUBSCRIBE", "", "--rename-command", "SPUBLISH", ""],
  });
  const url = `redis://127.0.0.1:${old.port}`;
  const said = await reported(url, { options: { useShardedPubSub: true } });
  await old.remove();
  assert.ok(said.length > 0);
  for (const { message } of said) {
    assert.match(message, /`useShardedPubSub` needs Redis 7\.0 or newer/);
  }
});

test("a packet that is larger than the queue says so, and asks for nothing", async () => {
  const options = { publishQueueBytes: 100_000 };
  const use = (/** @type {Server} */ node) => node.emit("event", "x".repeat(200_000));
  const [{ code, message }] = await reported(redis.url, { options, use });
  assert.equal(code, "ERR_SIO_REDIS_QUEUE_FULL");
  assert.match(message, /larger than the option `publishQueueBytes` \(100000\)/);
  assert.doesNotMatch(message, /Redis down/);
});
