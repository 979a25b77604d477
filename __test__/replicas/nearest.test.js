// `readFrom: "nearest"`: each node reads from one of the servers with the shortest round trips. Proxies
// make servers distant.

"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { defer } = require("../faults/defer");
const { startReplicated } = require("../helpers/replicated");
const { waitFor } = require("../helpers/wait");
const {
  MOVE_LIMIT,
  RATE,
  assertNothingLost,
  calls,
  readers,
  startReadingAt,
} = require("./reading");

/** One way to a distant server, ms. */
const DISTANCE = 30;
/** How often two nodes send INFO to a replica that they measure. */
const INFOS = 2 * 6;
/** How long a reader may take to measure until it moves. */
const MEASURE_LIMIT = 90_000;

/**
 * @param {import("node:test").TestContext} t
 * @param {{ distances: number[] }} options of each server, the master first, ms
 */
async function startAtDistances(t, { distances }) {
  const redis = await startReplicated(distances.length - 1, { doors: true });
  defer(t, () => redis.stop());
  setDistances(redis.doors, distances);
  const started = await startReadingAt(t, redis.doors[0].url, { readFrom: "nearest" });
  const addresses = redis.doors.map(({ port }) => `127.0.0.1:${port}`);
  return { redis, addresses, ...started };
}

/**
 * @param {import("../helpers/tcp-proxy").TcpProxy[]} doors
 * @param {number[]} distances
 */
function setDistances(doors, distances) {
  distances.forEach((distance, place) => doors[place].delay(distance));
}

/**
 * @param {import("../faults/two-nodes").Two} two
 * @param {string} address
 * @param {number} [timeout]
 */
async function readAllFrom(two, address, timeout = MOVE_LIMIT) {
  await waitFor(() => readers(two).every((from) => from === address), {
    timeout,
    what: () => `all to read from ${address}, not from ${readers(two)}`,
  });
}

// Breaks when a server is picked at random.
test("the nearest replica is read, and after its end the next", async (t) => {
  const distances = [2 * DISTANCE, DISTANCE, 0, DISTANCE, 2 * DISTANCE];
  const { redis, addresses, two, traffic, losses } = await startAtDistances(t, { distances });
  await readAllFrom(two, addresses[2]);
  assert.deepEqual(two.counter("readFrom"), ["replica", "replica"]);
  traffic.start(RATE);
  await traffic.flows();
  await redis.replicas[1].kill();
  const next = [addresses[1], addresses[3]];
  await waitFor(() => readers(two).every((from) => next.includes(from)), {
    timeout: MOVE_LIMIT,
    what: () => `all to read from one of ${next}, not from ${readers(two)}`,
  });
  await traffic.flows();
  // It is back, and clearly nearer.
  await redis.replicas[1].restart();
  const reconnects = two.counter("reconnects");
  await readAllFrom(two, addresses[2], MEASURE_LIMIT);
  assert.deepEqual(two.counter("reconnects"), reconnects, "a move is no outage");
  await traffic.flows();
  traffic.stop();
  await traffic.assertComplete();
  assertNothingLost(losses);
});

// Breaks when the master is no candidate, and when the reader never measures again.
test("a replica that is as near as the master is read, and the master while it is clearly nearer", async (t) => {
  const { redis, addresses, two, traffic, losses } = await startAtDistances(t, {
    distances: [0, DISTANCE, 0],
  });
  await readAllFrom(two, addresses[2]);
  traffic.start(RATE);
  setDistances(redis.doors, [0, DISTANCE, DISTANCE]);
  await readAllFrom(two, addresses[0], MEASURE_LIMIT);
  const infos = await calls(redis.replicas[0], "info");
  await waitFor(async () => (await calls(redis.replicas[0], "info")) >= infos + 2 * INFOS, {
    timeout: MEASURE_LIMIT,
    interval: 100,
    what: "both nodes to measure again",
  });
  assert.deepEqual(readers(two), [addresses[0], addresses[0]]);
  assert.deepEqual(two.counter("reconnects"), [0, 0], "a move is no outage");
  await traffic.flows();
  traffic.stop();
  await traffic.assertComplete();
  assertNothingLost(losses);
  await two.assertWorks();
});
