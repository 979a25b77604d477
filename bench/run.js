"use strict";
// `npm run bench [scenario…]`: runs upstream with node-redis, upstream with ioredis, and ours in turn.
// Without names of scenarios it runs all of them, twice, so that the tables show whether a second run
// comes to the same, and writes the results to bench/results/ and the documents.
//
//     npm run bench -- publish --rounds 1 --runs 1     the scenarios whose names contain "publish", once

const ceilings = require("./ceilings");
const { measure } = require("./context");
const { KINDS, linesOf, write } = require("./report");
const { main, positive, requireKnown } = require("../scripts/run");

/** @type {Record<string, import("./context").Scenario>} */
const SCENARIOS = Object.assign(
  {},
  ...["receive", "publish", "backlog", "latency", "cluster", "memory"].map(
    (file) => require(`./scenarios/${file}`).scenarios,
  ),
);

/** @typedef {import("./report").Row} Row */

/**
 * Measures all rounds of a scenario, with the adapters in turn.
 *
 * @param {string} name
 * @param {number} rounds
 * @param {Map<string, Row>} rows by scenario and metric; what is measured is added to them
 * @returns {Promise<Row[]>} those of this scenario
 */
async function compare(name, rounds, rows) {
  const scenario = SCENARIOS[name];
  /** @type {Set<Row>} */
  const measured = new Set();
  for (let round = 0; round < rounds; round++) {
    for (const kind of KINDS) {
      for (const [metric, value] of Object.entries(await measure(scenario, kind))) {
        const key = `${name}: ${metric}`;
        const row = rows.get(key) ?? { scenario: name, metric, measured: {}, ceilings: [] };
        rows.set(key, row);
        (row.measured[kind] ??= []).push(value);
        measured.add(row);
      }
    }
    const limit = await scenario.ceiling?.measure({ ceilings });
    for (const row of measured) {
      if (limit !== undefined && row.metric === scenario.ceiling?.metric) {
        row.ceilings.push(limit);
      }
    }
  }
  return [...measured];
}

const OPTIONS = /** @type {const} */ ({
  rounds: { type: "string", default: "3" },
  runs: { type: "string", default: "2" },
});

main({ options: OPTIONS, allowPositionals: true }, async ({ values, positionals }) => {
  const [rounds, runs] = [positive("--rounds", values.rounds), positive("--runs", values.runs)];
  const all = Object.keys(SCENARIOS);
  const unknown = positionals.find((part) => !all.some((name) => name.includes(part)));
  if (unknown !== undefined) {
    requireKnown("scenario", unknown, all);
  }
  const names = all.filter(
    (name) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
  );
  /** @type {Map<string, Row>} */
  const rows = new Map();
  for (let run = 1; run <= runs; run++) {
    for (const name of names) {
      const measured = await compare(name, rounds, rows);
      console.log(linesOf(measured, run).join("\n"));
    }
  }
  if (positionals.length === 0) {
    await write([...rows.values()], rounds, runs);
  }
});
