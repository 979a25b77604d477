// Thousands of dynamic namespaces: opened, used and closed, they leave nothing behind, neither here
// nor in Redis, and cost next to nothing while they are idle.
//
// Breaks when a closed namespace keeps its subscription, a timer, or anything in one of the maps.

"use strict";

const assert = require("node:assert/strict");
const { after, before, describe, test } = require("node:test");
const { setFlagsFromString } = require("node:v8");
const { runInNewContext } = require("node:vm");
const { useCluster } = require("../helpers/cluster");
const { waitFor } = require("../helpers/wait");
const { RawWebSocket } = require("./raw-client");

/** Open at the same time; a third of all that are opened. */
const COUNT = 10_000;
const LIMIT = 60_000;
/** What a namespace that was closed may leave behind on average (bytes): noise, no object. */
const LEFT_PER_NAMESPACE = 400;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

/** A connection that is in many namespaces, and counts what it gets. */
class ManyNamespaces extends RawWebSocket {
  connects = 0;
  events = 0;

  /** @param {import("./raw-client").Message} message */
  onMessage({ bytes }) {
    if (bytes[0] === 0x30) {
      this.connects++;
      this.isConnected = true;
    } else {
      this.events++;
    }
  }
}

describe("dynamic namespaces", () => {
  /** @type {ManyNamespaces} */
  let client;
  after(() => client?.close());
  const context = useCluster({
    nodes: 1,
    clientsPerNode: 0,
    serverOptions: { cleanupEmptyChildNamespaces: true },
    setup: (io) => io.of(/^\/dynamic-\d+$/).on("connection", (socket) => socket.join("room")),
  });
  before(async () => {
    client = await new ManyNamespaces(context.cluster.nodes[0].url, "/").connected();
  });

  const namespaces = () => context.cluster.io(0)._nsps;
  const channels = async () => {
    const names = await context.admin.command("PUBSUB", "CHANNELS");
    const counts = await context.admin.command("PUBSUB", "NUMSUB", ...names);
    return { channels: names.length, subscriptions: sum(counts.filter(Number.isInteger)) };
  };
  const timers = () =>
    process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
  async function memory() {
    for (let i = 0; i < 3; i++) {
      collectGarbage();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, rss } = process.memoryUsage();
    return { heapUsed, rss };
  }

  /** @param {string} event opens, uses and closes COUNT namespaces */
  async function round(event) {
    const names = Array.from({ length: COUNT }, (_, i) => `/dynamic-${i}`);
    client.connects = client.events = 0;
    const start = performance.now();
    names.forEach((name) => client.send(`40${name},`));
    await waitFor(() => client.connects === COUNT, { timeout: LIMIT, what: "all to be open" });
    const openMs = performance.now() - start;
    const open = { ...(await memory()), ...(await channels()), timers: timers() };
    for (const name of names) {
      context.cluster.io(0).of(name).to("room").emit(event);
    }
    await waitFor(() => client.events === COUNT, { timeout: LIMIT, what: "an event in each" });
    const closing = performance.now();
    names.forEach((name) => client.send(`41${name},`));
    await waitFor(() => namespaces().size < 3, { timeout: LIMIT, what: "all to be closed" });
    await waitFor(async () => (await channels()).channels < 10, {
      timeout: LIMIT,
      interval: 20,
      what: "the subscriptions to be given up",
    });
    return { openMs, closeMs: performance.now() - closing, open, closed: await memory() };
  }

  test(`${3 * COUNT} leave nothing behind`, async (t) => {
    const idle = { ...(await memory()), ...(await channels()), timers: timers() };
    const first = await round("first");
    await round("second");
    await round("third");
    const perNamespace = {
      heap: (first.open.heapUsed - idle.heapUsed) / COUNT,
      rss: (first.open.rss - idle.rss) / COUNT,
      subscriptions: (first.open.subscriptions - idle.subscriptions) / COUNT,
      openedInMs: first.openMs / COUNT,
      closedInMs: first.closeMs / COUNT,
    };
    t.diagnostic(`an open namespace: ${JSON.stringify(perNamespace)}`);
    // Closing ends after the subscriptions have gone, and garbage collection gives memory back in
    // steps of several MB. What leaks does not come back however long it is waited for.
    let left = { heapUsed: Infinity, rss: Infinity };
    await waitFor(
      async () => {
        const now = await memory();
        left = {
          heapUsed: (now.heapUsed - first.closed.heapUsed) / (2 * COUNT),
          rss: (now.rss - first.closed.rss) / (2 * COUNT),
        };
        return left.heapUsed < LEFT_PER_NAMESPACE && left.rss < LEFT_PER_NAMESPACE;
      },
      { interval: 100, what: () => `memory to come back: ${JSON.stringify(left)} bytes each` },
    );
    t.diagnostic(`left by a closed one, bytes: ${JSON.stringify(left)}`);
    assert.deepEqual(await channels(), {
      channels: idle.channels,
      subscriptions: idle.subscriptions,
    });
    assert.equal(first.open.timers - idle.timers, 0, "timers of idle namespaces");
  });
});

/** @param {number[]} numbers */
function sum(numbers) {
  return numbers.reduce((a, b) => a + b, 0);
}
