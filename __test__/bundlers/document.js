// The section of docs/bundlers.md that the run writes: which tool, of which version, with what recipe.

"use strict";

const { replaceSections } = require("../../scripts/sections");
const { CONFIGURATION } = require("./next");

const DOCUMENT = "docs/bundlers.md";

/**
 * @typedef {object} Tested
 * @property {string} name
 * @property {string} version
 * @property {boolean} needsModules
 */

/** @param {Tested[]} tested none of which has failed @param {import("./tools").Tool[]} tools */
function textOf(tested, tools) {
  const row = (/** @type {string[]} */ texts) => `| ${texts.join(" | ")} |`;
  const table = [
    row(["tool", "version", "to deploy"]),
    row(["---", "---", "---"]),
    ...tested.map(({ name, version, needsModules }) =>
      row([name, version, needsModules ? "the output and `node_modules`" : "the output alone"]),
    ),
  ];
  const recipes = tools.map(({ name, command, configuration }) => {
    const settings = configuration
      ? `\`${configuration[0]}\`:\n\n\`\`\`cjs\n${configuration[1]}\`\`\`\n\n`
      : "";
    return `### ${name}\n\n${settings}\`\`\`text\n${command}\n\`\`\``;
  });
  return `Each was run, written by \`npm run test:bundlers\`, in Node.js ${process.versions.node} on ${process.platform} ${process.arch}: what a recipe leads to is copied into an empty folder, and messages cross between two nodes of it.

${table.join("\n")}

${recipes.join("\n\n")}

### Next.js, standalone

\`next.config.mjs\`:

\`\`\`mjs
${CONFIGURATION}\`\`\`

A route that uses the \`Emitter\` then runs from \`.next/standalone\`. A Socket.IO server needs a [custom server](https://nextjs.org/docs/app/guides/custom-server), which Next.js does not trace: deploy that with \`node_modules\`.`;
}

/** @param {Tested[]} tested @param {import("./tools").Tool[]} tools */
async function writeDocument(tested, tools) {
  await replaceSections(DOCUMENT, { bundlers: textOf(tested, tools) });
  return DOCUMENT;
}

module.exports = { writeDocument };
