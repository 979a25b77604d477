"use strict";
// Writes the results of a run: JSON, a table, charts, and the sections of the documents.

const { execFileSync } = require("node:child_process");
const { mkdirSync, writeFileSync } = require("node:fs");
const { cpus } = require("node:os");
const { join } = require("node:path");

const { chartOf } = require("./chart");
const { writeDocuments } = require("./documents");

const KINDS = ["upstream, node-redis", "upstream, ioredis", "native"];
const NAMES = ["upstream, node-redis", "upstream, ioredis", "ours"];

/**
 * @typedef {object} Row a metric of a scenario
 * @property {string} scenario
 * @property {string} metric
 * @property {Record<string, number>} values medians by kind of adapter
 * @property {number} [ceiling]
 */

/** @param {number} value */
const show = (value) =>
  value >= 1_000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

/** True if more is better. @param {Row} row */
const isRate = ({ metric }) => metric.includes("per second");

/** How many times better than upstream's better client. @param {Row} row */
function ratioOf(row) {
  const [nodeRedis, ioredis, native] = KINDS.map((kind) => row.values[kind]);
  return isRate(row)
    ? native / Math.max(nodeRedis, ioredis)
    : Math.min(nodeRedis, ioredis) / native;
}

/** @param {Row[]} rows */
function tableOf(rows) {
  const lines = rows.map((row) => {
    const { scenario, metric, values, ceiling } = row;
    const cells = KINDS.map((kind) => show(values[kind]));
    const share = ceiling
      ? `${Math.round((100 * values.native) / ceiling)}% of ${show(ceiling)}`
      : "";
    const ratio = Number(ratioOf(row).toPrecision(2));
    return `| ${scenario}: ${metric} | ${cells.join(" | ")} | ${ratio} | ${share} |`;
  });
  return [
    "| scenario | upstream, node-redis | upstream, ioredis | ours | times better | of the ceiling |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
    ...lines,
  ].join("\n");
}

/** The charts: the file, its title, and the beginning of the names of their scenarios. */
const CHARTS = [
  {
    file: "receive.svg",
    title: "CPU of a node per broadcast that it reads, µs",
    metric: "process, µs per entry",
    scenarios: "receive",
  },
  {
    file: "receive-js.svg",
    title: "JS thread's time per broadcast that is read, µs",
    metric: "JS thread, µs per entry",
    scenarios: "receive",
  },
  {
    file: "publish.svg",
    title: "Packets published per second",
    metric: "packets per second",
    scenarios: "publish",
  },
  {
    file: "latency.svg",
    title: "Latency to a client of another node, p99, ms",
    metric: "p99, ms",
    scenarios: "latency",
  },
  {
    file: "cluster.svg",
    title: "CPU of each node with the same local traffic, % of a core",
    metric: "process, % of a core per node",
    scenarios: "the same local traffic",
  },
];

/** @param {Row[]} rows @param {number} rounds */
async function write(rows, rounds) {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const machine = `${cpus().length} cores (${cpus()[0].model}), Node.js ${process.version}`;
  const about =
    `Medians of ${rounds} rounds in one run of \`npm run bench\` on ${machine}, commit ${commit}; ` +
    "payloads of 100 bytes where nothing else is said; upstream is " +
    "@socket.io/redis-streams-adapter 0.3.1. Ceilings: redis-benchmark's pipelined XADD while a raw " +
    "reader drains the stream, and raw XRANGE, one page after the other.";
  const results = join(__dirname, "results");
  mkdirSync(results, { recursive: true });
  const ratios = rows.map((row) => ({ ...row, timesBetter: ratioOf(row) }));
  writeFileSync(
    join(results, "results.json"),
    JSON.stringify({ about, rows: ratios }, null, 2) + "\n",
  );
  const markdown = `${tableOf(rows)}\n\n${about}\n`;
  writeFileSync(join(results, "results.md"), markdown);
  for (const { file, title, metric, scenarios } of CHARTS) {
    const groups = rows
      .filter((row) => row.metric === metric && row.scenario.startsWith(scenarios))
      .map(({ scenario, values }) => {
        const lengths = KINDS.map((kind) => values[kind]);
        return { name: scenario, lengths, labels: lengths.map(show) };
      });
    writeFileSync(join(results, file), chartOf(title, NAMES, groups));
  }
  await writeDocuments();
}

module.exports = { KINDS, tableOf, write };
