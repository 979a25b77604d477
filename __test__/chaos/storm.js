// The storm, upstream and ours in one run:
//
//     npm run storm -- --clients 2000 --entries 5000 --rounds 3
//     npm run storm -- --adapter native     ours only
//
// With --write the numbers go to bench/results/, and into the documents.

"use strict";

const { execFileSync } = require("node:child_process");
const { writeFileSync } = require("node:fs");
const { cpus } = require("node:os");
const { join } = require("node:path");
const { main, positive, requireKnown } = require("../../scripts/run");
const { writeDocuments } = require("../../bench/documents");
const { runStorm } = require("./storm-scenario");

/**
 * @typedef {import("../helpers/adapters").Kind} Kind
 * @typedef {import("./agent-extension").Watched} Watched
 * @typedef {import("./storm-scenario").Result} Result
 */

const ROOT = join(__dirname, "..", "..");

const KINDS = ["upstream", "native"];

const OPTIONS = /** @type {const} */ ({
  clients: { type: "string", default: "500" },
  entries: { type: "string", default: "5000" },
  adapter: { type: "string", multiple: true },
  rounds: { type: "string", default: "1" },
  write: { type: "boolean", default: false },
});

/** CPU of both nodes per client, ms. @param {Result} result */
function cpuOf({ watched, times }) {
  return watched.reduce((sum, { cpu }) => sum + cpu, 0) / times.length;
}

/**
 * @param {Result} result
 * @param {Result} calm of clients that had missed nothing
 * @returns {Record<string, number>}
 */
function measuresOf(result, calm) {
  const { times, watched, tally, recovered } = result;
  const most = (/** @type {(one: Watched) => number} */ pick) => Math.max(...watched.map(pick));
  return {
    "half are back, ms": times[Math.floor(times.length / 2)],
    "all are back, ms": times[times.length - 1],
    recovered,
    "packets lost": tally.lost,
    "packets doubled": tally.doubled,
    "packets out of order": tally.disordered,
    "CPU of both nodes, ms per client": cpuOf(result),
    "the same for clients that had missed nothing": cpuOf(calm),
    "event loop delay, p99, ms": most(({ delayP99 }) => delayP99),
    "event loop delay, maximum, ms": most(({ delayMax }) => delayMax),
    "memory of a node, maximum, MB": most(({ memory }) => memory) / 1e6,
  };
}

/**
 * The median of each measure, and all rounds.
 *
 * @param {Record<string, number>[]} rounds
 * @returns {Record<string, { median: number, rounds: number[] }>}
 */
function columnOf(rounds) {
  return Object.fromEntries(
    Object.keys(rounds[0]).map((what) => {
      const all = rounds.map((round) => round[what]);
      return [what, { median: [...all].sort((x, y) => x - y)[all.length >> 1], rounds: all }];
    }),
  );
}

/** @param {number} value */
const show = (value) =>
  (value >= 100 || Number.isInteger(value)
    ? Math.round(value)
    : Number(value.toPrecision(3))
  ).toLocaleString("en");

/** @typedef {Record<string, ReturnType<typeof columnOf>>} Columns by adapter */

/** @param {Columns} columns */
function table(columns) {
  const kinds = Object.keys(columns);
  const lines = Object.keys(columns[kinds[0]]).map(
    (what) => `| ${what} | ${kinds.map((kind) => show(columns[kind][what].median)).join(" | ")} |`,
  );
  const names = kinds.map((kind) => (kind === "native" ? "ours" : kind));
  return [
    `| | ${names.join(" | ")} |`,
    `| --- |${kinds.map(() => " ---: |").join("")}`,
    ...lines,
  ].join("\n");
}

/** @param {string} about @param {Columns} columns */
async function write(about, columns) {
  const results = join(ROOT, "bench", "results");
  const markdown = `${table(columns)}\n\n${about}\n`;
  writeFileSync(join(results, "storm.json"), JSON.stringify({ about, columns }, null, 2) + "\n");
  writeFileSync(join(results, "storm.md"), markdown);
  await writeDocuments();
}

main({ options: OPTIONS }, async ({ values }) => {
  const count = positive("--clients", values.clients);
  const entries = positive("--entries", values.entries);
  const rounds = positive("--rounds", values.rounds);
  const kinds = /** @type {Kind[]} */ (values.adapter ?? KINDS);
  kinds.forEach((kind) => requireKnown("adapter", kind, KINDS));
  /** @type {Record<string, Record<string, number>[]>} */
  const measured = Object.fromEntries(kinds.map((kind) => [kind, []]));
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      const calm = await runStorm(kind, count, 0);
      measured[kind].push(measuresOf(await runStorm(kind, count, entries), calm));
    }
  }
  const columns = Object.fromEntries(kinds.map((kind) => [kind, columnOf(measured[kind])]));
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    encoding: "utf8",
    cwd: ROOT,
  });
  const machine = `${cpus().length} cores (${cpus()[0].model}), Node.js ${process.version}`;
  const about =
    `${count.toLocaleString("en")} clients of one node lose their connections at once, and come back to two others, ${entries.toLocaleString("en")} entries behind, of which one in 100 is for each of them, while traffic goes on. ` +
    `Medians of ${rounds} rounds in one run of \`npm run storm -- --clients ${count} --rounds ${rounds} --write\` with clients, nodes and Redis on ${machine}, commit ${commit.trim()}; upstream is @socket.io/redis-streams-adapter 0.3.1 with node-redis.`;
  console.log(`${table(columns)}\n\n${about}`);
  if (values.write) {
    await write(about, columns);
  }
});
