// `npm run test:bundlers`: bundles a program that uses the packed package with every bundler, compiler
// and tracer of docs/bundlers.md, runs what comes out, and writes the document's table and recipes.
//
//     npm run test:bundlers                         all, into docs/bundlers.md; takes three minutes
//     npm run test:bundlers -- --only "webpack"     those whose names match, and nothing is written

"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");

const { installPackages } = require("../scripts/install-packages");
const { ScriptError, main } = require("../scripts/run");
const { fetchRuntimes } = require("../scripts/runtimes");
const { installProgram } = require("../scripts/system-package");

const OPTIONS = /** @type {const} */ ({ only: { type: "string", default: "" } });

main({ options: OPTIONS }, async ({ values: { only } }) => {
  installPackages();
  installProgram("redis");

  // These need what installPackages has installed.
  const { TOOLS } = require("./bundlers/tools");
  const next = require("./bundlers/next");
  const { writeDocument } = require("./bundlers/document");
  const { makeProject, runTool } = require("./bundlers/run");
  const { pack } = require("./helpers/packages");
  const { startRedis } = require("./helpers/redis-server");

  const isMeant = (/** @type {string} */ name) => new RegExp(only, "i").test(name);
  const jobs = [
    ...TOOLS.map((tool) => ({
      ...tool,
      run: (/** @type {any[]} */ ...[project, url]) => runTool(tool, project, url),
    })),
    {
      ...{ name: "Next.js, standalone", package: "next", packages: next.PACKAGES },
      ...{ needsModules: false, run: next.runNext },
    },
  ].filter(({ name }) => isMeant(name));
  if (jobs.length === 0) {
    throw new ScriptError(`--only ${only} names no tool`);
  }

  const [bun] = await fetchRuntimes(/^Bun$/);
  const project = await makeProject(
    jobs.flatMap(({ packages }) => packages),
    await pack(),
    bun.program,
  );
  const versionOf = (/** @type {string} */ name) =>
    name === "bun"
      ? bun.version
      : JSON.parse(readFileSync(join(project.cwd, "node_modules", name, "package.json"), "utf8"))
          .version;
  const redis = await startRedis();
  const failed = [];
  try {
    for (const { name, run } of jobs) {
      const start = Date.now();
      const error = await run(project, redis.url).then(
        () => undefined,
        (/** @type {Error} */ reason) => reason,
      );
      const seconds = ((Date.now() - start) / 1_000).toFixed(1);
      console.log(`${error ? "FAILED" : "ok    "}  ${name} (${seconds} s)`);
      if (error) {
        console.log(error.message);
        failed.push(name);
      }
    }
  } finally {
    await redis.stop();
  }
  if (failed.length > 0) {
    throw new ScriptError(`\nFailed: ${failed.join(", ")}`);
  }
  if (only === "") {
    const tested = jobs.map((job) => ({ ...job, version: versionOf(job.package) }));
    console.log(`Written: ${await writeDocument(tested, TOOLS)}`);
  }
});
