// What the table of docs/compatibility.md is made of: no failure may look like a success there.

"use strict";

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const { mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { after, before, describe, test } = require("node:test");
const { outcomeOf } = require("./outcome");

const HEAD = 'const { describe, test } = require("node:test");';

describe("the outcome of a run", () => {
  let folder = "";
  before(() => (folder = mkdtempSync(join(tmpdir(), "sio-outcome-"))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** @param {string} code of a test file */
  function run(code) {
    const file = join(folder, "some.test.js");
    writeFileSync(file, `${HEAD}\n${code}`);
    const { NODE_TEST_CONTEXT, ...env } = process.env; // or it would report to this run
    const { stdout, status } = spawnSync(
      process.execPath,
      ["--test", "--test-reporter=tap", "--test-timeout=1000", file],
      { encoding: "utf8", env },
    );
    return outcomeOf(stdout, { code: status, seconds: 1, commit: "abc" });
  }

  test("counts what passed, and what was skipped by its reason", () => {
    const { ok, passed, failed, skipped } = run(`
      test("one", () => {});
      test("two", { skip: "no #2 here" }, () => {});
      describe("three", () => test("four", (t) => t.skip("not now")));
      describe("five", { skip: "not now" }, () => test("six", () => {}));`);
    assert.deepEqual({ ok, passed, failed }, { ok: true, passed: 1, failed: 0 });
    assert.deepEqual(skipped, { "no #2 here": 1, "not now": 2 });
  });

  for (const [name, code] of Object.entries({
    "a test that fails": 'test("a", () => {}); test("b", () => { throw new Error(); });',
    "a test that hangs":
      'test("a", () => {}); test("b", () => new Promise((r) => setTimeout(r, 5e3)));',
    "a file that ends at once": 'test("a", () => {}); process.exit(1);',
  })) {
    test(`is a failure after ${name}`, () => assert.equal(run(code).ok, false));
  }

  test("is a failure without any output", () => {
    assert.equal(outcomeOf("", { code: 0, seconds: 1, commit: "abc" }).ok, false);
  });
});
