"use strict";
// Measures what clients that read nothing do to a node, and to the other clients, with and without
// `clientBufferBytes`: how far its memory grows, and how long packets take to the others. Stretches with
// and without stalled clients take turns, so that both meet the same load on the machine. A stalled client
// whose connection the node ends comes back, and stalls again. Takes about five minutes:
//
//     node bench/slow-clients.js
//     node bench/slow-clients.js --clients 1000 --stalled 10 --rooms 50 --seconds 120
//
// Each packet goes to the clients of one of the --rooms; --rate packets per second, of --bytes each. A
// stretch takes --seconds, and there are --rounds of each kind. --bound is `clientBufferBytes` in MiB.

const { setTimeout: sleep } = require("node:timers/promises");

const { startRedis } = require("../__test__/helpers/redis-server");
const { main, positive } = require("../scripts/run");
const { median } = require("./median");
const { startClients, startNode } = require("./process");

const OPTIONS = /** @type {const} */ ({
  clients: { type: "string", default: "200" },
  stalled: { type: "string", default: "2" },
  // Packets are spread over them: each goes to the clients of one room.
  rooms: { type: "string", default: "10" },
  // Packets per second, and their size.
  rate: { type: "string", default: "500" },
  bytes: { type: "string", default: "4000" },
  // Of each stretch, and how many there are of each kind.
  seconds: { type: "string", default: "20" },
  rounds: { type: "string", default: "3" },
  // clientBufferBytes, MiB.
  bound: { type: "string", default: "4" },
});

/** @typedef {Record<keyof typeof OPTIONS, number>} Size */
/** @typedef {{ p50: number, p99: number, memory: number }} Stretch latencies in µs, and the peak in MiB */

/**
 * @param {number} redisPort
 * @param {Size} size
 * @param {number} bound MiB; 0: none
 */
async function measure(redisPort, size, bound) {
  const adapterOptions = { clientBufferBytes: bound * 2 ** 20 };
  const node = startNode("native", redisPort, { rooms: size.rooms, adapterOptions });
  const clients = startClients();
  await Promise.all([node.started, clients.started]);
  const port = await node.ask("port");
  const connect = (/** @type {number} */ count) => clients.ask("connect", { port, count });

  const stall = async (/** @type {number} */ count) => {
    await connect(count);
    await clients.ask("stall", { count });
  };
  const stretch = async (/** @type {number} */ stalled) => {
    await stall(stalled);
    await clients.ask("measureLatency");
    let memory = 0;
    let isOver = false;
    const { rate, bytes, seconds } = size;
    const emitting = node.ask("emitAtRate", { rate, bytes, seconds }).then(() => (isOver = true));
    while (!isOver) {
      await Promise.race([emitting, sleep(500)]);
      memory = Math.max(memory, await node.ask("memory"));
      const missing = size.clients + stalled - (await node.ask("clients"));
      if (missing > 0) {
        await stall(missing);
      }
    }
    const { p50, p99 } = await clients.ask("latencies");
    await clients.ask("release");
    return { p50, p99, memory };
  };

  await connect(size.clients);
  // Compiles the code, and brings the memory to what it takes anyway.
  await stretch(0);
  /** @type {Stretch[]} */
  const without = [];
  /** @type {Stretch[]} */
  const with_ = [];
  for (let round = 0; round < size.rounds; round++) {
    without.push(await stretch(0));
    with_.push(await stretch(size.stalled));
  }
  const { slowClients: slow } = await node.ask("stats");
  await Promise.all([clients.stop(), node.stop()]);
  const ratio = (/** @type {"p50" | "p99"} */ what) =>
    median(with_.map((one, i) => one[what] / without[i][what])).toFixed(2);
  const peak = (/** @type {Stretch[]} */ all) => Math.max(...all.map(({ memory }) => memory));
  const grown = Math.max(0, peak(with_) - peak(without));
  const of = (/** @type {"p50" | "p99"} */ what, /** @type {Stretch[]} */ all) =>
    `${(median(all.map((one) => one[what])) / 1e3).toFixed(2)}`;
  console.log(
    `${bound === 0 ? "without a bound" : `bound ${bound} MiB`}: memory grew by ${grown.toFixed(0)} MiB ` +
      `(from ${peak(without).toFixed(0)}; the bound for all stalled: ${bound * size.stalled} MiB), ` +
      `${slow} connections ended; latency of the others, ms: p50 ${of("p50", without)} without stalled ` +
      `clients, ${of("p50", with_)} with (${ratio("p50")} times), p99 ${of("p99", without)} and ` +
      `${of("p99", with_)} (${ratio("p99")} times)`,
  );
}

main({ options: OPTIONS }, async ({ values }) => {
  const size = /** @type {Size} */ (
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, positive(`--${name}`, String(value))]),
    )
  );
  const redis = await startRedis();
  for (const bound of [size.bound, 0]) {
    await measure(redis.port, size, bound);
  }
  await redis.stop();
});
