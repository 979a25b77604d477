// Operators are told that an outage has begun, what happens meanwhile, and that it is over.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { Emitter } = require("../..");
const { startNode } = require("../helpers/node");
const { freePort, RedisServer } = require("../helpers/redis-server");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("./defer");
const { takeWarnings, warnings } = require("./warnings");

const OVER = "SIO_REDIS_WORKS_AGAIN";

/** Waits for the warning, and returns all until then. @param {string} code */
async function warningsUntil(code) {
  await waitFor(() => warnings.some((warning) => warning.code === code), { what: code });
  return takeWarnings();
}

/** @param {import("node:test").TestContext} t */
async function prepare(t) {
  takeWarnings();
  const redis = new RedisServer({});
  redis.port = await freePort();
  defer(t, () => redis.stop());
  return redis;
}

/** @param {import("./warnings").RedisWarning[]} all */
function assertOutage(all) {
  assert.equal(all[0].code, "ERR_SIO_REDIS_CONNECTION");
  assert.match(all[0].message, /tried again until it works; meanwhile packets wait/);
  const over = all.filter(({ code }) => code === OVER);
  assert.equal(over.length, 1, JSON.stringify(all));
  assert.match(over[0].message, /^Redis works again, \d+\.\d s after the warning/);
}

describe("an outage", () => {
  test("of a node is over once, at the start and after each restart of Redis", async (t) => {
    const redis = await prepare(t);
    const node = await startNode({ redis, index: 0, client: "url" });
    defer(t, () => node.close());
    node.io.emit("waits");
    await waitFor(() => warnings.length > 0, { what: "the warning" });
    await settle();
    assert.ok(warnings.every(({ code }) => code !== OVER));
    await redis.launch(redis.port);
    assertOutage(await warningsUntil(OVER));

    for (let i = 0; i < 2; i++) {
      await redis.restart();
      assertOutage(await warningsUntil(OVER));
    }
    await node.close();
    assert.deepEqual(takeWarnings(), []);
  });

  test("of an emitter is over when what it has emitted is written", async (t) => {
    const redis = await prepare(t);
    const emitter = new Emitter(redis.url);
    defer(t, () => emitter.close());
    emitter.emit("waits");
    await waitFor(() => warnings.length > 0, { what: "the warning" });
    await redis.launch(redis.port);
    assertOutage(await warningsUntil(OVER));
    assert.equal(emitter.stats().queueLength, 0);
  });
});
