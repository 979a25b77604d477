"use strict";
// `npm run bench [scenario…]`: runs upstream with node-redis, upstream with ioredis, and ours in turn.
// Without arguments it runs all scenarios, and writes the results to bench/results/ and the documents.
//
//     npm run bench -- publish --rounds 1     one round of the scenarios whose names contain "publish"

const ceilings = require("./ceilings");
const { measure } = require("./context");
const { median } = require("./median");
const { KINDS, tableOf, write } = require("./report");
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
 * Runs all rounds of a scenario, with the adapters in turn.
 *
 * @param {string} name
 * @param {number} rounds
 * @returns {Promise<Row[]>} one per metric
 */
async function compare(name, rounds) {
  const scenario = SCENARIOS[name];
  /** @type {Record<string, Record<string, number[]>>} */
  const results = {};
  /** @type {number[]} */
  const limits = [];
  for (let round = 0; round < rounds; round++) {
    for (const kind of KINDS) {
      for (const [metric, value] of Object.entries(await measure(scenario, kind))) {
        ((results[metric] ??= {})[kind] ??= []).push(value);
      }
    }
    if (scenario.ceiling) {
      limits.push(await scenario.ceiling.measure({ ceilings }));
    }
  }
  return Object.entries(results).map(([metric, byKind]) => ({
    scenario: name,
    metric,
    values: Object.fromEntries(KINDS.map((kind) => [kind, median(byKind[kind])])),
    ceiling: scenario.ceiling?.metric === metric ? median(limits) : undefined,
  }));
}

const OPTIONS = /** @type {const} */ ({ rounds: { type: "string", default: "3" } });

main({ options: OPTIONS, allowPositionals: true }, async ({ values, positionals }) => {
  const rounds = positive("--rounds", values.rounds);
  const all = Object.keys(SCENARIOS);
  const unknown = positionals.find((part) => !all.some((name) => name.includes(part)));
  if (unknown !== undefined) {
    requireKnown("scenario", unknown, all);
  }
  const names = all.filter(
    (name) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
  );
  /** @type {Row[]} */
  const rows = [];
  for (const name of names) {
    const measured = await compare(name, rounds);
    rows.push(...measured);
    console.log(tableOf(measured).split("\n").slice(2).join("\n"));
  }
  if (positionals.length === 0) {
    await write(rows, rounds);
  }
});
