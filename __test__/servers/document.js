// The part of docs/compatibility.md about servers: what the parity suite came to on each of them and in
// each configuration.

"use strict";

const { CLIENTS, CONFIGURATIONS } = require("./configurations");

/** @typedef {import("./outcome").Outcome} Outcome */

/**
 * @typedef {object} ServerFacts
 * @property {{ name: string, version: string, major: number }} about as its program says
 * @property {string} title name and version
 * @property {boolean} hasTls
 *
 * @typedef {import("../../scripts/servers").Server & ServerFacts} TestedServer
 *
 * @typedef {object} Run
 * @property {string} date
 * @property {string} node
 * @property {Record<string, string>} packages versions of what it ran with
 * @property {TestedServer[]} servers
 * @property {{ name: string, reason: string }[]} missing servers that could not be had
 * @property {Map<string, Outcome | string>} cells by `cellName`; a text says why it does not apply
 */

const COMMAND = "npm run test:servers";

/** @param {string} server @param {string} configuration */
const cellName = (server, configuration) => `${server}: ${configuration}`;

/** @param {Outcome | string | undefined} cell */
function cellText(cell) {
  if (cell === undefined) {
    return "not run";
  }
  if (typeof cell === "string") {
    return "not applicable";
  }
  const skipped = Object.values(cell.skipped).reduce((sum, count) => sum + count, 0);
  return cell.ok ? `${cell.passed} / ${skipped}` : `**failed: ${cell.failed}**`;
}

/** @param {Run} run */
function table({ servers, cells }) {
  const row = (/** @type {string[]} */ texts) => `| ${texts.join(" | ")} |`;
  return [
    row(["passed / skipped", ...servers.map(({ title }) => title)]),
    row(["---", ...servers.map(() => "---:")]),
    ...CONFIGURATIONS.map(({ name, env }) =>
      row([
        name,
        ...servers.map(({ title, hasTls }) => {
          const text = cellText(cells.get(cellName(title, name)));
          return env.REDIS === "tls" && !hasTls ? `${text} (proxy)` : text;
        }),
      ]),
    ),
  ].join("\n");
}

/** Why tests were skipped, and in which configurations. @param {Run} run */
function reasons({ cells }) {
  /** @type {Map<string, Set<string>>} */
  const places = new Map();
  const add = (/** @type {string} */ reason, /** @type {string} */ place) =>
    places.set(reason, (places.get(reason) ?? new Set()).add(place));
  for (const [name, cell] of cells) {
    const configuration = name.slice(name.indexOf(": ") + 2);
    if (typeof cell === "string") {
      add(cell, `all of "${configuration}"`);
    } else {
      Object.keys(cell.skipped).forEach((reason) => add(reason, configuration));
    }
  }
  return [...places].map(([reason, where]) => {
    const all = where.size === CONFIGURATIONS.length;
    return `- ${reason} (${all ? "everywhere" : [...where].join("; ")})`;
  });
}

/** @param {Run} run @returns {string} in Markdown */
function documentOf(run) {
  const { servers, missing, packages, node, date, cells } = run;
  const commits = new Set(
    [...cells.values()].flatMap((cell) => (typeof cell === "string" ? [] : cell.commit)),
  );
  const withoutTls = servers.filter(({ hasTls }) => !hasTls).map(({ title }) => title);
  return `What the parity suite (\`__test__/parity\`) came to on each server, in each configuration, written by the run:

\`\`\`sh
${COMMAND}
\`\`\`

${table(run)}

Node.js ${node}, ${Object.entries(packages)
    .map(([name, version]) => `\`${name}\` ${version}`)
    .join(", ")}; commit ${[...commits].join(", ")}, ${date}.

The servers:

${servers.map(({ title, origin }) => `- ${title}: ${origin}`).join("\n")}
${missing.map(({ name, reason }) => `- ${name}: not tested, ${reason.split("\n")[0]}\n`).join("")}
The configurations:

- A cluster is three masters with a replica each; sentinels are three, with a master and a replica. The clients are the packages' cluster and sentinel clients.
- TLS asks for a client certificate.${
    withoutTls.length > 0
      ? ` ${withoutTls.join(" and ")} ${withoutTls.length > 1 ? "were" : "was"} built without TLS: there, a proxy in front of the server speaks it ("proxy" in the table).`
      : ""
  }
- The user with the documented permissions has those that [Permissions of the Redis user](operations.md#permissions-of-the-redis-user) lists, adapted to the names that a test chooses, and no other. Settings stand in for a client, which would need permissions of its own. The run fails when the server's ACL log shows anything.

Skipped, why and where (a suite that is skipped as a whole counts as one):

${reasons(run).join("\n")}
`;
}

module.exports = { CLIENTS, cellName, documentOf };
