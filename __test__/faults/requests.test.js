// Requests while Redis is away: each ends by its own time-out, or at once if it cannot be sent.

"use strict";

const assert = require("node:assert/strict");
const { describe, test } = require("node:test");
const { ask } = require("../helpers/redis-server");
const { connectClient } = require("../helpers/socket-client");
const { waitFor, within } = require("../helpers/wait");
const { defer } = require("./defer");
const { startNodes } = require("./nodes");

const MB = 1_000_000;
/** Shorter than the time after which the engine gives up a count, ms. */
const SHORT = { flags: { timeout: 300 } };

/**
 * Two nodes that know each other.
 *
 * @param {import("node:test").TestContext} t
 * @param {Record<string, unknown>} [adapterOptions]
 */
async function start(t, adapterOptions) {
  const { redis, nodes } = await startNodes(t, 2, { adapterOptions });
  defer(t, () => redis.resume());
  const [{ io, url }, other] = nodes;
  other.io.on("known?", (answer) => answer());
  const answers = () => io.serverSideEmitWithAck("known?");
  await waitFor(async () => (await answers()).length === 1, { what: "the other node to be known" });
  return { redis, io, url, adapter: /** @type {any} */ (io.of("/").adapter) };
}

/** @param {any} error */
function isTimeout(error) {
  assert.match(error.message, /timeout reached/);
  assert.deepEqual(error.responses, []);
  return true;
}

for (const way of /** @type {const} */ (["pause", "kill"])) {
  // Breaks when a count of the nodes that has no limit of its own comes before the request.
  test(`while Redis is away (${way}), what there is in the cluster is not known in time`, async (t) => {
    const { redis, io, adapter } = await start(t);
    await redis[way]();
    /** @type {string[]} */
    const ended = [];
    const end = async (/** @type {string} */ name, /** @type {Promise<unknown>} */ request) => {
      await assert.rejects(within(request, name), isTimeout);
      ended.push(name);
    };
    await Promise.all([
      end("fetchSockets", io.timeout(2_000).fetchSockets()),
      end("countSockets", adapter.countSockets(SHORT)),
      end("socketIds", adapter.socketIds(SHORT)),
      end("allRooms", adapter.allRooms()),
    ]);
    assert.deepEqual(ended, ["countSockets", "socketIds", "fetchSockets", "allRooms"]);
  });
}

// Breaks when they are asked only when the caller has given up.
test("while Redis is away, the node's own clients are asked in time", async (t) => {
  const { redis, io, url } = await start(t);
  const client = await connectClient(url);
  defer(t, () => client.disconnect());
  client.socket.on("question", (answer) => answer("here"));
  await redis.pause();
  io.emit("waits for Redis");
  const answers = await new Promise((resolve) => {
    // @ts-ignore its types want the events declared
    io.timeout(800).emit("question", (_error, answers) => resolve(answers));
  });
  assert.deepEqual(answers, ["here"]);
});

test("while Redis is away, there are as many servers as the last request has counted", async (t) => {
  const { redis, adapter } = await start(t);
  await redis.pause();
  assert.equal(await adapter.serverCount(), 2);
});

// Breaks when the nodes are counted before a request for which they are counted anyway.
test("a request for numbers counts the nodes once", async (t) => {
  const { redis, adapter } = await start(t);
  const counts = async () => {
    const [, calls] = await ask(
      redis.port,
      ["INFO commandstats"],
      /cmdstat_pubsub(?:\|numsub)?:calls=(\d+)/,
    );
    return Number(calls);
  };
  const REQUESTS = 20;
  const before = await counts();
  for (let i = 0; i < REQUESTS; i++) {
    assert.equal(await adapter.countSockets(), 0);
  }
  // A request that takes longer than 50 ms counts again.
  assert.ok((await counts()) - before < 1.5 * REQUESTS);
});

describe("a request that the queue refuses ends at once with the refusal", () => {
  for (const requestsVia of ["pubsub", "stream"]) {
    test(`over ${requestsVia}`, async (t) => {
      const { redis, io, adapter } = await start(t, { requestsVia, publishQueueBytes: 2 * MB });
      await redis.kill();
      io.serverSideEmit("fills the queue", "x".repeat(MB));
      const isFull = (/** @type {any} */ error) => {
        assert.equal(error.code, "ERR_SIO_REDIS_QUEUE_FULL", error.message);
        assert.deepEqual(error.responses, []);
        return true;
      };
      const data = "x".repeat(1.5 * MB);
      await assert.rejects(io.serverSideEmitWithAck("refused", data), isFull);
      const large = { rooms: [data] };
      await assert.rejects(io.in(data).fetchSockets(), isFull);
      await assert.rejects(adapter.countSockets(large), isFull);
    });
  }
});
