"use strict";
// `npm run returns`: clients lose their connections in each of the ways that occur, and come back.
// Compares Socket.IO's own recovery in memory (one node), upstream and ours (three nodes).
//
//     npm run returns -- --clients 500 --adapter native        ours only
//     npm run returns -- --scenario killed --scenario half     those whose names contain that
//     npm run returns -- --every 15000 --cycles 4              jitter as AnyCable measures it
//
// With --write the numbers go to bench/results/, and into the documents.

const { execFileSync } = require("node:child_process");
const { writeFileSync } = require("node:fs");
const { cpus } = require("node:os");
const { join } = require("node:path");

const { main, positive, requireKnown } = require("../../scripts/run");
const { chartOf } = require("../chart");
const { writeDocuments } = require("../documents");
const { measure } = require("./measure");
const { SCENARIOS } = require("./scenarios");

/** @typedef {import("./field").Verdict} Verdict */
/** @typedef {import("./field").Kind} Kind */
/** @typedef {{ scenario: string, kind: Kind, verdict: Verdict }} Row */

const RESULTS = join(__dirname, "..", "results");

/** @type {Kind[]} */
const KINDS = ["in-memory", "upstream", "native"];
/** @type {Record<Kind, string>} */
const NAMES = { "in-memory": "in memory", upstream: "upstream", native: "ours" };

const OPTIONS = /** @type {const} */ ({
  clients: { type: "string", default: "200" },
  every: { type: "string", default: "15000" },
  cycles: { type: "string", default: "2" },
  adapter: { type: "string", multiple: true },
  scenario: { type: "string", multiple: true },
  write: { type: "boolean", default: false },
});

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

/** @param {string} about @param {Row[]} rows */
async function write(about, rows) {
  writeFileSync(join(RESULTS, "returns.json"), JSON.stringify({ about, rows }, null, 2) + "\n");
  writeFileSync(join(RESULTS, "returns.md"), `${tableOf(rows)}\n\n${about}\n`);
  writeFileSync(join(RESULTS, "returns.svg"), chart(rows));
  await writeDocuments();
}

main({ options: OPTIONS }, async ({ values }) => {
  const clients = positive("--clients", values.clients);
  const size = {
    every: positive("--every", values.every),
    cycles: positive("--cycles", values.cycles),
  };
  const kinds = /** @type {Kind[]} */ (values.adapter ?? KINDS);
  kinds.forEach((kind) => requireKnown("adapter", kind, KINDS));
  const scenarios = SCENARIOS.filter(
    ({ name }) => values.scenario?.some((part) => name.includes(part)) ?? true,
  );
  /** @type {Row[]} */
  const rows = [];
  for (const scenario of scenarios) {
    for (const kind of kinds) {
      const verdict = await measure(scenario, { kind, clients, size });
      const row = { scenario: scenario.name, kind, verdict };
      rows.push(row);
      console.log(lineOf(row));
      verdict.samples.forEach((sample) => console.log(`    ${sample}`));
    }
  }
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    encoding: "utf8",
    cwd: __dirname,
  });
  const machine = `${cpus().length} cores (${cpus()[0].model}), Node.js ${process.version}`;
  const about =
    `One run of \`npm run returns -- --clients ${clients} --every ${size.every} --cycles ${size.cycles} --write\`: ${clients} clients, nodes and Redis on ${machine}, commit ${commit.trim()}; ` +
    "upstream is @socket.io/redis-streams-adapter 0.3.1 with node-redis. " +
    "A client is away for 1 to 2 s and comes back to a random node; a packet that it has missed and does not get is lost. " +
    "Replay is the time from its attempt to connect to its last missed packet.";
  console.log(`\n${tableOf(rows)}\n\n${about}`);
  if (values.write) {
    await write(about, rows);
  }
});
