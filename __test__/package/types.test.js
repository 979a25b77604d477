// The types, as users' compilers find them in the packed package: in CommonJS, in ES modules and for
// bundlers. The cases are the files of types/; each is compiled in every kind of resolution, so a new
// one only has to be put there. `npx tsc` compiles them too.

"use strict";

const assert = require("node:assert/strict");
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const { join } = require("node:path");
const { before, describe, it } = require("node:test");
const { promisify } = require("node:util");
const { ROOT, ALIAS, manifest, pack, project } = require("../helpers/packages");

const exec = promisify(execFile);

const CASES = join(__dirname, "types");
const TSC = join(ROOT, "node_modules", "typescript", "bin", "tsc");

/** What the cases import, at the versions of this repository, besides the package. */
const IMPORTED = ["redis", "ioredis", "prom-client", "expect-type", "@types/node"].map(
  (name) => `${name}@${require(join(ROOT, "node_modules", name, "package.json")).version}`,
);

/**
 * Settings of the compiler, and how the cases' files are called, which decides between the two module
 * systems in node16 and nodenext.
 *
 * @type {[string, string, Record<string, string>][]}
 */
const RESOLUTIONS = [
  ["node16, CommonJS", "cts", { module: "node16", moduleResolution: "node16" }],
  ["nodenext, ES modules", "mts", { module: "nodenext", moduleResolution: "nodenext" }],
  ["bundler", "ts", { module: "esnext", moduleResolution: "bundler" }],
  ["node10, CommonJS", "ts", { module: "commonjs", moduleResolution: "node10" }],
];

describe("the packed types", () => {
  let folder = "";

  before(async () => {
    const { main, engine } = await pack();
    folder = await project(main, engine, `${ALIAS}@file:${main}`, ...IMPORTED);
  });

  for (const [name, extension, resolution] of RESOLUTIONS) {
    it(`compile, and refuse mistakes, in ${name}`, async () => {
      const files = fs.readdirSync(CASES).map((file) => {
        const copy = `${file.replace(/\.ts$/, "")}.${extension}`;
        fs.copyFileSync(join(CASES, file), join(folder, copy));
        return copy;
      });
      assert.notEqual(files.length, 0);
      const compilerOptions = {
        ...resolution,
        target: "es2022",
        strict: true,
        noEmit: true,
        types: ["node"],
        esModuleInterop: true,
        // `npx tsc` checks our declarations; those of redis take long.
        skipLibCheck: true,
      };
      fs.writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
      await exec(process.execPath, [TSC, "--project", folder], { cwd: folder }).catch(
        ({ stdout, stderr }) => assert.fail(stdout + stderr),
      );
    });
  }

  it("are those of ours under upstream's name", () => {
    const installed = join(folder, "node_modules", ALIAS, "package.json");
    assert.equal(JSON.parse(fs.readFileSync(installed, "utf8")).name, manifest.name);
  });
});
