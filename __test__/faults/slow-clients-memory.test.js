// How far the memory of a node grows because of clients that read nothing: by what `clientBufferBytes`
// says for each of them, and not by what is sent to them. Then all of them come back to everything.
//
// Breaks when something that waits is not counted, or is kept once the connection has ended.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { RawPolling } = require("../fast-path/raw-client");
const { useRedis } = require("../helpers/cluster");
const { startChildNode } = require("../helpers/remote-node");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");

/** @typedef {import("node:test").TestContext} TestContext */

const MIB = 2 ** 20;
const STALLED = 8;
const BOUND = MIB;
/** What a slice of packets and the garbage collector may add. */
const SLACK = 16 * MIB;
/** For each client more than the bound and the kernel's buffers hold. */
const ROUNDS = 400;
const BYTES = 32 * 1024;

const context = useRedis();

/**
 * @typedef {object} Stalled a client that reads nothing any more
 * @property {string} id of its socket
 * @property {() => Promise<number[]>} comesBack returns the numbers of the packets that it has received in
 *   all
 */

/** @param {TestContext} t @param {string} url @returns {Promise<Stalled>} */
async function stallWebSocket(t, url) {
  const client = await connectClient(url);
  defer(t, () => client.disconnect());
  const { socket } = client;
  /** @type {any} */ (socket.io.engine).transport.ws._socket.pause();
  const comesBack = async () => {
    /** @type {any} */ (socket.io.engine).transport.ws._socket.resume();
    await waitFor(() => !socket.connected, { what: "the client to notice" });
    await client.reconnect();
    assert.ok(socket.recovered);
    await client.receives("packet", ROUNDS);
    return client.received("packet").map(([number]) => number);
  };
  return { id: client.id, comesBack };
}

/** @param {TestContext} t @param {string} url @returns {Promise<Stalled>} */
async function stallPolling(t, url) {
  const connect = async (/** @type {object} */ auth) => {
    const client = new RawPolling(url, "/");
    defer(t, () => client.close());
    return client.connected(auth);
  };
  const client = await connect({});
  const numbers = (/** @type {RawPolling} */ { packets }) =>
    packets.map(([{ bytes }]) => JSON.parse(bytes.toString().slice(1))[1]);
  client.closed = true; // no request follows the one that waits
  const { pid, sid } = client.session;
  const comesBack = async () => {
    const before = numbers(client);
    const offset = JSON.parse(client.packets[0][0].bytes.toString().slice(1)).at(-1);
    const back = await connect({ pid, offset });
    assert.equal(back.session.sid, sid);
    await waitFor(() => before.length + back.packets.length >= ROUNDS, { what: "all packets" });
    return [...before, ...numbers(back)];
  };
  return { id: sid, comesBack };
}

/**
 * @param {TestContext} t
 * @param {(t: TestContext, url: string) => Promise<Stalled>} stall
 * @param {number} clientBufferBytes
 */
async function startStalled(t, stall, clientBufferBytes) {
  const node = await startChildNode({
    redis: context.redis,
    adapterOptions: { maxLen: 100_000, clientBufferBytes },
    serverOptions: { connectionStateRecovery: {} },
    extension: require.resolve("./slow-clients-node"),
    execArgv: ["--expose-gc"],
  });
  defer(t, () => node.kill());
  const reader = await connectClient(node.url);
  defer(t, () => reader.disconnect());
  /** @type {Stalled[]} */
  const stalled = [];
  for (let i = 0; i < STALLED; i++) {
    stalled.push(await stall(t, node.url));
  }
  const ids = stalled.map(({ id }) => id);
  /** @type {number} */
  const grown = await node.call("send", [...ids, reader.id], ROUNDS, BYTES);
  t.diagnostic(`${(grown / MIB).toFixed(1)} MiB with a bound of ${clientBufferBytes / MIB} MiB`);
  return { node, reader, stalled, grown };
}

for (const [name, stall] of /** @type {const} */ ([
  ["WebSocket", stallWebSocket],
  ["HTTP long-polling", stallPolling],
])) {
  describe(`clients that read nothing over ${name}`, () => {
    test("take no more memory than the bound, and come back to everything", async (t) => {
      const { node, reader, stalled, grown } = await startStalled(t, stall, BOUND);
      assert.ok(grown <= STALLED * BOUND + SLACK, `${grown} bytes for ${STALLED} clients`);
      const { slowClients } = await node.stats();
      const { messages, reasons } = await node.call("slow");
      assert.deepEqual([slowClients, messages], [STALLED, STALLED]);
      assert.deepEqual(reasons, Array(STALLED).fill("transport error"));
      const expected = Array.from({ length: ROUNDS }, (_, i) => i + 1);
      for (const { comesBack } of stalled) {
        assert.deepEqual(await comesBack(), expected);
      }
      await reader.receives("packet", ROUNDS);
      assert.ok(reader.socket.connected);
    });

    // Or the test above shows nothing.
    test("take all that is sent to them without a bound", async (t) => {
      const { grown } = await startStalled(t, stall, 0);
      assert.ok(grown > STALLED * BOUND + SLACK, `${grown} bytes for ${STALLED} clients`);
    });
  });
}
