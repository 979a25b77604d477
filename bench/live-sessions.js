"use strict";
// Measures what the option `liveSessions` costs a node: its CPU time while clients connect, and while they
// are connected and send nothing. With and without the option, in turn. Takes about four minutes:
//
//     node bench/live-sessions.js

const { startRedis } = require("../__test__/helpers/redis-server");
const { main } = require("../scripts/run");
const { median } = require("./median");
const { startClients, startNode } = require("./process");

const ROUNDS = 5;
const CLIENTS = 1_000;
/** Longer than the interval at which sessions of active clients are written again, ms. */
const IDLE = 6_000;

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @param {number} redisPort
 * @param {boolean} liveSessions
 * @returns {Promise<{ connecting: number, idle: number }>} CPU time of the process, µs for each client
 */
async function measure(redisPort, liveSessions) {
  const options = { recovery: true, adapterOptions: { liveSessions } };
  const [node, clients] = [startNode("native", redisPort, options), startClients()];
  await Promise.all([node.started, clients.started]);
  const port = await node.ask("port");
  // What is compiled and opened once is not the clients'.
  await clients.ask("connect", { port, count: CLIENTS });
  await pause(IDLE);
  const cpu = async () => (await node.ask("cpu")).process / CLIENTS;
  const begin = await cpu();
  await clients.ask("connect", { port, count: CLIENTS });
  // Clients that have just connected have sent something, so their sessions are written once more.
  await pause(IDLE);
  const still = await cpu();
  await pause(IDLE);
  const end = await cpu();
  await Promise.all([clients.stop(), node.stop()]);
  return { connecting: still - begin, idle: end - still };
}

main({}, async () => {
  const redis = await startRedis();
  /** @type {Record<string, { connecting: number[], idle: number[] }>} */
  const measured = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const liveSessions of [false, true]) {
      const { connecting, idle } = await measure(redis.port, liveSessions);
      const all = (measured[String(liveSessions)] ??= { connecting: [], idle: [] });
      all.connecting.push(connecting);
      all.idle.push(idle);
    }
  }
  for (const what of /** @type {const} */ (["connecting", "idle"])) {
    const [without, with_] = ["false", "true"].map((on) => median(measured[on][what]));
    const spread = (/** @type {number[]} */ values) =>
      `${Math.round(Math.min(...values))} to ${Math.round(Math.max(...values))}`;
    console.log(
      `${what}, µs of CPU per client: ${Math.round(without)} without ` +
        `(${spread(measured.false[what])}), ${Math.round(with_)} with ` +
        `(${spread(measured.true[what])}): ${(with_ / without).toFixed(3)} times`,
    );
  }
  await redis.stop();
});
