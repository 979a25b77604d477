// Runs the parity suite on every server and in every configuration, and writes down what came of it:
//
//     node __test__/run-servers.js                      all, into docs/compatibility.md
//     node __test__/run-servers.js --only "Valkey.*tls" what matches "<server>: <configuration>"
//     node __test__/run-servers.js --only "..." --write into docs/compatibility.md all the same
//     node __test__/run-servers.js --list               only says what there is
//     node __test__/run-servers.js --jobs 2             two configurations at a time
//     node __test__/run-servers.js --continue           not again what has passed since the package changed
//
// The servers are fetched when they are not there (scripts/servers.js). The output of each
// run stays in .servers/logs/.

"use strict";

const { execFileSync, spawn } = require("node:child_process");
const { createWriteStream, mkdirSync, readFileSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { finished } = require("node:stream/promises");

const { ROOT, ScriptError, main, positive } = require("../scripts/run");
const { FOLDER, fetchServers } = require("../scripts/servers");
const { replaceSections } = require("../scripts/sections");
const { setup } = require("../scripts/setup");
const { serverVersion } = require("./helpers/configuration");
const { hasTls } = require("./helpers/redis-setup");
const { PARITY_ARGS, parityFiles } = require("./run-parity");
const { CLIENTS, CONFIGURATIONS } = require("./servers/configurations");
const { cellName, documentOf } = require("./servers/document");
const { outcomeOf } = require("./servers/outcome");

/** @typedef {import("./servers/configurations").Configuration} Configuration */
/** @typedef {import("./servers/document").Run} Run */
/** @typedef {import("./servers/outcome").Outcome} Outcome */
/** @typedef {import("./servers/document").TestedServer} TestedServer */
/** @typedef {{ name: string, server: TestedServer, configuration: Configuration }} Job */

const DOCUMENT = "docs/compatibility.md";
const LOGS = join(FOLDER, "logs");
const RESULTS = join(FOLDER, "results.json");
const TAP = ["--test-concurrency=2", "--test-reporter=tap"];

/** What is tested; a change of the tests does not undo what has passed before. */
const PACKAGE = ["src", "lib", "index.js", "Cargo.toml", "Cargo.lock", "package-lock.json"];

/** @param {string[]} args */
function git(...args) {
  return execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
}

/** The commit, and whether what runs is something else. @param {string[]} paths */
function commitOf(paths) {
  const changed = git("status", "--porcelain", "--", ...paths, ":!docs/compatibility.md");
  const commit = git("log", "-1", "--format=%h", "--", ...paths);
  return `${commit}${changed === "" ? "" : " with changes"}`;
}

/** @param {string} name of an npm package */
function versionOf(name) {
  const file = join(ROOT, "node_modules", name, "package.json");
  return JSON.parse(readFileSync(file, "utf8")).version;
}

/** @param {Job} job @param {string} commit @returns {Promise<Outcome>} */
async function runJob({ name, server, configuration }, commit) {
  const file = join(LOGS, `${name.replace(/[^\w.]+/g, "-")}.tap`);
  const log = createWriteStream(file);
  const start = Date.now();
  const child = spawn(process.execPath, [...PARITY_ARGS, ...TAP, ...parityFiles()], {
    stdio: ["ignore", "pipe", "inherit"],
    env: {
      ...process.env,
      ADAPTER: "native",
      REDIS_SERVER: server.binary,
      ...configuration.env,
    },
  });
  child.stdout.pipe(log);
  const code = await new Promise((resolve) => child.on("exit", resolve));
  await finished(log);
  const seconds = Math.round((Date.now() - start) / 1_000);
  return outcomeOf(readFileSync(file, "utf8"), { code, seconds, commit });
}

/**
 * What passed in an earlier run of the same package.
 *
 * @returns {Map<string, Outcome>}
 */
function earlierResults() {
  try {
    const saved = JSON.parse(readFileSync(RESULTS, "utf8"));
    return new Map(saved.tested === commitOf(PACKAGE) ? saved.cells : []);
  } catch {
    return new Map();
  }
}

/** @param {string | undefined} only @param {string} name of a cell */
const isMeant = (only, name) => !only || new RegExp(only, "i").test(name);

/**
 * What there is to run; cells that are known without it are filled.
 *
 * @param {Run} run
 * @param {string | undefined} only
 * @param {Map<string, Outcome>} before
 */
function jobsOf({ servers, cells }, only, before) {
  /** @type {Job[]} */
  const jobs = [];
  // one configuration after the other, so that what concerns a server shows early
  for (const configuration of CONFIGURATIONS) {
    for (const server of servers) {
      const name = cellName(server.title, configuration.name);
      const known = configuration.cannot?.(server.about) ?? before.get(name);
      if (known !== undefined) {
        cells.set(name, known);
      } else if (isMeant(only, name)) {
        jobs.push({ name, server, configuration });
      }
    }
  }
  return jobs;
}

/**
 * @param {Job[]} jobs
 * @param {Run} run filled
 * @param {number} atOnce
 */
async function runAll(jobs, run, atOnce) {
  const waiting = [...jobs];
  const [tested, commit] = [commitOf(PACKAGE), commitOf(["."])];
  const passed = earlierResults();
  const work = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      const { name } = job;
      const outcome = await runJob(job, commit);
      run.cells.set(name, outcome);
      const what = outcome.ok
        ? `passed ${outcome.passed}`
        : `FAILED ${outcome.failed}, passed ${outcome.passed}`;
      console.log(`${name}: ${what} (${outcome.seconds} s)`);
      if (outcome.ok) {
        passed.set(name, outcome);
      } else {
        passed.delete(name);
      }
      writeFileSync(RESULTS, JSON.stringify({ tested, cells: [...passed] }));
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/**
 * @param {{ only?: string, write?: boolean, list?: boolean, jobs: number, continue?: boolean }} args
 */
async function runServers({ only, write, list, jobs: atOnce, continue: goOn }) {
  const { servers, missing } = fetchServers();
  missing.forEach(({ name, reason }) => console.log(`${name} cannot be had: ${reason}`));
  /** @type {Run} */
  const run = {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    packages: Object.fromEntries([...CLIENTS, "socket.io"].map((name) => [name, versionOf(name)])),
    servers: [],
    missing,
    cells: new Map(),
  };
  for (const server of servers) {
    const about = serverVersion(server.binary);
    const title = `${about.name} ${about.version}`;
    run.servers.push({ ...server, about, title, hasTls: await hasTls(server.binary) });
  }
  const jobs = jobsOf(run, only, goOn ? earlierResults() : new Map());
  if (only && jobs.length === 0 && ![...run.cells.keys()].some((name) => isMeant(only, name))) {
    throw new ScriptError(`--only ${only} names nothing`);
  }
  if (list) {
    jobs.forEach(({ name }) => console.log(name));
    return;
  }
  mkdirSync(LOGS, { recursive: true });
  await runAll(jobs, run, atOnce);
  if (only === undefined || write) {
    await replaceSections(DOCUMENT, { servers: documentOf(run) });
    console.log(`\nWritten: ${DOCUMENT}`);
  }
  const failed = [...run.cells].filter(([, cell]) => typeof cell !== "string" && !cell.ok);
  if (failed.length > 0 || missing.length > 0) {
    const names = [...failed.map(([name]) => name), ...missing.map(({ name }) => name)];
    throw new ScriptError(`\nFailed: ${names.join(", ")}\nThe output is in ${LOGS}`);
  }
}

const OPTIONS = /** @type {const} */ ({
  only: { type: "string" },
  write: { type: "boolean" },
  list: { type: "boolean" },
  jobs: { type: "string", default: "1" },
  continue: { type: "boolean" },
});

main({ options: OPTIONS }, async ({ values }) => {
  const jobs = positive("--jobs", values.jobs);
  setup();
  await runServers({ ...values, jobs });
});
