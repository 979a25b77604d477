"use strict";
// Writes the results of a run: JSON, a table, charts, and the sections of the documents.

const { execFileSync } = require("node:child_process");
const { mkdirSync, writeFileSync } = require("node:fs");
const { cpus } = require("node:os");
const { join } = require("node:path");

const { chartOf } = require("./chart");
const { writeDocuments } = require("./documents");
const { median } = require("./median");

const KINDS = ["upstream, node-redis", "upstream, ioredis", "native"];
const NAMES = ["upstream, node-redis", "upstream, ioredis", "ours"];

/**
 * @typedef {object} Row a metric of a scenario
 * @property {string} scenario
 * @property {string} metric
 * @property {Record<string, number[]>} measured by kind of adapter, a value for each round, those of the
 * first run first
 * @property {number[]} ceilings likewise; empty if there is no limit to compare with
 *
 * @typedef {object} Summary
 * @property {Record<string, number>} values medians by kind of adapter
 * @property {number} timesBetter than upstream's better client: the ratio of the medians
 * @property {number[]} runs the same for each run
 * @property {[number, number]} rounds the smallest and the largest ratio of a single round
 * @property {number} [ceiling] the median
 */

/** @param {number} value */
const show = (value) =>
  value >= 1_000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
/** @param {number} ratio */
const showRatio = (ratio) => String(Number(ratio.toPrecision(2)));

/** @param {Row["measured"]} measured @param {number} [from] @param {number} [to] rounds */
const medians = (measured, from, to) =>
  Object.fromEntries(KINDS.map((kind) => [kind, median(measured[kind].slice(from, to))]));

/**
 * How many times better than upstream's better client.
 *
 * @param {string} metric
 * @param {Record<string, number>} values by kind of adapter
 */
function ratioOf(metric, values) {
  const [nodeRedis, ioredis, native] = KINDS.map((kind) => values[kind]);
  const isMoreBetter = metric.includes("per second");
  return isMoreBetter
    ? native / Math.max(nodeRedis, ioredis)
    : Math.min(nodeRedis, ioredis) / native;
}

/** @param {Row} row @param {number} runs how many there were @returns {Summary} */
function summaryOf({ metric, measured, ceilings }, runs) {
  const count = measured[KINDS[0]].length;
  const ratios = (/** @type {number} */ parts) =>
    Array.from({ length: parts }, (_, i) =>
      ratioOf(metric, medians(measured, (i * count) / parts, ((i + 1) * count) / parts)),
    );
  const perRound = ratios(count);
  const values = medians(measured);
  return {
    values,
    timesBetter: ratioOf(metric, values),
    runs: ratios(runs),
    rounds: [Math.min(...perRound), Math.max(...perRound)],
    ceiling: ceilings.length > 0 ? median(ceilings) : undefined,
  };
}

/** Their lines in the table. @param {Row[]} rows @param {number} runs how many there were */
function linesOf(rows, runs) {
  return rows.map((row) => {
    const summary = summaryOf(row, runs);
    const { values, timesBetter, ceiling } = summary;
    const cells = KINDS.map((kind) => show(values[kind]));
    const share = ceiling
      ? `${Math.round((100 * values.native) / ceiling)}% of ${show(ceiling)}`
      : "";
    const ratios = [
      showRatio(timesBetter),
      summary.runs.map(showRatio).join(", "),
      summary.rounds.map(showRatio).join(" to "),
    ];
    return `| ${row.scenario}: ${row.metric} | ${[...cells, ...ratios, share].join(" | ")} |`;
  });
}

/** @param {Row[]} rows @param {number} runs */
function tableOf(rows, runs) {
  return [
    "| scenario | upstream, node-redis | upstream, ioredis | ours | times better | in each run | in single rounds | of the ceiling |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...linesOf(rows, runs),
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

/** @param {Row[]} rows @param {number} rounds of each run @param {number} runs */
async function write(rows, rounds, runs) {
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const machine = `${cpus().length} cores (${cpus()[0].model}), Node.js ${process.version}`;
  const about =
    `Medians of ${runs} runs of ${rounds} rounds each, one after the other, by \`npm run bench\` on ${machine}, commit ${commit}; ` +
    "payloads of 100 bytes where nothing else is said; upstream is " +
    "@socket.io/redis-streams-adapter 0.3.1. Ceilings: redis-benchmark's pipelined XADD while a raw " +
    "reader drains the stream, and raw XRANGE, one page after the other.";
  const results = join(__dirname, "results");
  mkdirSync(results, { recursive: true });
  const summaries = rows.map((row) => ({ ...row, ...summaryOf(row, runs) }));
  writeFileSync(
    join(results, "results.json"),
    JSON.stringify({ about, rows: summaries }, null, 2) + "\n",
  );
  const markdown = `${tableOf(rows, runs)}\n\n${about}\n`;
  writeFileSync(join(results, "results.md"), markdown);
  for (const { file, title, metric, scenarios } of CHARTS) {
    const groups = summaries
      .filter((row) => row.metric === metric && row.scenario.startsWith(scenarios))
      .map(({ scenario, values }) => {
        const lengths = KINDS.map((kind) => values[kind]);
        return { name: scenario, lengths, labels: lengths.map(show) };
      });
    writeFileSync(join(results, file), chartOf(title, NAMES, groups));
  }
  await writeDocuments();
}

module.exports = { KINDS, linesOf, write };
