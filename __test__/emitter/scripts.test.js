// Scripts with an emitter, as processes of their own: they lose nothing, and end by themselves.

"use strict";

const assert = require("node:assert/strict");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { createAdmin } = require("../helpers/clients");
const { useRedis } = require("../helpers/cluster");
const { freePort, RedisServer } = require("../helpers/redis-server");
const { settle, waitFor } = require("../helpers/wait");
const { defer } = require("../faults/defer");
const { Run } = require("../faults/run");
const { packetsInStream } = require("../faults/writer-cuts");

const COUNT = 10_000;
const ALL = Array.from({ length: COUNT }, (_, number) => `0:${number}`);
/** How long a close takes without Redis, at most (ms), and something for a slow machine. */
const CLOSE_LIMIT = 5_000 + 10_000;

const context = useRedis();

/**
 * @param {import("node:test").TestContext} t
 * @param {string} script
 * @param {string} [url]
 */
const run = (t, script, url = context.redis.url) =>
  new Run(join(__dirname, "scripts.js"), [script, url]).endWith(t);

// These break when the process does not live until everything is out, and when a connection, a timer
// or a thread of ours keeps it alive after that.
describe("with Redis", () => {
  /** @type {Record<string, { entries: string[], output: string }>} */
  const EXPECTED = {
    idle: { entries: [], output: "" },
    emit: { entries: ALL, output: "" },
    emitAndFlush: { entries: ALL, output: "flushed\n" },
    emitAndClose: { entries: ALL, output: "closed\n" },
    emitCloseAndEnd: { entries: ALL, output: "" },
  };

  for (const [script, { entries, output }] of Object.entries(EXPECTED)) {
    test(`${script}: everything is written, and the script ends`, async (t) => {
      await context.admin.command("DEL", "socket.io");
      const { output: said } = await run(t, script).assertExits();
      assert.equal(said, output);
      assert.deepEqual(await packetsInStream(context.admin), entries);
      await waitFor(async () => (await context.redis.connectionCount()) === 1, {
        what: "the emitter's connection to be gone",
      });
    });
  }
});

describe("without Redis", () => {
  test("it waits until Redis is there, and says so", async (t) => {
    const port = await freePort();
    const url = `redis://127.0.0.1:${port}`;
    await run(t, "idle", url).assertExits();
    const waiting = run(t, "emit", url);
    await waitFor(() => waiting.output.includes("no connection to Redis"), { what: "the warning" });
    await settle();
    assert.ok(waiting.isRunning, "it waits");
    const redis = new RedisServer({});
    defer(t, () => redis.stop());
    await redis.launch(port);
    await waiting.assertExits();
    const admin = await createAdmin(redis);
    defer(t, () => admin.close());
    assert.deepEqual(await packetsInStream(admin), ALL);
  });

  // Breaks when a rejection that nobody handles ends the process, or what was lost is not said.
  test("it gives up when it is closed, says what is lost, and ends", async (t) => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const { output } = await run(t, "emitAndForget", url).assertExits(0, CLOSE_LIMIT);
    assert.match(output, /\[ERR_SIO_REDIS_CONNECTION\]/);
    assert.match(output, /\[ERR_SIO_REDIS_CLOSED\] .*closed before 2 messages were written/);
  });

  test("a close that is waited for says it as an error", async (t) => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const { output } = await run(t, "emitAndClose", url).assertExits(1, CLOSE_LIMIT);
    assert.match(output, /10000 of 10000 messages were not written/);
    assert.match(output, /code: 'ERR_SIO_REDIS_CLOSED'/);
  });
});
