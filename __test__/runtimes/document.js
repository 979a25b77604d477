// The section of docs/compatibility.md about runtimes: what the checks came to in each.

"use strict";

const { DENO_RIGHTS } = require("../../scripts/runtimes");
const { replaceSections } = require("../../scripts/sections");

/**
 * @typedef {object} Tested
 * @property {import("../../scripts/runtimes").Runtime} runtime
 * @property {import("./known").Outcome[]} outcomes
 * @property {number} seconds
 */

const DOCUMENT = "docs/compatibility.md";
const SECTION = "runtimes";
const COMMAND = "npm run test:runtimes";

/** @param {Tested[]} tested none of which has failed */
function table(tested) {
  const row = (/** @type {string[]} */ texts) => `| ${texts.join(" | ")} |`;
  return [
    row(["runtime", "version", "passed", "known not to work"]),
    row(["---", "---", "---:", "---"]),
    ...tested.map(({ runtime: { name, version }, outcomes }) => {
      const known = outcomes.filter(({ cause }) => cause !== undefined);
      const causes = known.map(({ check, cause }) => `${check}: ${cause}`);
      const passed = `${outcomes.length - known.length} of ${outcomes.length}`;
      return row([name, version, passed, causes.join("; ") || "nothing"]);
    }),
  ].join("\n");
}

/** @param {Tested[]} tested @returns {string} in Markdown */
function textOf(tested) {
  const checks = tested[0].outcomes.map(({ check }) => `- ${check}`);
  return `What the packed package, installed into an empty project, came to in each runtime: three nodes in processes of their own, one given a URL, one a client of \`redis\` and one a client of \`ioredis\` (version 5 of both, the newest that run in Node.js 18), with clients that use WebSocket, polling, and the change from one to the other. Written by the run:

\`\`\`sh
${COMMAND}
\`\`\`

${table(tested)}

The checks:

${checks.join("\n")}

The programs are those of the npm registry. Deno runs with \`${DENO_RIGHTS.join(" ")}\`, on a \`node_modules\` folder that npm made.`;
}

/** @param {Tested[]} tested @returns {Promise<string>} where it is */
async function writeDocument(tested) {
  await replaceSections(DOCUMENT, { [SECTION]: textOf(tested) });
  return DOCUMENT;
}

module.exports = { writeDocument };
