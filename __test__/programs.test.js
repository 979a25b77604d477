// Every program of the repository answers --help with what it does, and an argument that it does not
// know with one line; either way it starts nothing.

"use strict";

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const { readFileSync, readdirSync } = require("node:fs");
const { join, sep } = require("node:path");
const { describe, it } = require("node:test");
const { ROOT } = require("../scripts/run");
const { scripts } = require("../package.json");

/** What starts such a program, at the beginning of a line or in `if (require.main === module)`. */
const STARTS = /^ {0,2}main\(\{/m;

const programs = ["scripts", "bench", "fuzz", "__test__"]
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true }).map((file) => join(folder, String(file))),
  )
  .filter((file) => file.endsWith(".js") && !file.includes(`node_modules${sep}`))
  .filter((file) => STARTS.test(readFileSync(join(ROOT, file), "utf8")));

/** @param {string} file @param {string[]} args */
function run(file, ...args) {
  const options = { cwd: ROOT, encoding: /** @type {const} */ ("utf8"), timeout: 60_000 };
  return spawnSync(process.execPath, [file, ...args], options);
}

describe("the programs", () => {
  it("are all that package.json runs", () => {
    const named = Object.values(scripts).map((script) => join(script.split(" ")[1]));
    assert.deepEqual(
      named.filter((file) => !programs.includes(file)),
      [],
    );
  });

  for (const file of programs) {
    it(`${file} describes itself`, () => {
      const { status, stdout, stderr } = run(file, "--help");
      assert.deepEqual([status, stderr], [0, ""]);
      assert.match(stdout, /^\S.{20,}/);
      const declared = readFileSync(join(ROOT, file), "utf8").matchAll(/"?([\w-]+)"?: \{ type: "/g);
      for (const [, option] of declared) {
        assert.ok(stdout.includes(`--${option}`), `--${option} is described`);
      }
    });

    it(`${file} refuses what it does not know`, () => {
      const { status, stdout, stderr } = run(file, "--nonsense");
      assert.deepEqual([status, stdout], [1, ""]);
      assert.equal(stderr, "Unknown option '--nonsense'. --help lists the arguments.\n");
    });
  }

  /** @type {[string, string[], RegExp][]} */
  const wrongValues = [
    ["scripts/fuzz.js", ["--minutes", "none"], /^--minutes must be a number above 0, not none\n$/],
    ["scripts/fuzz.js", ["sesion"], /^no target is called sesion; there are .*\bsession\b.*\n$/],
    [
      "scripts/release.js",
      ["chek"],
      /^no command is called chek; there are check, notes, publish\n$/,
    ],
    ["scripts/release.js", ["check"], /^check needs a tag or a folder\. .*\n$/],
    ["scripts/build.js", ["--platform"], /^Option '--platform <value>' argument missing\. .*\n$/],
    ["bench/run.js", ["publsh"], /^no scenario is called publsh; there are .*\n$/],
    ["__test__/run-parity.js", ["ours"], /^no adapter is called ours; there are upstream, .*\n$/],
    [
      "__test__/chaos/chaos.js",
      ["--adapter", "ours"],
      /^no adapter is called ours; there are .*\n$/,
    ],
    ["__test__/chaos/chaos.js", ["--schedule", "missing"], /^--schedule missing: ENOENT.*\n$/],
    [
      "__test__/chaos/storm.js",
      ["--clients", "-1"],
      /^Option '--clients' argument is ambiguous\. .*\n$/,
    ],
  ];
  for (const [file, args, message] of wrongValues) {
    it(`${file} refuses ${args.join(" ")}`, () => {
      const { status, stdout, stderr } = run(file, ...args);
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(stderr, message);
    });
  }
});
