"use strict";
// `npm run bench [scenario…]`: upstream through node-redis and through ioredis, and ours, in turn, in
// one run. Writes bench/results/results.json and results.md, and the table of the README.

const { fork } = require("node:child_process");
const { mkdirSync, readFileSync, writeFileSync } = require("node:fs");
const { cpus } = require("node:os");
const { execFileSync } = require("node:child_process");
const { join } = require("node:path");

const { createClient } = require("redis");
const { startRedis } = require("../__test__/helpers/redis-server");

const KINDS = ["upstream, node-redis", "upstream, ioredis", "native"];
const ROUNDS = 3;
const ENTRIES = 40_000;
const BYTES = 100;

/** A node in a process of its own. */
class Node {
  #child;
  #next = 1;
  /** @type {Map<number, (answer: any) => void>} */
  #open = new Map();

  /** @param {string} kind @param {number} port */
  constructor(kind, port) {
    this.#child = fork(join(__dirname, "node.js"), [kind, String(port)]);
    this.#child.on("message", (/** @type {any} */ { id, answer }) => this.#open.get(id)?.(answer));
    this.started = new Promise((resolve) => this.#open.set(0, resolve));
  }

  /** @param {string} order @param {any} [argument] @returns {Promise<any>} */
  ask(order, argument) {
    const id = this.#next++;
    this.#child.send({ id, order, argument });
    return new Promise((resolve) => this.#open.set(id, resolve));
  }

  stop() {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.disconnect();
    return ended;
  }
}

/** @param {() => Promise<boolean>} condition */
async function until(condition) {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Broadcasts of another node to a room, written in batches; then one for everyone, as the end. */
async function write(/** @type {any} */ redis, /** @type {string} */ room) {
  const fields = (/** @type {object} */ data, type = "3") => ({
    uid: "benchbenchbench0",
    nsp: "/",
    type,
    data: JSON.stringify(data),
  });
  const opts = { rooms: [room], except: [], flags: {} };
  const packet = { type: 2, data: ["bench", "x".repeat(BYTES)], nsp: "/" };
  const entry = fields({ opts, packet });
  for (let i = 0; i < ENTRIES; i += 500) {
    const batch = redis.multi();
    for (let j = 0; j < 500; j++) {
      batch.xAdd("socket.io", "*", entry);
    }
    await batch.execAsPipeline();
  }
  await redis.xAdd("socket.io", "*", fields({ packet: ["bench:done"] }, "9"));
}

/** CPU of a node that reads ENTRIES broadcasts to a room with so many local members. */
const receive = (/** @type {number} */ members) => async (/** @type {any} */ context) => {
  const { redis, node } = context;
  await node.ask("join", { room: "room", members });
  const before = await node.ask("cpu");
  await write(redis, members > 0 ? "room" : "elsewhere");
  await until(async () => (await node.ask("seen")) === 1);
  const after = await node.ask("cpu");
  if ((await node.ask("written")) !== members * ENTRIES) {
    throw new Error("not every member got every packet");
  }
  return {
    "JS thread, µs per entry": (after.jsThread - before.jsThread) / ENTRIES,
    "process, µs per entry": (after.process - before.process) / ENTRIES,
  };
};

const publish =
  (/** @type {number} */ inFlight) =>
  async (/** @type {any} */ { node }) => {
    const count = inFlight === 1 ? 3_000 : 40_000;
    const result = await node.ask("publish", { count, inFlight, bytes: BYTES });
    return {
      "packets per second": result.perSecond,
      "process, µs per packet": result.process,
    };
  };

/** @type {Record<string, (context: any) => Promise<Record<string, number>>>} */
const SCENARIOS = {
  "receive, no local member": receive(0),
  "receive, 1 local member": receive(1),
  "receive, 100 local members that count writes": receive(100),
  "publish, 1 in flight": publish(1),
  "publish, 1,000 in flight": publish(1_000),
  "fetchSockets on 3 nodes": async ({ node }) => ({
    "median, µs": await node.ask("fetchSockets", { count: 300 }),
  }),
  "memory of an idle node": async ({ node }) => ({ MiB: await node.ask("memory") }),
};
const NODES = { "fetchSockets on 3 nodes": 3 };

/** One measurement, on a fresh server with fresh nodes. */
async function measure(/** @type {string} */ scenario, /** @type {string} */ kind) {
  const server = await startRedis();
  const redis = createClient({ url: server.url });
  await redis.connect();
  const count = NODES[/** @type {keyof typeof NODES} */ (scenario)] ?? 1;
  const nodes = Array.from({ length: count }, () => new Node(kind, server.port));
  try {
    await Promise.all(nodes.map((node) => node.started));
    await until(async () => (await nodes[0].ask("ready")) === count);
    // Both read from the stream's tail from here on.
    await new Promise((resolve) => setTimeout(resolve, 300));
    return await SCENARIOS[scenario]({ redis, node: nodes[0] });
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
    redis.destroy();
    await server.stop();
  }
}

/** @param {number[]} values */
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
/** @param {number} value */
const show = (value) =>
  value >= 1_000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

function table(/** @type {any[]} */ rows) {
  const lines = rows.map(({ scenario, metric, values }) => {
    const isRate = metric.includes("per second");
    const [nodeRedis, ioredis, native] = KINDS.map((kind) => values[kind]);
    const better = isRate ? Math.max(nodeRedis, ioredis) : Math.min(nodeRedis, ioredis);
    const ratio = isRate ? native / better : better / native;
    const cells = [nodeRedis, ioredis, native].map(show);
    return `| ${scenario}: ${metric} | ${cells.join(" | ")} | ${Number(ratio.toPrecision(2))} |`;
  });
  return [
    "| scenario | upstream, node-redis | upstream, ioredis | ours | times better |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...lines,
  ].join("\n");
}

(async () => {
  const wanted = process.argv.slice(2);
  const names = Object.keys(SCENARIOS).filter(
    (name) => wanted.length === 0 || wanted.some((part) => name.includes(part)),
  );
  const rows = [];
  for (const scenario of names) {
    /** @type {Record<string, Record<string, number[]>>} */
    const results = {};
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of KINDS) {
        const measured = await measure(scenario, kind);
        for (const [metric, value] of Object.entries(measured)) {
          ((results[metric] ??= {})[kind] ??= []).push(value);
        }
      }
    }
    for (const [metric, byKind] of Object.entries(results)) {
      const values = Object.fromEntries(KINDS.map((kind) => [kind, median(byKind[kind])]));
      rows.push({ scenario, metric, values });
      console.log(table([rows[rows.length - 1]]).split("\n")[2]);
    }
  }
  if (wanted.length > 0) {
    return;
  }
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const machine = `${cpus().length} cores (${cpus()[0].model}), Node.js ${process.version}`;
  const about = `Medians of ${ROUNDS} rounds in one run of \`npm run bench\` on ${machine}, commit ${commit}; payloads of ${BYTES} bytes; upstream is @socket.io/redis-streams-adapter 0.3.1.`;
  const results = join(__dirname, "results");
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, "results.json"), JSON.stringify({ about, rows }, null, 2) + "\n");
  const markdown = `${table(rows)}\n\n${about}\n`;
  writeFileSync(join(results, "results.md"), markdown);
  const readme = join(__dirname, "..", "README.md");
  const text = readFileSync(readme, "utf8");
  const section = /(<!-- bench -->)[^]*(<!-- \/bench -->)/;
  writeFileSync(readme, text.replace(section, `$1\n\n${markdown}\n$2`));
})();
