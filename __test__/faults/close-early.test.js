// A close while Redis is away drops what waits: that is reported with its number, and local clients
// get it.
//
// Breaks when publishes that are given up at the close fail without a warning.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { startNodeOn } = require("../helpers/node");
const { startRedis } = require("../helpers/redis-server");
const { waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { takeWarnings } = require("./warnings");

const PACKETS = 35;

test("packets that a close drops are warned of, with their number", async (t) => {
  const redis = await startRedis();
  defer(t, () => redis.stop());
  const settings = { host: redis.host, port: redis.port };
  const node = await startNodeOn({ adapterArgument: settings, close: async () => {} }, {});
  defer(t, () => node.close());
  const adapter = /** @type {any} */ (node.io.of("/").adapter);
  await waitFor(() => adapter.stats().connected, { what: "the connections" });
  takeWarnings();
  await redis.kill();
  for (let i = 0; i < PACKETS; i++) {
    node.io.emit("e", i);
  }
  await node.close();
  const said = () => takeWarnings().filter(({ code }) => code === "ERR_SIO_REDIS_CLOSED");
  /** @type {{ code: string, message: string }[]} */
  let closed = [];
  await waitFor(() => (closed = [...closed, ...said()]).length > 0, { what: "the warning" });
  assert.match(closed[0].message, new RegExp(`${PACKETS} packets`));
  assert.equal(closed.length, 1);
  assert.equal(adapter.stats().failed, PACKETS);
});
