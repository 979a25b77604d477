// A close while Redis is away, or hangs, drops what waits: that is reported with its number, and local
// clients get the packets.
//
// Breaks when what is given up at the close is not warned of.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { takeWarnings } = require("./warnings");
const { startCutThenHang } = require("./writer-cuts");

const PACKETS = 35;
const CLIENTS = 12;
/** One batch of the writer. */
const MANY = 700;

/**
 * A node with clients, whose Redis is away.
 *
 * @param {import("node:test").TestContext} t
 * @param {{ clients: number, serverOptions?: object }} options
 */
async function start(t, { clients, serverOptions }) {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const settings = { host: redis.host, port: redis.port };
  const node = await startNodeOn(
    { adapterArgument: settings, close: async () => {} },
    { serverOptions },
  );
  defer(t, () => node.close());
  const adapter = /** @type {any} */ (node.io.of("/").adapter);
  await waitFor(() => adapter.stats().connected, { what: "the connections" });
  for (let i = 0; i < clients; i++) {
    const client = await connectClient(node.url);
    defer(t, () => client.disconnect());
  }
  takeWarnings();
  await redis.kill();
  return { node, adapter };
}

/** Waits for the warnings of what the close has given up. */
async function given() {
  /** @type {{ code: string, message: string }[]} */
  const closed = [];
  const take = () => takeWarnings().filter(({ code }) => code === "ERR_SIO_REDIS_CLOSED");
  await waitFor(() => closed.push(...take()) > 0, { what: "the warning" });
  return closed;
}

test("packets that a close drops are warned of, with their number", async (t) => {
  const { node, adapter } = await start(t, { clients: 0 });
  for (let i = 0; i < PACKETS; i++) {
    node.io.emit("e", i);
  }
  await node.close();
  const closed = await given();
  assert.match(closed[0].message, new RegExp(`${PACKETS} packets`));
  assert.equal(closed.length, 1);
  assert.equal(adapter.stats().failed, PACKETS);
});

// Breaks when the writer holds publishes between two parts of a batch where the close does not find them.
test("packets that were to go in smaller batches are among them", async (t) => {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const { proxy, hangs } = await startCutThenHang(t, redis.port);
  const settings = { host: "127.0.0.1", port: proxy.port };
  const node = await startNodeOn({ adapterArgument: settings, close: async () => {} }, {});
  defer(t, () => node.close());
  const adapter = /** @type {any} */ (node.io.of("/").adapter);
  await waitFor(() => adapter.stats().connected, { what: "the connections" });
  const client = await connectClient(node.url);
  defer(t, () => client.disconnect());
  for (let i = 0; i < MANY; i++) {
    node.io.emit("many", i, "x".repeat(400));
  }
  await hangs();
  // The writer may have written a few of them before the others were emitted.
  const left = MANY - adapter.stats().published;
  assert.ok(adapter.stats().queueBytes > left * 400, "what waits counts");
  takeWarnings();
  await adapter.close();
  await client.receives("many", MANY);
  assert.deepEqual(
    client.received("many").map(([i]) => i),
    [...Array(MANY).keys()],
  );
  const closed = await given();
  assert.match(closed[0].message, new RegExp(`${left} packets`));
  assert.equal(adapter.stats().failed, left);
});

test("sessions that a close cannot save are warned of, with their number", async (t) => {
  const serverOptions = { connectionStateRecovery: {} };
  const { node } = await start(t, { clients: CLIENTS, serverOptions });
  await node.close();
  const closed = await given();
  assert.match(closed[0].message, new RegExp(`sessions of ${CLIENTS} clients`));
  assert.equal(closed.length, 1);
});
