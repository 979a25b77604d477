"use strict";
// `npm run returns`: clients lose their connections in each of the ways that occur, and come back.
// Compares Socket.IO's own recovery in memory (one node), upstream and ours (three nodes).
//
//     npm run returns -- --clients 500 --adapter native        ours only
//     npm run returns -- --scenario killed --scenario half     those whose names contain that
//     npm run returns -- --every 15000 --cycles 4              jitter as AnyCable measures it
//     npm run returns -- --clients 5000 --interval 1000 --scenario rolling --adapter native
//
// Each node emits a packet every --interval ms, and half of these go to all clients: with thousands of
// clients, the default of 20 ms is more than a machine can take.
//
// With --write the numbers go to bench/results/, and into the documents. Those of earlier runs stay for
// the scenarios and adapters that were not run.

const { execFileSync } = require("node:child_process");
const { cpus } = require("node:os");

const { main, positive, requireKnown } = require("../../scripts/run");
const { measure } = require("./measure");
const { KINDS, lineOf, nodesLineOf, tableOf, write } = require("./report");
const { SCENARIOS } = require("./scenarios");

/** @typedef {import("./field").Kind} Kind */
/** @typedef {import("./report").Row} Row */

const OPTIONS = /** @type {const} */ ({
  clients: { type: "string", default: "200" },
  interval: { type: "string", default: "20" },
  every: { type: "string", default: "15000" },
  cycles: { type: "string", default: "2" },
  adapter: { type: "string", multiple: true },
  scenario: { type: "string", multiple: true },
  write: { type: "boolean", default: false },
});

main({ options: OPTIONS }, async ({ values }) => {
  const clients = positive("--clients", values.clients);
  const interval = positive("--interval", values.interval);
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
      const verdict = await measure(scenario, { kind, clients, interval, size });
      const row = { scenario: scenario.name, kind, verdict };
      rows.push(row);
      console.log(lineOf(row));
      console.log(nodesLineOf(row));
      verdict.samples.forEach((sample) => console.log(`    ${sample}`));
    }
  }
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    encoding: "utf8",
    cwd: __dirname,
  });
  const machine = `${cpus().length} cores (${cpus()[0].model}), Node.js ${process.version}`;
  const about =
    `One run of \`npm run returns -- --clients ${clients} --interval ${interval} --every ${size.every} --cycles ${size.cycles} --write\`: ${clients} clients, nodes and Redis on ${machine}, commit ${commit.trim()}; ` +
    "upstream is @socket.io/redis-streams-adapter 0.3.1 with node-redis. " +
    "A client is away for 1 to 2 s and comes back to a random node; a packet that it has missed and does not get is lost. " +
    "Replay is the time from its attempt to connect to its last missed packet.";
  console.log(`\n${tableOf(rows)}\n\n${about}`);
  if (values.write) {
    await write(about, rows);
  }
});
