"use strict";
// Measures what a node and its Redis need, for docs/capacity.md. Takes about a minute:
//
//     node bench/capacity.js

const { createClient } = require("redis");

const { startRedis } = require("../__test__/helpers/redis-server");
const { main } = require("../scripts/run");
const { startClients, startNode } = require("./process");

const CLIENTS = 5_000;
const ROOMS = 50_000;
const NODES = 8;
const ENTRIES = 20_000;
const IDLE_SECONDS = 10;

/** @typedef {import("./process").Process} Process */

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** @param {string} what @param {number} value */
function report(what, value) {
  console.log(`${what}: ${Number(value.toPrecision(3)).toLocaleString("en")}`);
}

main({}, async () => {
  const redis = await startRedis();
  const admin = createClient({ url: redis.url });
  await admin.connect();
  /** @type {Process[]} */
  const nodes = [];

  /** Starts nodes until `count` of them run and know each other. @param {number} count */
  async function nodesUpTo(count) {
    while (nodes.length < count) {
      nodes.push(startNode("native", redis.port));
      await nodes[nodes.length - 1].started;
    }
    while ((await nodes[0].ask("serverCount")) !== count) {
      await pause(50);
    }
  }

  const bytesOf = async (/** @type {Process} */ node) => (await node.ask("memory")) * 2 ** 20;

  /** @param {RegExp} counter of INFO */
  async function counted(counter) {
    const [, value] = counter.exec(String(await admin.sendCommand(["INFO", "stats"]))) ?? [];
    return Number(value);
  }

  /** The number of commands per second that Redis gets while nobody emits. */
  async function idleCommands() {
    const counter = /total_commands_processed:(\d+)/;
    const before = await counted(counter);
    await pause(IDLE_SECONDS * 1_000);
    return ((await counted(counter)) - before) / IDLE_SECONDS;
  }

  await nodesUpTo(1);
  const [node] = nodes;
  const idle = await bytesOf(node);
  report("an idle node, MiB", idle / 2 ** 20);
  const list = String(await admin.sendCommand(["CLIENT", "LIST", "TYPE", "normal"]));
  const subscribed = String(await admin.sendCommand(["CLIENT", "LIST", "TYPE", "pubsub"]));
  const connections = `${list}${subscribed}`.trim().split("\n").length - 1;
  report("connections of a node to Redis", connections);
  report("commands per second, 1 idle node", await idleCommands());

  const clients = startClients();
  await clients.started;
  await clients.ask("connect", { port: await node.ask("port"), count: CLIENTS });
  const full = await bytesOf(node);
  report(`a WebSocket client, KiB (of ${CLIENTS})`, (full - idle) / CLIENTS / 2 ** 10);
  await node.ask("joinRooms", { count: ROOMS });
  report(`a room with one member, bytes (of ${ROOMS})`, ((await bytesOf(node)) - full) / ROOMS);
  await clients.stop();

  for (const bytes of [100, 1_000]) {
    await admin.del("socket.io");
    await node.ask("publish", { count: ENTRIES, inFlight: 1_000, bytes });
    const key = ["socket.io", "SAMPLES", "0"];
    const used = Number(await admin.sendCommand(["MEMORY", "USAGE", ...key]));
    report(`an entry with ${bytes} bytes of text in Redis, bytes`, used / ENTRIES);
    const sent = /total_net_output_bytes:(\d+)/;
    const before = await counted(sent);
    await admin.sendCommand(["XRANGE", "socket.io", "-", "+"]);
    report("the same, sent to a node, bytes", ((await counted(sent)) - before) / ENTRIES);
  }

  const recovering = startNode("native", redis.port, { recovery: true });
  const returning = startClients();
  await Promise.all([recovering.started, returning.started]);
  const usedMemory = async () =>
    Number(/used_memory:(\d+)/.exec(String(await admin.sendCommand(["INFO", "memory"])))?.[1]);
  const usedBefore = await usedMemory();
  const commands = /total_commands_processed:(\d+)/;
  const commandsBefore = await counted(commands);
  await returning.ask("connect", { port: await recovering.ask("port"), count: CLIENTS });
  while ((await admin.dbSize()) < CLIENTS) {
    await pause(50);
  }
  const recorded = (await usedMemory()) - usedBefore;
  report("a connected client with recovery, bytes in Redis", recorded / CLIENTS);
  report("the same, commands", ((await counted(commands)) - commandsBefore) / CLIENTS);
  await Promise.all([returning.stop(), recovering.stop()]);

  await nodesUpTo(NODES);
  report(`commands per second, ${NODES} idle nodes`, await idleCommands());
  await Promise.all(nodes.map((each) => each.stop()));
  admin.destroy();
  await redis.stop();
});
