// `npm run test:runtimes`: installs the packed package into an empty project, and runs three nodes
// and their clients there in each runtime: Node.js 18 to 26, Bun and Deno (scripts/runtimes.js).
//
//     npm run test:runtimes                             all, into docs/compatibility.md
//     npm run test:runtimes -- --no-document            all, and nothing is written
//     npm run test:runtimes -- --only "Bun|Deno"        those whose names match
//     npm run test:runtimes -- --here                   in the Node.js that runs this, nothing is fetched
//     npm run test:runtimes -- --tarballs tarballs      those, instead of packing
//     npm run test:runtimes -- --without-redis          only what needs no Redis

"use strict";

const { installPackages } = require("../scripts/install-packages");
const { ScriptError, main } = require("../scripts/run");
const { fetchRuntimes, thisRuntime } = require("../scripts/runtimes");
const { installProgram } = require("../scripts/system-package");

/** @typedef {import("./runtimes/document").Tested} Tested */

const OPTIONS = /** @type {const} */ ({
  only: { type: "string", default: "" },
  here: { type: "boolean", default: false },
  tarballs: { type: "string" },
  "without-redis": { type: "boolean", default: false },
  "no-document": { type: "boolean", default: false },
});

/** @param {Tested} tested */
function report({ runtime: { name, version }, outcomes, seconds }) {
  console.log(`\n# ${name} (${version}), ${seconds.toFixed(1)} s`);
  for (const { check, ok, cause, error } of outcomes) {
    console.log(`${ok ? "ok    " : "FAILED"}  ${check}${cause ? `: known, ${cause}` : ""}`);
    if (!ok) {
      // A difference between long texts would be all that is left on the screen.
      const text = (error?.stack ?? "").replace(/^.{200}.*$/gm, (line) => `${line.slice(0, 200)}…`);
      console.log(`        ${text.replaceAll("\n", "\n        ")}`);
    }
  }
}

/** @param {Tested[]} tested */
function summary(tested) {
  const lines = tested.map(({ runtime: { name, version }, outcomes, seconds }) => {
    const failed = outcomes.filter(({ ok }) => !ok).length;
    const known = outcomes.filter(({ ok, cause }) => ok && cause).length;
    const result =
      failed > 0 ? `FAILED ${failed}` : known > 0 ? `passed, known: ${known}` : "passed";
    const cells = [name.padEnd(26), version.padEnd(10), `${seconds.toFixed(1)} s`.padStart(7)];
    return `${cells.join("  ")}  ${result} of ${outcomes.length}`;
  });
  console.log(`\n${lines.join("\n")}`);
}

main({ options: OPTIONS }, async ({ values }) => {
  const withRedis = !values["without-redis"];
  installPackages();
  if (withRedis) {
    installProgram("redis");
  }
  const runtimes = values.here
    ? [thisRuntime()]
    : await fetchRuntimes(new RegExp(values.only, "i"));
  if (runtimes.length === 0) {
    throw new ScriptError(`--only ${values.only} names no runtime`);
  }

  // These need what installPackages has installed.
  const { runChecks } = require("./runtimes/run");
  const { outcomesOf } = require("./runtimes/known");
  const { makeProject } = require("./runtimes/project");
  const { writeDocument } = require("./runtimes/document");

  const project = makeProject(values.tarballs);
  /** @type {Tested[]} */
  const all = [];
  for (const runtime of runtimes) {
    const start = Date.now();
    const results = await runChecks(runtime, project, withRedis);
    const seconds = (Date.now() - start) / 1_000;
    all.push({ runtime, outcomes: outcomesOf(runtime.name, results), seconds });
    report(all[all.length - 1]);
  }
  summary(all);
  const failed = all.filter(({ outcomes }) => outcomes.some(({ ok }) => !ok));
  if (failed.length > 0) {
    throw new ScriptError(`\nFailed: ${failed.map(({ runtime }) => runtime.name).join(", ")}`);
  }
  if (withRedis && !values.here && values.only === "" && !values["no-document"]) {
    console.log(`Written: ${await writeDocument(all)}`);
  }
});
