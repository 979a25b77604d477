"use strict";
// Measures what the option `liveSessions` costs a node: its CPU time while clients connect, and while they
// are connected and send nothing. Two nodes, one without the option, get a few clients each in turn, so
// that both meet the same load on the machine. Takes about two minutes:
//
//     node bench/live-sessions.js
//     node bench/live-sessions.js --clients 18000 --rounds 1     many idle ones
//
// A node has 1,000 clients more than that, each with a file descriptor: see `ulimit -n`.

const { startRedis } = require("../__test__/helpers/redis-server");
const { main, positive } = require("../scripts/run");
const { median } = require("./median");
const { startClients, startNode } = require("./process");

const OPTIONS = /** @type {const} */ ({
  clients: { type: "string", default: "3000" },
  rounds: { type: "string", default: "5" },
});

/** How many clients connect to one node before the next node's turn. */
const TURN = 50;
/** Longer than the interval at which sessions of active clients are looked at, ms. */
const IDLE = 6_000;

/** @typedef {{ connecting: number, idle: number }} Cpu CPU time of a process, µs for each client */

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @param {number} redisPort
 * @param {number} count of clients for each node
 * @returns {Promise<Cpu[]>} of the node without the option, and of the one with it
 */
async function measure(redisPort, count) {
  const sides = [false, true].map((liveSessions) => ({
    node: startNode("native", redisPort, { recovery: true, adapterOptions: { liveSessions } }),
    clients: startClients(),
    port: 0,
  }));
  for (const side of sides) {
    await Promise.all([side.node.started, side.clients.started]);
    side.port = await side.node.ask("port");
  }
  const connect = async (/** @type {number} */ total) => {
    for (let i = 0; i < total; i += TURN) {
      for (const { clients, port } of sides) {
        await clients.ask("connect", { port, count: TURN });
      }
    }
    // Clients that have just connected have sent something, so their sessions are looked at once more.
    await pause(IDLE);
  };
  const cpu = () =>
    Promise.all(sides.map(async ({ node }) => (await node.ask("cpu")).process / count));
  // What is compiled and opened once is not the clients'.
  await connect(1_000);
  const before = await cpu();
  await connect(count);
  const still = await cpu();
  await pause(IDLE);
  const end = await cpu();
  await Promise.all(sides.flatMap(({ node, clients }) => [clients.stop(), node.stop()]));
  return sides.map((_side, i) => ({ connecting: still[i] - before[i], idle: end[i] - still[i] }));
}

main({ options: OPTIONS }, async ({ values }) => {
  const clients = positive("--clients", values.clients);
  const redis = await startRedis();
  /** @type {Cpu[][]} */
  const rounds = [];
  for (let round = 0; round < positive("--rounds", values.rounds); round++) {
    rounds.push(await measure(redis.port, clients));
  }
  for (const what of /** @type {const} */ (["connecting", "idle"])) {
    const [without, with_] = [0, 1].map((side) => rounds.map((round) => round[side][what]));
    const ratios = without.map((cpu, i) => with_[i] / cpu);
    const shown = (/** @type {number[]} */ cpu) =>
      `${median(cpu).toFixed(1)} (${Math.min(...cpu).toFixed(1)} to ${Math.max(...cpu).toFixed(1)})`;
    console.log(
      `${what}, µs of CPU per client: ${shown(without)} without, ${shown(with_)} with: ` +
        `${median(ratios).toFixed(3)} times (${ratios.map((ratio) => ratio.toFixed(3)).join(", ")})`,
    );
  }
  await redis.stop();
});
