"use strict";
// Measures what clients that read nothing do to a node, and to the other clients, with and without
// `clientBufferBytes`: how far its memory grows, and how long packets take to the others. Stretches in
// which all clients read, and in which some are stalled, take turns, so that both meet the same load on
// the machine. If the node ends the connection of a stalled client, the client comes back, and is stalled
// again. Takes about eight minutes:
//
//     node bench/slow-clients.js
//     node bench/slow-clients.js --transport polling     the stalled ones; the others use WebSocket
//     node bench/slow-clients.js --only bounded          not without a bound
//
// --clients that read, and --stalled ones. --rate packets per second, of --bytes each. Each goes to the
// clients of one of the --rooms, but for one in ten, which goes to the clients that may be stalled: the
// kernel keeps a few MB for each of them, so with less nothing would wait in the node. A stretch takes
// --seconds, and there are --rounds of each kind. --bound is `clientBufferBytes` in MiB.

const { setTimeout: sleep } = require("node:timers/promises");

const { startRedis } = require("../__test__/helpers/redis-server");
const { main, positive, requireKnown } = require("../scripts/run");
const { median } = require("./median");
const { startClients, startNode } = require("./process");

const NUMBERS = /** @type {const} */ ({
  clients: { type: "string", default: "990" },
  stalled: { type: "string", default: "10" },
  rooms: { type: "string", default: "99" },
  rate: { type: "string", default: "1000" },
  bytes: { type: "string", default: "4000" },
  seconds: { type: "string", default: "40" },
  rounds: { type: "string", default: "2" },
  bound: { type: "string", default: "4" },
});

const OPTIONS = /** @type {const} */ ({
  ...NUMBERS,
  transport: { type: "string", default: "websocket" },
  only: { type: "string" },
});

/** Every tenth packet is for the clients that may be stalled. */
const HOT_EVERY = 10;
/** How long everything runs before it is measured, s. */
const WARM_UP = 10;

/** @typedef {Record<keyof typeof NUMBERS, number> & { transport: string }} Size */
/** @typedef {{ p50: number, p99: number, memory: number }} Stretch latencies in µs, and the peak in MiB */

/**
 * @param {number} redisPort
 * @param {Size} size
 * @param {number} bound MiB; 0: none
 */
async function measure(redisPort, size, bound) {
  const { rate, bytes, transport } = size;
  const adapterOptions = { clientBufferBytes: bound * 2 ** 20 };
  const node = startNode("native", redisPort, { rooms: size.rooms, adapterOptions });
  const clients = startClients();
  await Promise.all([node.started, clients.started]);
  const port = await node.ask("port");

  /** @param {boolean} isStalled @param {number} [seconds] @returns {Promise<Stretch>} */
  const stretch = async (isStalled, seconds = size.seconds) => {
    const connectHot = (/** @type {number} */ count) =>
      clients.ask("connectHot", { port, count, transport, isStalled });
    await connectHot(size.stalled);
    await clients.ask("measureLatency");
    let memory = 0;
    let isOver = false;
    const emitting = node
      .ask("emitAtRate", { rate, bytes, seconds, hotEvery: HOT_EVERY })
      .then(() => (isOver = true));
    while (!isOver) {
      await Promise.race([emitting, sleep(250)]);
      memory = Math.max(memory, await node.ask("memory"));
      await connectHot(Math.max(0, size.clients + size.stalled - (await node.ask("clients"))));
    }
    const { p50, p99 } = await clients.ask("latencies");
    await clients.ask("endHot");
    return { p50, p99, memory };
  };

  await clients.ask("connect", { port, count: size.clients });
  await stretch(false, WARM_UP);
  /** @type {Stretch[]} */
  const without = [];
  /** @type {Stretch[]} */
  const with_ = [];
  for (let round = 0; round < size.rounds; round++) {
    without.push(await stretch(false));
    with_.push(await stretch(true));
  }
  const { slowClients: slow } = await node.ask("stats");
  await Promise.all([clients.stop(), node.stop()]);
  const ratio = (/** @type {"p50" | "p99"} */ what) =>
    median(with_.map((one, i) => one[what] / without[i][what])).toFixed(2);
  const peak = (/** @type {Stretch[]} */ all) => Math.max(...all.map(({ memory }) => memory));
  const of = (/** @type {"p50" | "p99"} */ what, /** @type {Stretch[]} */ all) =>
    `${(median(all.map((one) => one[what])) / 1e3).toFixed(2)}`;
  console.log(
    `${bound === 0 ? "without a bound" : `bound ${bound} MiB`}, stalled over ${transport}: memory at most ` +
      `${peak(without).toFixed(0)} MiB while all read, ${peak(with_).toFixed(0)} MiB with stalled ones ` +
      `(the bound for all of them: ${bound * size.stalled} MiB), ` +
      `${slow} connections ended; latency of the others, ms: p50 ${of("p50", without)} while all read, ` +
      `${of("p50", with_)} with stalled ones (${ratio("p50")} times), p99 ${of("p99", without)} and ` +
      `${of("p99", with_)} (${ratio("p99")} times)`,
  );
}

main({ options: OPTIONS }, async ({ values: { transport, only, ...numbers } }) => {
  requireKnown("transport", transport, ["websocket", "polling"]);
  requireKnown("kind", only ?? "bounded", ["bounded", "unbounded"]);
  const size = /** @type {Size} */ ({
    transport,
    ...Object.fromEntries(
      Object.entries(numbers).map(([name, value]) => [name, positive(`--${name}`, String(value))]),
    ),
  });
  const redis = await startRedis();
  const bounds = { bounded: size.bound, unbounded: 0 };
  for (const [kind, bound] of Object.entries(bounds)) {
    if (kind === (only ?? kind)) {
      await measure(redis.port, size, bound);
    }
  }
  await redis.stop();
});
