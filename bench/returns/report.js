"use strict";
// Shows the results of `npm run returns`: a table and a chart, on the terminal and in the documents.

const { existsSync, readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");

const { chartOf } = require("../chart");
const { writeDocuments } = require("../documents");
const { SCENARIOS } = require("./scenarios");

/** @typedef {import("./field").Verdict} Verdict */
/** @typedef {import("./field").Kind} Kind */
/** @typedef {{ scenario: string, kind: Kind, verdict: Verdict }} Row */

const RESULTS = join(__dirname, "..", "results");

/** @type {Kind[]} */
const KINDS = ["in-memory", "upstream", "native"];
/** @type {Record<Kind, string>} */
const NAMES = { "in-memory": "in memory", upstream: "upstream", native: "ours" };

/** @param {number} part @param {number} whole */
const percent = (part, whole) => (whole === 0 ? 0 : (100 * part) / whole);

/** Never rounded up to 100. @param {number} value */
const showPercent = (value) => `${Math.floor(value * 100) / 100} %`;

/** @param {number[]} sorted @param {number} share */
const quantile = (sorted, share) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

/** @param {Row} row */
function lineOf({ scenario, kind, verdict }) {
  const { returns, recovered, expected, lost, doubled, disordered, replays } = verdict;
  const times = [0.5, 0.99, 1].map((share) => quantile(replays, share));
  return [
    ...[scenario, NAMES[kind], returns],
    showPercent(percent(recovered, returns)),
    showPercent(percent(expected - lost, expected)),
    ...[lost, doubled, disordered].map((count) => count.toLocaleString("en")),
    replays.length > 0 ? times.map(Math.round).join(" / ") : "",
  ].join(" | ");
}

/** What the nodes took. @param {Row} row */
function nodesLineOf({ verdict: { nodes } }) {
  if (nodes === undefined) {
    return "    the nodes were not watched";
  }
  const { delayP99, delayMax, memory, closing } = nodes;
  return (
    `    at most, of each node: event loop delay p99 ${Math.round(delayP99)} ms, maximum ${Math.round(delayMax)} ms; ` +
    `memory ${Math.round(memory / 2 ** 20)} MiB; io.close() ${Math.round(closing)} ms`
  );
}

/** @param {Row[]} rows */
function tableOf(rows) {
  return [
    "| how they went | adapter | came back | recovered | delivered | lost | doubled | out of order | replay p50 / p99 / max, ms |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rows.map((row) => `| ${lineOf(row)} |`),
  ].join("\n");
}

/** @param {Row[]} rows */
function chart(rows) {
  const groups = SCENARIOS.map(({ name }) => {
    const shares = KINDS.map((kind) => {
      const { returns = 0, recovered = 0 } =
        rows.find((row) => row.scenario === name && row.kind === kind)?.verdict ?? {};
      return percent(recovered, returns);
    });
    // The longest bar must not be 0: the chart relates the others to it.
    return { name, lengths: [...shares, 100], labels: shares.map(showPercent) };
  });
  const names = KINDS.map((kind) => NAMES[kind]);
  return chartOf("Clients that come back and are recovered, %", names, groups);
}

/**
 * The rows of this run, and those of earlier runs for what was not run now.
 *
 * @param {Row[]} rows
 * @returns {Row[]}
 */
function withEarlier(rows) {
  const file = join(RESULTS, "returns.json");
  /** @type {Row[]} */
  const earlier = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).rows : [];
  return SCENARIOS.flatMap(({ name }) =>
    KINDS.flatMap((kind) => {
      const isIt = (/** @type {Row} */ row) => row.scenario === name && row.kind === kind;
      return rows.find(isIt) ?? earlier.find(isIt) ?? [];
    }),
  );
}

/** @param {string} about @param {Row[]} measured */
async function write(about, measured) {
  const rows = withEarlier(measured).map(({ scenario, kind, verdict }) => {
    const replays = verdict.replays.map(Math.round);
    return { scenario, kind, verdict: { ...verdict, replays, samples: [] } };
  });
  writeFileSync(join(RESULTS, "returns.json"), JSON.stringify({ about, rows }) + "\n");
  writeFileSync(join(RESULTS, "returns.md"), `${tableOf(rows)}\n\n${about}\n`);
  writeFileSync(join(RESULTS, "returns.svg"), chart(rows));
  await writeDocuments();
}

module.exports = { KINDS, lineOf, nodesLineOf, tableOf, write };
