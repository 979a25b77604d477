"use strict";
// Measures what the option `readFrom: "replica"` takes off the master: several nodes read what one of
// them emits, with a master alone, and with one and two replicas, in turn. Takes about a minute:
//
//     node bench/replicas.js

const { createClient } = require("redis");

const { startRedis } = require("../__test__/helpers/redis-server");
const { waitFor } = require("../__test__/helpers/wait");
const { main } = require("../scripts/run");
const { median } = require("./median");
const { startNode } = require("./process");

/** @typedef {import("./process").Process} Process */
/** @typedef {import("../__test__/helpers/redis-server").RedisServer} RedisServer */

const ROUNDS = 3;
const NODES = 8;
const REPLICAS = [0, 1, 2];
const PACKETS = { count: 20_000, inFlight: 1_000, bytes: 1_000 };
const SYNCHRONIZED = ["--repl-diskless-sync-delay", "0"];

/** @param {RedisServer} server @returns {Promise<{ toNodes: number, toReplicas: number, cpu: number }>} */
async function used({ url }) {
  const client = createClient({ url });
  await client.connect();
  const info = String(await client.sendCommand(["INFO", "all"]));
  client.destroy();
  const value = (/** @type {string} */ name) =>
    Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
  const toReplicas = value("total_net_repl_output_bytes");
  return {
    toNodes: value("total_net_output_bytes") - toReplicas,
    toReplicas,
    cpu: 1e6 * (value("used_cpu_user") + value("used_cpu_sys")),
  };
}

/** The last of these is what the nodes have read. @param {Process[]} nodes */
const reads = (nodes) => Promise.all(nodes.map(async (node) => (await node.ask("stats")).read));

/**
 * @param {RedisServer} master
 * @param {RedisServer[]} replicas
 * @param {Process[]} nodes that have read everything
 * @returns {Promise<Record<string, number>>} what each packet took
 */
async function measure(master, replicas, nodes) {
  const servers = [master, ...replicas];
  const [before, read] = [await Promise.all(servers.map(used)), await reads(nodes)];
  const start = performance.now();
  await nodes[0].ask("publish", PACKETS);
  await waitFor(async () => (await reads(nodes)).every((n, i) => n - read[i] >= PACKETS.count), {
    timeout: 60_000,
    interval: 5,
    what: "all nodes to read everything",
  });
  const seconds = (performance.now() - start) / 1_000;
  const after = await Promise.all(servers.map(used));
  const each = (
    /** @type {number} */ server,
    /** @type {"toNodes" | "toReplicas" | "cpu"} */ what,
  ) => (after[server][what] - before[server][what]) / PACKETS.count;
  return {
    "packets per second, until all nodes have read them": PACKETS.count / seconds,
    "sent by the master to nodes, bytes per packet": each(0, "toNodes"),
    "sent by the master to replicas, bytes per packet": each(0, "toReplicas"),
    "CPU of the master, µs per packet": each(0, "cpu"),
    ...(replicas.length > 0 && {
      "CPU of the busiest replica, µs per packet": Math.max(
        ...replicas.map((_, place) => each(place + 1, "cpu")),
      ),
    }),
  };
}

/** @param {number} count of replicas @returns {Promise<Record<string, number>[]>} of each round */
async function measureWith(count) {
  const master = await startRedis({ args: SYNCHRONIZED });
  const replicaOf = ["--replicaof", master.host, String(master.port)];
  const replicas = await Promise.all(
    Array.from({ length: count }, () => startRedis({ args: [...SYNCHRONIZED, ...replicaOf] })),
  );
  /** @type {Process[]} */
  const nodes = [];
  try {
    for (let i = 0; i < NODES; i++) {
      nodes.push(startNode("native", master.port, { adapterOptions: { readFrom: "replica" } }));
      await nodes[i].started;
    }
    const from = count > 0 ? "replica" : "master";
    const isRead = async (/** @type {Process} */ node) =>
      (await node.ask("stats")).readFrom === from && (await node.ask("serverCount")) === NODES;
    await waitFor(async () => (await Promise.all(nodes.map(isRead))).every(Boolean), {
      timeout: 30_000,
      interval: 50,
      what: `all nodes to read from the ${from}`,
    });
    await nodes[0].ask("publish", PACKETS); // to warm up
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      rounds.push(await measure(master, replicas, nodes));
    }
    return rounds;
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
    await Promise.all([...replicas, master].map((server) => server.stop()));
  }
}

main({}, async () => {
  for (const count of REPLICAS) {
    const rounds = await measureWith(count);
    console.log(`${NODES} nodes, a master and ${count} replica${count === 1 ? "" : "s"}:`);
    for (const what of Object.keys(rounds[0])) {
      const values = rounds.map((round) => round[what]);
      const [middle, least, most] = [median(values), Math.min(...values), Math.max(...values)];
      const [shown, from, to] = [middle, least, most].map((value) =>
        Number(value.toPrecision(3)).toLocaleString("en"),
      );
      console.log(`  ${what}: ${shown} (${from} to ${to})`);
    }
  }
});
