"use strict";
// Writes the results of runs into the documents: all of them into docs/benchmarks.md, a few lines into
// README.md.
//
//     node bench/documents.js     writes them again from bench/results/

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const { main } = require("../scripts/run");
const { replaceSections } = require("../scripts/sections");

const RESULTS = join(__dirname, "results");

/** What users most want to know of a server, including where we are worse. */
const HIGHLIGHTS = [
  {
    what: "JS-thread CPU to skip a packet for other nodes' clients, µs",
    scenario: "receive, no local member",
    metric: "JS thread, µs per entry",
  },
  {
    what: "CPU of the node for the same, µs",
    scenario: "receive, no local member",
    metric: "process, µs per entry",
  },
  {
    what: "CPU of the node for a broadcast to 100 WebSocket clients, µs",
    scenario: "receive, 100 WebSocket clients",
    metric: "process, µs per entry",
  },
  {
    what: "CPU of each of 16 nodes that share some traffic, % of a core",
    scenario: "the same local traffic, 16 nodes",
    metric: "process, % of a core per node",
  },
  {
    what: "packets published per second, 1,000 in flight",
    scenario: "publish, 1,000 in flight",
    metric: "packets per second",
  },
  {
    what: "packets published per second, one at a time",
    scenario: "publish, 1 in flight",
    metric: "packets per second",
  },
  {
    what: "entries read per second, 300,000 behind",
    scenario: "a backlog of 300,000 entries",
    metric: "entries per second",
  },
  {
    what: "latency to a client of another node, 500 packets/s, p99, ms",
    scenario: "latency to a client of another node, 500/s",
    metric: "p99, ms",
  },
  {
    what: "latency to a client of another node, 10,000 packets/s, p99, ms",
    scenario: "latency to a client of another node, 10,000/s",
    metric: "p99, ms",
  },
  {
    what: "memory of an idle node, MiB",
    scenario: "memory of an idle node",
    metric: "MiB",
  },
];
const STORM_HIGHLIGHTS = {
  "CPU of both nodes, ms per client": "2,000 clients that come back at once: CPU per client, ms",
  recovered: "of 2,000 clients that come back, recovered",
  "packets lost": "packets lost by these 2,000",
};

/** @param {string} file of bench/results/ */
const read = (file) => readFileSync(join(RESULTS, file), "utf8");

/** @param {number} value */
const show = (value) =>
  value >= 1_000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

/** From this ratio on, what is not better is about equal. */
const EQUAL = 0.95;

/** @returns {string} a table of both runs, and a text about the results in which we are not better */
function highlights() {
  /** @type {{ rows: (import("./report").Row & import("./report").Summary)[] }} */
  const { rows } = JSON.parse(read("results.json"));
  /** @type {string[]} */
  const equal = [];
  /** @type {string[]} */
  const worse = [];
  const lines = HIGHLIGHTS.map(({ what, scenario, metric }) => {
    const row = rows.find((row) => row.scenario === scenario && row.metric === metric);
    if (!row) {
      throw new Error(`bench/results/results.json has no row "${scenario}: ${metric}"`);
    }
    const [nodeRedis, ioredis] = [
      row.values["upstream, node-redis"],
      row.values["upstream, ioredis"],
    ];
    const values = [nodeRedis, ioredis, row.values.native].map(show);
    const times = Number(row.timesBetter.toPrecision(2));
    if (times <= 1) {
      (times >= EQUAL ? equal : worse).push(what);
    }
    return `| ${what} | ${values.join(" | ")} | ${times > 1 ? times : ""} |`;
  });
  const { upstream, native } = JSON.parse(read("storm.json")).columns;
  const stormLines = Object.entries(STORM_HIGHLIGHTS).map(
    ([measure, what]) =>
      `| ${what} | ${show(upstream[measure].median)} | | ${show(native[measure].median)} | |`,
  );
  const notBetter = [
    equal.length > 0 ? ` About equal: ${equal.join("; ")}.` : "",
    worse.length > 0 ? ` We are worse in: ${worse.join("; ")}.` : "",
  ];
  return [
    "| | upstream, node-redis | upstream, ioredis | ours | times better |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...lines,
    ...stormLines,
    "",
    `"Times better" compares with upstream's better client.${notBetter.join("")}`,
  ].join("\n");
}

async function writeDocuments() {
  await replaceSections("docs/benchmarks.md", {
    bench: read("results.md"),
    storm: read("storm.md"),
    returns: read("returns.md"),
  });
  await replaceSections("README.md", { highlights: highlights() });
}

module.exports = { writeDocuments };

if (require.main === module) {
  main({}, writeDocuments);
}
