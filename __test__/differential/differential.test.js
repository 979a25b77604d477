// One script of scenarios on socket.io's adapter in memory, on upstream's and on ours. What clients and
// listeners see must be the same, except for the differences that a scenario names with their reasons.
// docs/upgrading.md has the list for users.

"use strict";

const assert = require("node:assert/strict");
const { readdirSync } = require("node:fs");
const { join } = require("node:path");
const { describe, test } = require("node:test");
const { useRedis } = require("../helpers/cluster");
const { Servers } = require("./servers");

/**
 * @typedef {object} Scenario
 * @property {number} [nodes] 1 by default; in memory, one server plays all of them
 * @property {object} [options] of the Socket.IO servers
 * @property {(servers: Servers) => Promise<unknown>} run gives what was seen
 * @property {Partial<Record<"memory" | "upstream", string>>} [differs] why the outcome is another one
 * there than ours
 * @property {Partial<Record<"memory" | "upstream", string>>} [races] why the outcome there is now this,
 * now that: it is not compared
 * @property {string} [notInMemory] why it cannot run there
 */

const context = useRedis();
const FOLDER = join(__dirname, "scenarios");

/** @param {import("./servers").Kind} kind @param {Scenario} scenario */
async function outcome(kind, scenario) {
  const servers = await Servers.start(context.redis, kind, scenario);
  try {
    return JSON.parse(servers.render(await scenario.run(servers)));
  } finally {
    await servers.close();
  }
}

for (const file of readdirSync(FOLDER)) {
  /** @type {Record<string, Scenario>} */
  const scenarios = require(join(FOLDER, file));
  describe(file.replace(".js", ""), () => {
    for (const [name, scenario] of Object.entries(scenarios)) {
      test(name, async () => {
        const ours = await outcome("native", scenario);
        for (const kind of /** @type {const} */ (["memory", "upstream"])) {
          if (kind === "memory" && scenario.notInMemory !== undefined) {
            continue;
          }
          if (scenario.races?.[kind] !== undefined) {
            continue;
          }
          const theirs = await outcome(kind, scenario);
          if (scenario.differs?.[kind] === undefined) {
            assert.deepEqual({ [kind]: ours }, { [kind]: theirs });
          } else {
            assert.notDeepEqual(ours, theirs, `the same as ${kind} now: ${scenario.differs[kind]}`);
          }
        }
      });
    }
  });
}
